"""Tables: what is printed, escaped and read back."""

import pytest

from lrjax.errors import InputError
from lrjax.report.tables import Table, beside_paper

PAPER = {
    "S1": {"NRMSE": 11.33, "auc@0.07": 11.897},
    "S2": {"NRMSE": 4.23, "auc@0.07": 50.843},
}
OURS = {"S2": {"NRMSE": 3.9}, "S2 + flip": {"NRMSE": 3.75, "auc@0.07": 55.0}}


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


def test_a_side_that_lacks_a_metric_gets_no_column() -> None:
    ours = {"S1": {"NRMSE": 1.0, "aligned": "3 of 4"}}
    built = beside_paper("t", "Setting", ("NRMSE", "aligned", "mAP"), {"S1": {"NRMSE": 2.0}}, ours)
    assert built.columns == ("Setting", "NRMSE, paper", "NRMSE, ours", "aligned, ours")
    assert built.rows == (("S1", 2.0, 1.0, "3 of 4"),)


def test_numbers_that_are_not_finite_become_names() -> None:
    built = Table("t", ("a", "b", "c"), (("x", float("nan"), float("-inf")),))
    assert built.rows == (("x", "nan", "-inf"),)


def test_columns_with_a_number_are_numeric() -> None:
    assert Table("t", ("a", "b", "c"), (("x", None, 1), ("y", 2.5, "-"))).numeric() == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "—"), (1.0, "1.000"), (7, "7"), ("4.23 ± 4.52", "4.23 ± 4.52"), (-0.5, "-0.500")],
)
def test_cells_are_printed_with_the_digits_of_the_table(cell: object, text: str) -> None:
    assert Table("t", ("a",), ((cell,),), digits=3).text() == [[text]]


def test_rows_must_fit_the_columns() -> None:
    with pytest.raises(InputError, match="row 1 has 1 cells and there are 2 columns"):
        Table("t", ("a", "b"), ((1, 2), (3,)))


@pytest.mark.parametrize("digits", [-1, 13, 1_000_000_000])
def test_digits_are_bounded(digits: int) -> None:
    with pytest.raises(InputError, match=f"`digits` is {digits}; give 0 to 12"):
        Table("t", ("a",), ((1.0,),), digits=digits)


def test_a_table_has_columns() -> None:
    with pytest.raises(InputError, match="no columns"):
        Table("t", (), ())
