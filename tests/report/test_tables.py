"""Tables: what is printed, escaped and read back."""

import json
from html.parser import HTMLParser

import pytest

from lrjax.errors import InputError
from lrjax.report.tables import Table, beside_paper, cell_text

PAPER = {
    "S1": {"NRMSE": 11.33, "auc@0.07": 11.897},
    "S2": {"NRMSE": 4.23, "auc@0.07": 50.843},
}
OURS = {"S2": {"NRMSE": 3.9}, "S2 + flip": {"NRMSE": 3.75, "auc@0.07": 55.0}}


class Cells(HTMLParser):
    """Collects the text of table cells, as a browser would read it."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.open = tag in ("td", "th")
        if self.open:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.cells[-1] += data


def table() -> Table:
    return beside_paper(
        "Table 1b", "Setting", ("NRMSE", "auc@0.07"), PAPER, OURS, note="% of √(w·h)", digits=2
    )


def test_paper_stands_beside_ours_and_missing_values_are_none() -> None:
    built = table()
    assert built.columns == (
        "Setting", "NRMSE, paper", "NRMSE, ours", "auc@0.07, paper", "auc@0.07, ours",
    )  # fmt: skip
    assert built.rows == (
        ("S1", 11.33, None, 11.897, None),
        ("S2", 4.23, 3.9, 50.843, None),
        ("S2 + flip", None, 3.75, None, 55.0),
    )


def test_markdown() -> None:
    built = Table(
        "Faces", ("set", "n", "NME"), (("a|b", 12, 1.5), ("c", None, 10.25)),
        note="inter-ocular", command="lrjax evaluate", data="300W", digits=1,
    )  # fmt: skip
    assert built.to_markdown() == (
        "**Faces**\n\n"
        "| set  |   n |  NME |\n"
        "|------|----:|-----:|\n"
        "| a\\|b |  12 |  1.5 |\n"
        "| c    |   — | 10.2 |\n"
        "\ninter-ocular\n\nData: 300W\n\nCommand: `lrjax evaluate`\n"
    )


def test_html_holds_the_same_cells() -> None:
    parser = Cells()
    parser.feed(table().to_html())
    assert parser.cells[:5] == list(table().columns)
    assert parser.cells[5:] == [text for row in table().text() for text in row]
    assert parser.cells[5:10] == ["S1", "11.33", "—", "11.90", "—"]


def test_html_escapes_every_text() -> None:
    bad = "<script>&"
    built = Table(bad, (bad,), ((bad,),), note=bad, command=bad, data=bad)
    text = built.to_html()
    assert "<script" not in text
    assert text.count("&lt;script&gt;&amp;") == 6


def test_json_round_trip_is_exact() -> None:
    built = Table(
        "t", ("a", "b"), (("x", 0.1 + 0.2), (None, 3), ("—", float("nan"))),
        note="n", command="c", data="d", digits=4,
    )  # fmt: skip
    read = Table.from_json(json.loads(json.dumps(built.to_json(), allow_nan=False)))
    assert read == built
    assert read.rows[2] == ("—", "nan")


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "—"), (1.0, "1.000"), (7, "7"), ("4.23 ± 4.52", "4.23 ± 4.52"), (-0.5, "-0.500")],
)
def test_cell_text(cell: object, text: str) -> None:
    assert cell_text(cell, 3) == text


def test_rows_must_fit_the_columns() -> None:
    with pytest.raises(InputError, match="row 1 has 1 cells and there are 2 columns"):
        Table("t", ("a", "b"), ((1, 2), (3,)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "not a JSON object"),
        ({"columns": [], "rows": []}, "no `title`"),
        ({"title": "t", "columns": [1], "rows": []}, "needs `columns`"),
        ({"title": "t", "columns": [], "rows": []}, "needs `columns`"),
        ({"title": "t", "columns": ["a"], "rows": [[{}]]}, "needs `rows`"),
        ({"title": "t", "columns": ["a"], "rows": [[1]], "note": 1}, "`note` is not a text"),
        ({"title": "t", "columns": ["a"], "rows": [[1]], "digits": "2"}, "`digits` is not"),
        ({"title": "t", "columns": ["a"], "rows": [[1]], "digits": -1}, "`digits` is not"),
        ({"title": "t", "columns": ["a"], "rows": [[1]], "width": 2}, "unknown field `width`"),
    ],
)
def test_malformed_json_is_named(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Table.from_json(value)
