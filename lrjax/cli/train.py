"""`lrjax train`: one configuration into one run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrjax.cli.options import data_dir_option, find_config, settings_option
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.inference.framing import frames
from lrjax.report import draw
from lrjax.tasks import runs
from lrjax.training import loop, parallel


def save_pictures(folder: Path, step: int, pictures: dict[str, Any]) -> None:
    """`samples/step-NAME.png` in a run folder: what the networks see, and find."""
    for name, shown in pictures.items():
        images = shown["images"]
        if "points" in shown:
            sheet = draw.face_sheet(images, shown["points"], columns=8)
        else:
            sheet = draw.sample_grid(images, columns=8, scale=max(1, 128 // images.shape[1]))
        draw.save_png(folder / "samples" / f"{step:07d}-{name}.png", sheet)


@click.command()
@click.argument("name", metavar="CONFIG[:VARIANT]")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="runs/CONFIG-VARIANT",
    help="Folder of the run.",
)
@data_dir_option
@settings_option
@click.option(
    "--resume/--restart",
    default=True,
    show_default=True,
    help="Go on with the run in the folder, if there is one; or remove it and begin anew.",
)
@click.option("--distributed", is_flag=True, help="Be one of the processes of a cluster's job.")
@click.option("--coordinator", metavar="HOST:PORT", help="Where the first process listens.")
@click.option("--processes", type=click.IntRange(1), help="How many train together.")
@click.option("--process", type=click.IntRange(0), help="Which one this is, from 0.")
def train(
    name: str,
    run_dir: Path | None,
    data_dir: Path,
    settings: tuple[str, ...],
    resume: bool,
    distributed: bool,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
) -> None:
    """Train CONFIG, or go on where its run stopped.

    Several processes (one a host, or one a GPU) share a run folder and split each batch. Under
    SLURM, Open MPI or Kubernetes --distributed is enough; elsewhere each is told --coordinator,
    --processes and its own number, --process.
    """
    config = override(find_config(name), settings)
    folder = run_dir or Path("runs") / name.replace(":", "-")
    if distributed or (coordinator, processes, process) != (None, None, None):
        parallel.join(coordinator, processes, process)
    if not resume:
        click.echo(f"lrjax: --restart removes what is in {folder}.", err=True)
        runs.discard(folder)
    try:
        runs.train(
            config,
            folder,
            data_dir=data_dir,
            align=frames,
            pictures=lambda step, shown: save_pictures(folder, step, shown),
        )
    except loop.Diverged as error:
        raise InputError(str(error)) from error
    except loop.Interrupted:
        click.echo(f"lrjax: saved in {folder}; the same command goes on from there.", err=True)
        raise
