"""ALRF tables: averaging over annotators, invisible points, faces and photographs."""

import os
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from lrjax.tfds_builders.alrf.alrf_dataset_builder import Builder
from lrjax.tfds_builders.alrf.annotations import read_table
from lrjax.tfds_builders.common import DatasetError, Report

POINTS = "x0,y0,x1,y1,x2,y2,x3,y3,x4,y4"
MARKS = "6,9,18,7,12.5,12,10,20,19,17"


def write_faces(root: pathlib.Path, rows: list[str]) -> pathlib.Path:
    path = root / "annotations.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"file,annotator,{POINTS}", *rows]) + "\n")
    return path


def test_points_are_averaged_over_those_who_marked_them(tmp_path: pathlib.Path) -> None:
    path = write_faces(
        tmp_path,
        [
            "a b.png,1,1,2,10,20,-1,-1,7,7,-1,-1",
            "c.png,1,6,9,18,7,12,12,10,20,19,17",
            "a b.png,2,3,4,-1,-1,-1,-1,7,7,5,6",
            "a b.png,3,5,9,20,40,-1,-1,7,7,-1,-1",
        ],
    )
    rows = read_table(path, with_boxes=False, report=Report())
    assert [row.file for row in rows] == ["a b.png", "c.png"]
    assert rows[0].box is None
    assert rows[0].visible.tolist() == [True, True, False, True, True]
    np.testing.assert_allclose(rows[0].points[rows[0].visible], [[3, 5], [15, 30], [7, 7], [5, 6]])


def test_malformed_rows_are_left_out_by_line(tmp_path: pathlib.Path) -> None:
    path = write_faces(
        tmp_path,
        [
            f"good.png,a,{MARKS}",
            "short.png,a,1,2,3",
            f"text.png,a,{MARKS.replace('12.5', 'left')}",
            f"half.png,a,{MARKS.replace('6,9', '6,-1')}",
            f",a,{MARKS}",
            f"infinite.png,a,{MARKS.replace('12.5', 'inf')}",
        ],
    )
    report = Report()
    assert [r.file for r in read_table(path, with_boxes=False, report=report)] == ["good.png"]
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the row is malformed (not numbers)": ["annotations.csv:3", "annotations.csv:4"],
        "the row is malformed (only one coordinate of a point is -1)": ["annotations.csv:5"],
        "the row is malformed (no file name)": ["annotations.csv:6"],
        "the row is malformed (not finite)": ["annotations.csv:7"],
    }


def test_a_table_of_another_kind_is_an_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "annotations.csv"
    path.write_text("file,left,right\n")
    with pytest.raises(DatasetError, match=r"annotations\.csv has no column 'x0'"):
        read_table(path, with_boxes=False, report=Report())
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(DatasetError, match=r"annotations\.csv cannot be read"):
        read_table(path, with_boxes=False, report=Report())


def test_faces_are_read_where_there_are_no_photographs(
    tmp_path: pathlib.Path,
    prepare: Callable,
    write_photo: Callable[..., pathlib.Path],
    truncate: Callable[[pathlib.Path], None],
) -> None:
    root = tmp_path / "ALRF"
    write_photo(root / "faces" / "a b.png", 24, 27)
    truncate(write_photo(root / "faces" / "broken.png", 24, 27))
    (root / "faces" / "empty.png").touch()
    write_faces(
        root,
        [
            f"a b.png,1,{MARKS.replace('12.5,12', '-1,-1')}",
            f"absent.png,1,{MARKS}",
            f"broken.png,1,{MARKS}",
            f"empty.png,1,{MARKS}",
        ],
    )
    records, report = prepare(Builder, root)
    (record,) = records["test"]
    assert record["name"] == "a b.png#0"
    assert record["source"] == b"face image"
    assert record["visible"].tolist() == [True, True, False, True, True]
    photo = record["origin"] + (record["points"] + 0.5) / record["scale"] - 0.5
    # The point that nobody marked lies at the centre of the box, which is the image.
    np.testing.assert_allclose(photo, [[6, 9], [18, 7], [11.5, 13], [10, 20], [19, 17]], atol=1e-4)
    np.testing.assert_allclose(record["origin"] + record["face_box"][:2], 0, atol=1e-4)
    np.testing.assert_allclose(record["face_box"][2:], [24, 27])
    assert report.counts["test"] == {"annotated": 4, "image at hand": 2, "written": 1}
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the image is missing": ["absent.png"],
        "the image cannot be decoded (truncated or not an image)": ["empty.png", "broken.png"],
    }


