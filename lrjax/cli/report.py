"""`lrjax report`: gather results into one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from lrjax.cli.options import Click, command
from lrjax.cli.say import put
from lrjax.errors import InputError
from lrjax.report.page import write_page
from lrjax.report.results import Result, gather
from lrjax.report.tables import Table

INTRODUCTION = (
    "Two papers on faces of 15 to 40 pixels, rebuilt and measured: K&C find landmarks on them, by "
    "learning from sharp faces that a network made as bad as those of a camera; CSRI recognises "
    "them, by learning to enlarge and to tell apart at once. Each section shows the paper's "
    "figures beside ours, on what data ours were measured, and the command that repeats it."
)


@command(out="The HTML file to write.", title="Of the page.")
def report(
    results: Annotated[tuple[Path, ...], Click(metavar="RESULTS_DIR...")],
    *,
    out: Path,
    title: str = "Low-resolution faces",
) -> None:
    """Gather the results below the given folders into one self-contained HTML page.

    A result is a JSON file as the experiments write it, with its pictures beside it.
    """
    found = gather(results)
    if not found:
        raise InputError(
            f"No result lies below {', '.join(map(str, results))}; run an experiment first."
        )
    write_page(out, title, [*found, (Path(), overview(results))], INTRODUCTION)
    tables = sum(len(result.tables) for _, result in found)
    pictures = sum(len(result.figures) for _, result in found)
    put(f"{out}: {len(found)} results, {tables} tables, {pictures} pictures")


def overview(results: Sequence[Path]) -> Result:
    """List every system of both papers, and which of them `results` hold."""
    from lrjax.experiments.systems import rows

    columns = ("System", "Paper", "Training", "Measurement", "State")
    shown = [
        (name, paper, f"`{train}`", f"`{test}`", state)
        for name, paper, train, test, state in rows(results)
    ]
    table = Table("Every system of both papers", columns, tuple(shown))
    return Result("All systems", tables=(table,))
