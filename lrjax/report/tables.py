"""Tables of results: built once, written as Markdown and in JSON, and shown on the page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrjax.errors import InputError

Cell = str | int | float | None
"""What a table holds; None is a missing value and is printed as an em dash."""

MISSING = "—"
MOST_DIGITS = 12


@dataclass(frozen=True)
class Table:
    """Hold one table with what a reader needs to repeat it.

    Attributes:
      title: one line.
      columns: headings; the first column names the rows.
      rows: as many cells each as there are columns. A float that is not finite becomes its name
        ("nan"), since it is a result that JSON cannot hold, and not a missing one.
      note: what the numbers mean: normaliser, units, deviations from the paper.
      command: the command that made it.
      data: which images, and how many.
      digits: decimals of the floats, 0 to 12.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    command: str = ""
    data: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        rows = tuple(tuple(_finite_or_name(cell) for cell in row) for row in self.rows)
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "rows", rows)
        if not self.columns:
            raise InputError(f"Table {self.title!r} has no columns; name at least one.")
        if not 0 <= self.digits <= MOST_DIGITS:
            raise InputError(
                f"Table {self.title!r}: `digits` is {self.digits}; give 0 to {MOST_DIGITS}."
            )
        for number, row in enumerate(rows):
            if len(row) != len(self.columns):
                raise InputError(
                    f"Table {self.title!r}: row {number} has {len(row)} cells and there are "
                    f"{len(self.columns)} columns; give one cell, None if missing, per column."
                )

    def text(self) -> list[list[str]]:
        """Return the cells as they are printed, row by row."""
        return [[self._printed(cell) for cell in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Tell which columns hold a number and are aligned at the right."""
        return [
            any(isinstance(row[i], int | float) for row in self.rows)
            for i in range(len(self.columns))
        ]

    def to_markdown(self) -> str:
        """Write GitHub-flavoured Markdown, aligned so that it also reads well as plain text."""
        cells = [[_markdown_escape(text) for text in row] for row in [self.columns, *self.text()]]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        sides = [">" if right else "<" for right in self.numeric()]
        lines = [
            "| " + " | ".join(map("{:{}{}}".format, row, sides, widths)) + " |" for row in cells
        ]
        ends = ["-:" if side == ">" else "--" for side in sides]
        rule = [end.rjust(width + 2, "-") for end, width in zip(ends, widths, strict=True)]
        lines.insert(1, "|" + "|".join(rule) + "|")
        about = [
            self.note,
            f"Data: {self.data}" if self.data else "",
            f"Command: `{self.command}`" if self.command else "",
        ]
        parts = [f"**{self.title}**", "\n".join(lines), *filter(None, about)]
        return "\n\n".join(parts) + "\n"

    def _printed(self, cell: Cell) -> str:
        if cell is None:
            return MISSING
        return f"{cell:.{self.digits}f}" if isinstance(cell, float) else str(cell)


def beside_paper(
    title: str,
    row_heading: str,
    metrics: tuple[str, ...],
    paper: Mapping[str, Mapping[str, Cell]],
    ours: Mapping[str, Mapping[str, Cell]],
    **about: Any,
) -> Table:
    """Put the paper's value and ours next to each other, metric by metric.

    Args:
      title: of the table.
      row_heading: heading of the first column, e.g. "Setting".
      metrics: which values to show, in this order. One that the paper, or that we, have nowhere
        gets no column on that side.
      paper, ours: row name -> metric -> value. What either lacks is missing in the table. Rows come
        in the paper's order, then those that only we have.
      **about: note, command, data, digits of the Table.
    """
    sides = {"paper": paper, "ours": ours}
    shown = [
        (metric, side)
        for metric in metrics
        for side, values in sides.items()
        if any(row.get(metric) is not None for row in values.values())
    ]
    rows = [
        (name, *(sides[side].get(name, {}).get(metric) for metric, side in shown))
        for name in dict.fromkeys([*paper, *ours])
    ]
    columns = (row_heading, *(f"{metric}, {side}" for metric, side in shown))
    return Table(title, columns, tuple(rows), **about)


def _finite_or_name(cell: Cell) -> Cell:
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def _markdown_escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