def test_photographs_are_preferred_and_give_context(
    tmp_path: pathlib.Path, prepare: Callable, write_photo: Callable[..., pathlib.Path]
) -> None:
    root = tmp_path / "ALRF"
    write_photo(root / "faces" / "0.png", 24, 27)
    write_faces(root, [f"0.png,1,{MARKS}"])
    write_photo(root / "photos" / "crowd.jpg", 300, 200)
    (root / "photos.csv").write_text(
        f"file,x,y,w,h,{POINTS}\n"
        "crowd.jpg,40,50,20,24,44,55,54,56,50,60,46,66,54,67\n"
        "crowd.jpg,140,50,20,0,44,55,54,56,50,60,46,66,54,67\n"
        "crowd.jpg,240,150,22,24,244,155,254,156,250,160,-1,-1,254,167\n"
    )
    records, report = prepare(Builder, root)
    assert [r["name"] for r in records["test"]] == ["crowd.jpg#0", "crowd.jpg#2"]
    first, third = records["test"]
    assert first["source"] == b"photograph"
    np.testing.assert_allclose(first["origin"] + first["box"][:2], [40, 50], atol=1e-4)
    np.testing.assert_allclose(first["points"][1] + first["origin"], [54, 56], atol=1e-4)
    assert third["visible"].tolist() == [True, True, True, False, True]
    assert list(report.skipped["the box has no area"]) == ["crowd.jpg#1"]
    assert report.notes == ["The faces are taken from each photograph (photos.csv)."]


def test_listed_faces_are_a_split_of_their_own(
    tmp_path: pathlib.Path, prepare: Callable, write_photo: Callable[..., pathlib.Path]
) -> None:
    root = tmp_path / "ALRF"
    names = ("a.png", "b.png", "c.png")
    for name in names:
        write_photo(root / "faces" / name, 24, 27)
    write_faces(root, [f"{name},{i},{MARKS}" for name in names for i in (1, 2, 3)])
    records, report = prepare(Builder, root)
    assert list(records) == ["test"]
    (root / "detected.txt").write_text("c.png\n\n b.png#1 \nd.png\n")
    shutil.rmtree(tmp_path / "prepared")
    records, report = prepare(Builder, root)
    assert [r["name"] for r in records["test"]] == ["a.png#0", "b.png#1", "c.png#2"]
    assert [r["name"] for r in records["detected"]] == ["b.png#1", "c.png#2"]
    assert list(report.skipped["no face of this name is annotated"]) == ["detected.txt: d.png"]


def test_a_folder_without_a_table_is_an_error(
    tmp_path: pathlib.Path, prepare: Callable, write_photo: Callable[..., pathlib.Path]
) -> None:
    write_photo(tmp_path / "ALRF" / "faces" / "0.png")
    with pytest.raises(DatasetError, match=r"neither photos\.csv nor annotations\.csv"):
        prepare(Builder, tmp_path / "ALRF")


@pytest.mark.skipif("LRJAX_DATA" not in os.environ, reason="LRJAX_DATA is not set")
def test_real_tables_agree() -> None:
    root = pathlib.Path(os.environ["LRJAX_DATA"]) / "ALRF_dev"
    report = Report()
    faces = read_table(root / "annotations.csv", with_boxes=False, report=report)
    photos = read_table(root / "photos.csv", with_boxes=True, report=report)
    assert not report.skipped
    for face, photo in zip(faces, photos, strict=True):
        np.testing.assert_allclose(face.points + photo.box[:2], photo.points, atol=0.11)
