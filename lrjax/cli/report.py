"""`lrjax report`: all results in one page."""

from collections.abc import Sequence
from pathlib import Path

import click

from lrjax.errors import InputError
from lrjax.report.page import Section, section, write_page
from lrjax.report.results import gather
from lrjax.report.tables import Table


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULTS_DIR...", type=Path)
@click.option("--out", type=Path, required=True, help="The HTML file to write.")
@click.option("--title", default="Low-resolution faces", show_default=True)
def report(results: tuple[Path, ...], out: Path, title: str) -> None:
    """Gather the results below the given folders into one self-contained HTML page.

    A result is a JSON file as the experiments write it, with its pictures beside it.
    """
    found = gather(results)
    if not found:
        raise InputError(
            f"No result lies below {', '.join(map(str, results))}; run an experiment first."
        )
    sections = [section(result, path.parent) for path, result in found]
    write_page(out, title, [*sections, overview(results)])
    tables = sum(len(s.tables) for s in sections)
    pictures = sum(len(s.pictures) for s in sections)
    click.echo(f"{out}: {len(sections)} results, {tables} tables, {pictures} pictures")


def overview(results: Sequence[Path]) -> Section:
    """Every system of both papers, and which of them `results` hold."""
    from experiments.systems import rows

    columns = ("System", "Paper", "Training", "Measurement", "State")
    return Section(
        "All systems", tables=[Table("Every system of both papers", columns, tuple(rows(results)))]
    )
