"""`lrjax train`: one configuration into one run folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import numpy as np

from lrjax.cli.options import data_dir_option
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.report import draw
from lrjax.tasks import runs
from lrjax.training.loop import Diverged


def find_config(name: str) -> Any:
    """The configuration called "file:variant" in `configs/`.

    Raises:
      InputError: there is no such file or variant; those that exist are named.
    """
    file, _, variant = name.partition(":")
    known = ("degradation", "landmarks")
    if file not in known:
        raise InputError(f"There is no configuration {file!r}; there are {', '.join(known)}.")
    module = importlib.import_module(f"configs.{file}")
    try:
        return module.get_config(variant) if variant else module.get_config()
    except (KeyError, ValueError) as error:
        raise InputError(
            f"The configuration {file!r} has no variant {variant!r}; there are "
            f"{', '.join(module.VARIANTS)}."
        ) from error


def save_pictures(folder: Path, step: int, pictures: dict[str, Any]) -> None:
    """`samples/step-NAME.png` in a run folder: what the networks see, and find."""
    for name, shown in pictures.items():
        images = shown["images"]
        scale = max(1, 128 // images.shape[1])
        if "points" in shown:
            images = [
                draw.draw_points(image, points, [True] * len(points), draw.GREEN, scale)
                for image, points in zip(images, shown["points"], strict=True)
            ]
            scale = 1
        sheet = draw.sample_grid(np.stack(images), columns=8, scale=scale)
        draw.save_png(folder / "samples" / f"{step:07d}-{name}.png", sheet)


@click.command()
@click.argument("name", metavar="CONFIG[:VARIANT]")
@click.option("--run-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@data_dir_option
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field.")
def train(name: str, run_dir: Path, data_dir: Path, settings: tuple[str, ...]) -> None:
    """Train CONFIG in --run-dir, or go on where a run there stopped."""
    config = override(find_config(name), settings)
    try:
        runs.train(
            config,
            run_dir,
            data_dir=data_dir,
            pictures=lambda step, shown: save_pictures(run_dir, step, shown),
        )
    except Diverged as error:
        raise InputError(str(error)) from error
    except KeyboardInterrupt:
        click.echo(f"lrjax: saved in {run_dir}; the same command goes on from there.", err=True)
        raise
