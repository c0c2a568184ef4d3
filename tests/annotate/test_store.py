"""Annotations on disk, the agreement of annotators, and what `lrjax prepare alrf` makes of them."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lrjax.annotate.faces import Face
from lrjax.annotate.store import COLUMNS, Store, check_annotator, read_points
from lrjax.cli.annotate import summary
from lrjax.errors import InputError
from lrjax.tfds_builders.alrf.alrf_dataset_builder import Builder

POINTS = [[5.0, 8.0], [14.0, 8.5], [10.0, 12.25], [6.0, 18.0], [13.0, 18.5]]


def points(face: Face, *changes: tuple[int, list[float]]) -> np.ndarray:
    value = [list(point) for point in POINTS]
    for i, point in changes:
        value[i] = point
    return read_points(value, face)


def test_what_is_saved_is_there_again(tmp_path: pathlib.Path, make_faces: Callable) -> None:
    faces = make_faces(tmp_path)
    store = Store(tmp_path, faces)
    store.save(faces[0], " Ann ", points(faces[0], (2, [-1, -1])))
    store.save(faces[0], "Bo", points(faces[0]))
    store.save(faces[1], "Ann", points(faces[1], (0, [3, 4]), (3, [6, 14])))
    store.save(faces[0], "Bo", points(faces[0], (4, [12, 17])))
    lines = (tmp_path / "annotations.csv").read_text().splitlines()
    assert lines == [
        ",".join(COLUMNS),
        "a b.png_20_10_20_24.png,Ann,5.00,8.00,14.00,8.50,-1,-1,6.00,18.00,13.00,18.50",
        "a b.png_20_10_20_24.png,Bo,5.00,8.00,14.00,8.50,10.00,12.25,6.00,18.00,12.00,17.00",
        "a b.png_50.4_30.6_16_16.png,Ann,3.00,4.00,14.00,8.50,10.00,12.25,6.00,14.00,13.00,18.50",
    ]
    again = Store(tmp_path, faces)
    assert again.annotators == ["Ann", "Bo"]
    assert (again.done("Ann"), again.done("Bo"), again.done("Cy")) == ([0, 1], [0], [])
    np.testing.assert_array_equal(again.points(faces[0], "Ann")[[0, 2]], [[5, 8], [-1, -1]])
    again.save(faces[0], "Bo", None)
    assert Store(tmp_path, faces).annotators == ["Ann"]


def test_rows_of_faces_that_are_not_at_hand_stay(
    tmp_path: pathlib.Path, make_faces: Callable
) -> None:
    faces = make_faces(tmp_path)
    Store(tmp_path, faces).save(faces[0], "Ann", points(faces[0]))
    other = Store(tmp_path, faces[1:])
    other.save(faces[1], "Ann", points(faces[1]))
    assert other.done("Ann") == [0]
    assert Store(tmp_path, faces).done("Ann") == [0, 1]


def test_a_table_that_cannot_be_written_stays_as_it_was(
    tmp_path: pathlib.Path, make_faces: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = make_faces(tmp_path)
    store = Store(tmp_path, faces)
    store.save(faces[0], "Ann", points(faces[0]))
    before = (tmp_path / "annotations.csv").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(faces[1], "Ann", points(faces[1]))
    assert store.done("Ann") == [0]
    assert (tmp_path / "annotations.csv").read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_annotators_may_save_at_once(tmp_path: pathlib.Path, make_faces: Callable) -> None:
    faces = make_faces(tmp_path)
    store = Store(tmp_path, faces)
    jobs = [(face, f"annotator {n}") for face in faces for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: store.save(*job, points(job[0])), jobs))
    again = Store(tmp_path, faces)
    assert [again.done(f"annotator {n}") for n in range(8)] == [[0, 1, 2]] * 8


def test_a_visible_point_is_not_written_as_an_invisible_one(
    tmp_path: pathlib.Path, make_faces: Callable
) -> None:
    """It may lie beyond the face, at -1 as well."""
    faces = make_faces(tmp_path)
    store = Store(tmp_path, faces)
    store.save(faces[0], "Ann", points(faces[0], (0, [-1.001, 5]), (1, [4, -1.0])))
    found = Store(tmp_path, faces).points(faces[0], "Ann")
    np.testing.assert_allclose(found[:2], [[-0.99, 5], [4, -0.99]], atol=1e-9)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "A face has 5 points"),
        (POINTS[:4], "A face has 5 points"),
        ([*POINTS[:4], [1, 2, 3]], "Point 4 is not two numbers"),
        ([*POINTS[:4], [1, True]], "Point 4 is not two numbers"),
        ([*POINTS[:4], ["1", 2]], "Point 4 is not two numbers"),
        ([[math.nan, 1], *POINTS[:4]], "Point 0 lies beyond the picture"),
        ([[10**400, 1], *POINTS[:4]], "Point 0 lies beyond the picture"),
        ([[-9, 1], *POINTS[:4]], "Point 0 lies beyond the picture"),
        ([[1, 32.51], *POINTS[:4]], "Point 0 lies beyond the picture"),
    ],
)
def test_points_that_are_none_are_refused(
    tmp_path: pathlib.Path, make_faces: Callable, value, message
) -> None:
    """The face of 20 x 24 pixels is shown from (-8, -8) to (28, 32)."""
    with pytest.raises(InputError, match=message):
        read_points(value, make_faces(tmp_path)[0])


def test_names_of_annotators() -> None:
    assert check_annotator("  Zoë O'Neil-2. ") == "Zoë O'Neil-2."
    for name in ("", "  ", "=1+1", "a\nb", "a,b", "x" * 41, "../x"):
        with pytest.raises(InputError, match="choose another name"):
            check_annotator(name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.png,Ann,1,2,3", "line 2 is not a file, an annotator and five points"),
        ("x.png,Ann,1,2,3,4,5,6,7,8,9,left", "line 2 is not"),
        ("x.png,Ann,1,2,3,4,5,6,7,8,9,nan", "line 2 is not"),
        ("x.png,Ann,1,2,3,4,5,6,7,8,9,-1", "line 2 is not"),
    ],
)
def test_a_damaged_table_is_refused_and_kept(tmp_path: pathlib.Path, line, message) -> None:
    path = tmp_path / "annotations.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{line}\n")
    with pytest.raises(InputError, match=message):
        Store(tmp_path, [])
    path.write_text("file,x,y\n")
    with pytest.raises(InputError, match="name another --out"):
        Store(tmp_path, [])
    assert path.read_text() == "file,x,y\n"


def test_agreement_is_the_mean_distance_over_the_side(
    tmp_path: pathlib.Path, make_faces: Callable
) -> None:
    """By hand: 3-4-5 over √(20·24) and 2 over √(16·16), with three pairs of points not compared."""
    faces = make_faces(tmp_path)
    store = Store(tmp_path, faces)
    store.save(faces[0], "Ann", points(faces[0], (2, [-1, -1])))
    store.save(faces[0], "Bo", points(faces[0], (0, [8, 12]), (1, [-1, -1])))
    store.save(faces[1], "Ann", points(faces[1], (3, [-1, -1])))
    store.save(faces[1], "Bo", points(faces[1], (1, [16, 8.5])))
    store.save(faces[2], "Ann", points(faces[2]))
    store.save(faces[2], "Cy", points(faces[2]))
    found = {pair.annotators: pair for pair in store.agreement()}
    assert set(found) == {("Ann", "Bo"), ("Ann", "Cy"), ("Bo", "Cy")}
    both = found["Ann", "Bo"]
    assert (both.faces, both.points) == (2, 7)
    expected = (5 / math.sqrt(480) + 2 / 16) / 7
    assert both.distance == pytest.approx(expected)
    assert (found["Ann", "Cy"].points, found["Ann", "Cy"].distance) == (5, 0)
    assert math.isnan(found["Bo", "Cy"].distance)
    said = summary(store)
    assert "Ann: 3 of 3 faces" in said
    assert f"Ann and Bo: {100 * expected:.2f} % of √(w·h) apart, over 7 points of 2 faces" in said
    assert "Bo and Cy" not in said


def test_the_builder_of_alrf_reads_the_folder(tmp_path: pathlib.Path, make_faces: Callable) -> None:
    """The mean of those who see a point, on the pixels that they saw."""
    root = tmp_path / "ALRF"
    faces = make_faces(root)
    store = Store(root, faces)
    store.save(faces[0], "Ann", points(faces[0], (2, [-1, -1]), (3, [-1, -1])))
    store.save(faces[0], "Bo", points(faces[0], (0, [7, 9]), (2, [-1, -1])))
    builder = Builder(data_dir=tmp_path / "prepared")
    builder.download_and_prepare(
        file_format="array_record",
        download_config=tfds.download.DownloadConfig(manual_dir=root, try_download_gcs=False),
    )
    (record,) = builder.as_data_source("test")
    assert record["name"].decode() == f"{faces[0].file}#0"
    assert record["visible"].tolist() == [True, True, False, True, True]
    found = record["origin"] + (record["points"] + 0.5) / record["scale"] - 0.5
    expected = [[6, 8.5], [14, 8.5], [6, 18], [13, 18.5]]
    np.testing.assert_allclose(found[[0, 1, 3, 4]], expected, atol=1e-4)
    np.testing.assert_allclose(record["face_box"][2:], [20, 24])
    # The photograph's colours are its coordinates: red the column, green the row.
    x, y = np.round([10, 5] - record["origin"]).astype(int)
    assert record["image"][y, x, :2].tolist() == [20 + 10, 10 + 5]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["f.png,Ann,1,2,3,4,5,6,7,8,9,10"] * 2, "line 3 is a second one of Ann for f.png"),
        (["f.png,Jos\udce9,1,2,3,4,5,6,7,8,9,10"], "line 2: An annotator's name begins with"),
        (["f.png,,1,2,3,4,5,6,7,8,9,10"], "line 2: An annotator's name begins with"),
    ],
)
def test_rows_of_others_are_read_with_care(
    tmp_path: pathlib.Path, lines: list[str], message: str
) -> None:
    text = "\n".join([",".join(COLUMNS), *lines]) + "\n"
    (tmp_path / "annotations.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        Store(tmp_path, ())


def test_what_is_nearly_invisible_is_read_again(
    tmp_path: pathlib.Path, make_faces: Callable
) -> None:
    """A visible coordinate that another program wrote becomes no -1 when it is written again."""
    faces = make_faces(tmp_path)
    row = "f.png,Ann,-0.997,2,3,4,5,6,7,8,9,10"
    (tmp_path / "annotations.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
    Store(tmp_path, faces).save(faces[0], "Bo", points(faces[0]))
    assert Store(tmp_path, faces).annotators == ["Ann", "Bo"]
    assert "f.png,Ann,-0.99,2.00" in (tmp_path / "annotations.csv").read_text()
