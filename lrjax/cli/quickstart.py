"""`lrjax quickstart`: everything once, on faces that are drawn on the spot, and a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import click

from lrjax.cli.options import FOLDER, command
from lrjax.cli.prepare import describe, prepare_dataset

# The first thing that a newcomer sees is the real thing at work; then how it came to be.
EXPERIMENTS = ("pretrained", "figure4", "table1b", "figure6")
DATASETS = ("synthetic_faces", "synthetic_identities")

INTRODUCTION = (
    "Synthetic faces were drawn, sharp ones and others through a bad camera. The landmark network "
    "that comes along looked at the bad ones; then both stages of K&C were trained on a few of "
    "the drawn faces for a minute or two: G1, which learns to make faces as bad as the camera "
    "does, and the landmark networks S1 to S4, which learn from what it makes. So short a training "
    "shows how the parts work together, not what they are able to."
)


@command(out="Folder for the faces, the runs and the page.")
def quickstart(*, out: Annotated[Path, FOLDER] = Path("quickstart")) -> None:
    """Draw faces, train both stages on them (briefly), measure, and write one page.

    Needs no data. What an earlier, interrupted quickstart has finished is not done again.
    """
    from lrjax.experiments import runner
    from lrjax.experiments.context import Context
    from lrjax.report.page import write_page
    from lrjax.report.results import gather

    begun = time.monotonic()

    def say(text: str) -> None:
        click.secho(f"[{time.monotonic() - begun:4.0f} s] {text}", bold=True, err=True)

    say("Drawing synthetic faces: sharp ones, and others through a bad camera.")
    data = out / "data"
    for dataset in DATASETS:
        prepare_dataset(dataset, data)
        click.echo(describe(dataset, data), err=True)
    context = Context.create("quick", out / "runs", out / "results", data)
    about = runner.names()
    for name in EXPERIMENTS:
        say(about[name])
        click.echo(runner.run(name, context).to_markdown())
    page = out / "index.html"
    write_page(page, "lrjax quickstart", gather([out / "results"]), INTRODUCTION)
    say(f"Done. Open {page}.")
