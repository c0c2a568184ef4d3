"""`lrjax experiment`: run experiments of the papers, or of yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from lrjax.cli.options import FOLDER, Click, DataDir, RunsDir, Settings, command
from lrjax.configs import Size


@command(
    size="Schedules and data: the papers', or less; and widths, full or less.",
    results_dir="Where tables and pictures go, for `lrjax report`.",
    encoder="Weights (of `lrjax convert`) or run that table2b and table3 use; else one is trained.",
    seeds="How often all but distilled encoders is trained, over which table1b and the tables of "
    "recognition average.",
    halves="For table2a to table3, share each person's pictures out by chance, one half probes, as "
    "K&C say, instead of officially.",
)
def experiment(
    names: tuple[str, ...] = (),
    *,
    size: Size = "paper",
    runs_dir: RunsDir,
    results_dir: Annotated[Path, FOLDER] = Path("results"),
    data_dir: DataDir,
    encoder: Annotated[Path, Click(type=click.Path(path_type=Path, exists=True))] | None = None,
    seeds: int = 1,
    halves: Annotated[int, Click(metavar="SEED")] | None = None,
    settings: Settings = (),
) -> None:
    """Train what the experiments NAMES need and is missing, measure, and write their results.

    Without NAMES, all are listed. table1a to table4 and figure1 to figure8 are Kumar and
    Chellappa's; csri_table3 to csri_table7 and csri_figure8 those of CSRI, whose Figure 7 is drawn
    with csri_table5. One of your own is named my_experiments/mine.py:first, a file whose
    EXPERIMENTS holds functions from a Context to a Result by their names.
    """
    from lrjax.experiments import runner
    from lrjax.experiments.context import Context

    if not names:
        for name, about in runner.names().items():
            click.echo(f"{name:14}  {about}")
        return
    for name in names:
        runner.find(name)  # refused now rather than after hours
    context = Context.create(
        size, runs_dir, results_dir, data_dir, settings, encoder, seeds, halves
    )
    for name in names:
        click.echo(runner.run(name, context).to_markdown())
