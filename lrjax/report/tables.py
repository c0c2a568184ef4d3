"""Tables of results: built once, written as Markdown, HTML and JSON."""

import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lrjax.errors import InputError

Cell = str | int | float | None
"""What a table holds; None is a missing value and is printed as an em dash."""

MISSING = "—"


@dataclass(frozen=True)
class Table:
    """One table with what a reader needs to repeat it.

    Attributes:
      title: one line.
      columns: headings; the first column names the rows.
      rows: as many cells each as there are columns. A float that is not finite becomes its name
        ("nan"), since it is a result that JSON cannot hold, and not a missing one.
      note: what the numbers mean: normaliser, units, deviations from the paper.
      command: the command that made it.
      data: which images, and how many.
      digits: decimals of the floats.
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
        for number, row in enumerate(rows):
            if len(row) != len(self.columns):
                raise InputError(
                    f"Table {self.title!r}: row {number} has {len(row)} cells and there are "
                    f"{len(self.columns)} columns; give one cell, None if missing, per column."
                )

    def text(self) -> list[list[str]]:
        """The cells as they are printed, row by row."""
        return [[cell_text(cell, self.digits) for cell in row] for row in self.rows]

    def to_markdown(self) -> str:
        """GitHub-flavoured Markdown, aligned so that it also reads well as plain text."""
        cells = [[_markdown_escape(text) for text in row] for row in [self.columns, *self.text()]]
        widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(self.columns))]
        right = self._numeric_columns()
        lines = [
            "| "
            + " | ".join(
                text.rjust(width) if to_right else text.ljust(width)
                for text, width, to_right in zip(row, widths, right, strict=True)
            )
            + " |"
            for row in cells
        ]
        rule = [
            "-" * (width + 1) + (":" if to_right else "-")
            for width, to_right in zip(widths, right, strict=True)
        ]
        lines.insert(1, "|" + "|".join(rule) + "|")
        about = [
            self.note,
            f"Data: {self.data}" if self.data else "",
            f"Command: `{self.command}`" if self.command else "",
        ]
        parts = [f"**{self.title}**", "\n".join(lines), *filter(None, about)]
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """A `<figure>` with the table and, below it, note, data and command."""
        right = self._numeric_columns()
        head = "".join(_html_cell("th", *pair) for pair in zip(self.columns, right, strict=True))
        body = "\n".join(
            "<tr>"
            + "".join(_html_cell("td", *pair) for pair in zip(row, right, strict=True))
            + "</tr>"
            for row in self.text()
        )
        about = [html.escape(self.note)] if self.note else []
        about += [f"<b>Data</b> {html.escape(self.data)}"] if self.data else []
        if self.command:
            about.append(f"<b>Command</b> <code>{html.escape(self.command)}</code>")
        below = "".join(f"<p>{line}</p>" for line in about)
        return (
            f'<figure class="table"><h3>{html.escape(self.title)}</h3>\n'
            f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
            f"<figcaption>{below}</figcaption></figure>"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `Table.from_json` reads them back to an equal table."""
        return asdict(self) | {
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Table":
        """Inverse of `to_json`; an InputError says which field is not as it should be."""
        if not isinstance(value, dict):
            raise InputError("a table is not a JSON object")
        title = value.get("title")
        if not isinstance(title, str):
            raise InputError("a table has no `title` text")
        unknown = sorted(value.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise InputError(f"table {title!r} has the unknown field `{unknown[0]}`")
        columns, rows = value.get("columns"), value.get("rows")
        if not _is_list_of(columns, str) or not columns:
            raise InputError(f"table {title!r} needs `columns`, a list of texts")
        if not _is_list_of(rows, list) or not all(_is_list_of(row, _CELL_TYPES) for row in rows):
            raise InputError(f"table {title!r} needs `rows`, lists of texts, numbers and nulls")
        for field in ("note", "command", "data"):
            if not isinstance(value.get(field, ""), str):
                raise InputError(f"table {title!r}: `{field}` is not a text")
        digits = value.get("digits", 0)
        if not isinstance(digits, int) or digits < 0:
            raise InputError(f"table {title!r}: `digits` is not a whole number")
        return cls(**value)

    def _numeric_columns(self) -> list[bool]:
        """Columns to align at the right: those that hold a number."""
        return [
            any(
                isinstance(row[i], int | float) and not isinstance(row[i], bool)
                for row in self.rows
            )
            for i in range(len(self.columns))
        ]


def beside_paper(
    title: str,
    row_heading: str,
    metrics: tuple[str, ...],
    paper: Mapping[str, Mapping[str, Cell]],
    ours: Mapping[str, Mapping[str, Cell]],
    **about: Any,
) -> Table:
    """A table with the paper's value and ours next to each other, metric by metric.

    Args:
      title: of the table.
      row_heading: heading of the first column, e.g. "Setting".
      metrics: which values to show, in this order.
      paper, ours: row name -> metric -> value. What either lacks is missing in the table. Rows come
        in the paper's order, then those that only we have.
      **about: note, command, data, digits of the Table.
    """
    columns = [row_heading]
    for metric in metrics:
        columns += [f"{metric}, paper", f"{metric}, ours"]
    rows = []
    for name in [*paper, *(name for name in ours if name not in paper)]:
        row: list[Cell] = [name]
        for metric in metrics:
            row += [source.get(name, {}).get(metric) for source in (paper, ours)]
        rows.append(tuple(row))
    return Table(title, tuple(columns), tuple(rows), **about)


def cell_text(cell: Cell, digits: int) -> str:
    """One cell as it is printed."""
    if cell is None:
        return MISSING
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return str(cell)


_CELL_TYPES = (str, int, float, type(None))


def _is_list_of(value: Any, types: type | tuple[type, ...]) -> bool:
    return isinstance(value, list) and all(isinstance(item, types) for item in value)


def _finite_or_name(cell: Cell) -> Cell:
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def _markdown_escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _html_cell(tag: str, text: str, to_right: bool) -> str:
    align = ' class="n"' if to_right else ""
    return f"<{tag}{align}>{html.escape(text)}</{tag}>"
