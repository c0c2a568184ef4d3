"""`lrjax experiment`: the papers' tables and figures, one after the other."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from lrjax.cli.options import data_dir_option

NAMES = (
    *("shipped", "dlib68", "figure4", "table1a", "table1b", "figure6", "table4", "figure8"),
    *("table2a", "table2b", "table3"),
    *("csri_table3", "csri_table4", "csri_table5", "csri_table6", "csri_table7", "csri_figure8"),
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES), required=True)
@click.option(
    "--size",
    type=click.Choice(["paper", "w300", "small", "quick"]),
    default="paper",
    show_default=True,
    help="Widths, schedules and data: the paper's, or less.",
)
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where runs are kept; what is there is not trained again.",
)
@click.option(
    "--results-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where tables and pictures go, for `lrjax report`.",
)
@data_dir_option
@click.option(
    "--recogniser",
    type=click.Path(path_type=Path, exists=True),
    help="Weights (of `lrjax convert`) or run that table2b and table3 use; else one is trained.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field.")
def experiment(
    names: tuple[str, ...],
    size: str,
    runs_dir: Path,
    results_dir: Path,
    data_dir: Path,
    recogniser: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train what the experiments NAMES need and is missing, measure, and write their results.

    table1a to table4 and figure4 to figure8 are Kumar and Chellappa's; csri_table3 to csri_table7
    and csri_figure8 those of CSRI, whose Figure 7 is drawn with csri_table5.
    """
    from experiments.common import Context

    for name in names:
        context = Context(size, runs_dir, results_dir, data_dir, settings, recogniser)
        result = importlib.import_module(f"experiments.{name}").run(context)
        click.echo(result.to_markdown())
