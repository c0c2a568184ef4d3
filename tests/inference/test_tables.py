"""Tables in and out."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrjax.errors import InputError
from lrjax.geometry.points import AFLW19, FIVE, IBUG68, convert
from lrjax.inference.landmarks import Prediction
from lrjax.inference.tables import Row, face_rows, image_rows, read_points, read_rows, table_text


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_in_their_order(tmp_path: Path) -> None:
    text = 'file,x,y,w,h\nb.jpg,1,2,3,4\n"a, b.jpg",-1.5,2e1, 3 ,4\n'
    rows = read_rows(written(tmp_path, text))
    assert [row.file for row in rows] == ["b.jpg", "a, b.jpg"]
    assert [row.box for row in rows] == [(1, 2, 3, 4), (-1.5, 20, 3, 4)]
    assert rows[1].cells == ("a, b.jpg", "-1.5", "2e1", " 3 ", "4")
    assert [row.line for row in rows] == [2, 3]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    text = "\ufeffx0,h, w,name,file,y,x\r\n9,4,3,Ann,a.jpg,2,1\r\n\r\n9,8,7,Bob,b.jpg,6,5\r\n"
    rows = read_rows(written(tmp_path, text))
    assert [(row.file, row.box, row.line) for row in rows] == [
        ("a.jpg", (1, 2, 3, 4), 2),
        ("b.jpg", (5, 6, 7, 8), 4),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.jpg,1,2,3", "h is '', which is no number"),
        ("a.jpg,1,zwei,3,4", "y is 'zwei', which is no number"),
        ("a.jpg", "x is ''"),
        (",1,2,3,4", "the file name is empty"),
    ],
)
def test_a_row_that_cannot_be_used_is_kept(tmp_path: Path, line: str, problem: str) -> None:
    rows = read_rows(written(tmp_path, f"file,x,y,w,h\n{line}\nb.jpg,1,2,3,4\n"))
    assert len(rows) == 2
    assert problem in rows[0].problem
    assert rows[1].problem is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no columns named 'file'"),
        ("a.jpg,1,2,3,4\n", "no columns named 'file'; its first line must name file,x,y,w,h"),
        ("file,x,y,w\n", "no columns named 'h'"),
        ("file,x,y,w,h,x\n", "2 columns named 'x'"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(written(tmp_path, content))
    with pytest.raises(InputError, match="No such file"):
        read_rows(tmp_path / "absent.csv")


def test_names_that_are_not_utf8_come_out_as_they_went_in(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, b"file,x,y,w,h\nM\xfcller.jpg,1,2,3,4\n"))
    text = table_text(rows, [None], FIVE)
    assert b"M\xfcller.jpg,1,2,3,4,," in text.encode("utf-8", "surrogateescape")


def prediction() -> Prediction:
    points = np.arange(20, dtype=np.float32).reshape(2, 5, 2) / 7
    return Prediction(
        points=points,
        confidence=np.array([0.5, 0.25], np.float32),
        point_confidence=np.zeros((2, 5), np.float32),
        boxes=np.array([[1, 2, 3, 4], [0, 0, 30, 20]], np.float64),
        image=np.array([0, 1]),
        scheme=FIVE,
    )


def test_points_follow_the_cells_as_they_were() -> None:
    rows = [
        Row(("a, b.jpg", "1.0", "2", "3", "4"), (1, 2, 3, 4), line=2),
        Row(("c.jpg", "x", "", "3", "4"), problem="bad", line=3),
        Row(("d.jpg", "", "", "", "")),
    ]
    found = prediction()
    text = table_text(rows, [(found, 0), None, (found, 1)], FIVE)
    lines = list(csv.reader(text.splitlines()))
    assert lines[0][:9] == ["file", "x", "y", "w", "h", "x0", "y0", "x1", "y1"]
    assert lines[0][-2:] == ["y4", "confidence"]
    assert {len(line) for line in lines} == {16}
    assert lines[1][:5] == ["a, b.jpg", "1.0", "2", "3", "4"]
    np.testing.assert_allclose([float(v) for v in lines[1][5:15]], np.arange(10) / 7, atol=0.006)
    assert lines[1][15] == "0.5000"
    assert lines[2] == ["c.jpg", "x", "", "3", "4", *[""] * 11]
    assert lines[3][:5] == ["d.jpg", "0", "0", "30", "20"]


def test_each_image_is_one_row() -> None:
    assert image_rows(["a.jpg", "b/c.png"])[1] == Row(("b/c.png", "", "", "", ""))


def test_each_box_that_was_found_is_one_row() -> None:
    """As it is written, to a tenth of a pixel."""
    first, second = face_rows("a.jpg", np.array([[1.26, -2, 30.04, 20], [5, 6, 7, 8]]))
    assert first == Row(("a.jpg", "1.3", "-2.0", "30.0", "20.0"), (1.3, -2.0, 30.0, 20.0))
    assert second.box == (5, 6, 7, 8)
    (nobody,) = face_rows("b.jpg", np.zeros((0, 4)))
    assert nobody == Row(("b.jpg", "", "", "", ""), problem="no face was found")


@pytest.mark.parametrize("scheme", [FIVE, AFLW19, IBUG68])
def test_the_points_that_predict_wrote(tmp_path: Path, scheme) -> None:
    """As five points; a row without a prediction has none that is visible."""
    points = np.random.default_rng(0).uniform(0, 50, (1, scheme.count, 2))
    sure = np.full((1, scheme.count), 0.5)
    boxes = np.array([[1.0, 2, 3, 4]])
    found = Prediction(points, sure.mean(-1), sure, boxes, np.zeros(1, int), scheme)
    cells = ("a.jpg", "1", "2", "3", "4"), ("b.jpg", "", "", "", "")
    text = table_text([Row(c) for c in cells], [(found, 0), None], scheme)
    rows, five, visible = read_points(written(tmp_path, text))
    expected, _ = convert(points, np.ones((1, scheme.count), bool), scheme, FIVE)
    assert visible.tolist() == [[True] * 5, [False] * 5]
    np.testing.assert_allclose(five[0], expected[0], atol=0.01)
    assert [row.file for row in rows] == ["a.jpg", "b.jpg"]
    assert rows[0].problem is None
    assert "x is ''" in rows[1].problem


def test_single_points_may_be_missing_or_wrong(tmp_path: Path) -> None:
    names = ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")
    lines = (
        f"file,{names},x,y,w,h",
        "a.jpg,1,2,,,5,6,7,8,9,10,0,0,9,9",
        "a.jpg,1,2,3,four,5,6,7,8,9,10,0,0,9,9",
    )
    rows, points, visible = read_points(written(tmp_path, "\n".join(lines)))
    assert visible[0].tolist() == [True, False, True, True, True]
    np.testing.assert_array_equal(points[0], [[1, 2], [0, 0], [5, 6], [7, 8], [9, 10]])
    assert [row.problem for row in rows] == [None, "a point is no number"]


def test_a_table_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no points"):
        read_points(written(tmp_path, "file,x,y,w,h,x0,y0\na.jpg,1,2,3,4,5,6\n"))


CELLS = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_none(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name), b"file,x,y,w,h\n" + data)
        try:
            rows = read_rows(path)
        except InputError:
            return
        for row in rows:
            assert (row.problem is None) == (row.box is not None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS).filter(any), max_size=4))
def test_what_is_in_a_cell_comes_out_as_it_went_in(lines: list[tuple[str, ...]]) -> None:
    """Line ends, quotes, commas and what a spreadsheet would take for a formula included."""
    text = table_text([Row(line) for line in lines], [None] * len(lines), FIVE)
    with tempfile.TemporaryDirectory() as name:
        found = read_rows(written(Path(name), text))
    assert [row.cells for row in found] == lines


@pytest.mark.parametrize("number", ["1e39", "-1e39", "inf", "9" * 400])
def test_points_beyond_any_image_are_refused(number: str, tmp_path: Path) -> None:
    """They would be infinite in float32."""
    names = ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")
    line = f"a.jpg,{number},2,3,4,5,6,7,8,9,10,0,0,9,9"
    rows, points, visible = read_points(written(tmp_path, f"file,{names},x,y,w,h\n{line}\n"))
    assert rows[0].problem == "a point is infinite, or far away from any image"
    assert not visible.any()
    assert not points.any()
