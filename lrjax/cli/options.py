"""Options that several commands share."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import click

from lrjax.errors import InputError

CONFIGS = ("degradation", "landmarks", "recognition", "super_resolution", "csri")


def find_config(name: str) -> Any:
    """The configuration called "file:variant" in `configs/`.

    Raises:
      InputError: there is no such file or variant; those that exist are named.
    """
    file, _, variant = name.partition(":")
    if file not in CONFIGS:
        raise InputError(f"There is no configuration {file!r}; there are {', '.join(CONFIGS)}.")
    module = importlib.import_module(f"configs.{file}")
    try:
        return module.get_config(variant) if variant else module.get_config()
    except (KeyError, ValueError) as error:
        raise InputError(
            f"The configuration {file!r} has no variant {variant!r}; there are "
            f"{', '.join(module.VARIANTS)}."
        ) from error


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

settings_option = click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field."
)
