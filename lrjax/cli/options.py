"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click


def default_data_dir() -> Path:
    """Where prepared data live unless told otherwise, as for TFDS itself."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    show_default="$TFDS_DATA_DIR or ~/tensorflow_datasets",
    help="Where prepared records are.",
)
