"""WIDER FACE from the official text and from the mats."""

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.io

from lrjax.tfds_builders.common import DatasetError, Report
from lrjax.tfds_builders.wider_face_crops.annotations import read_annotation, read_mat, read_text
from lrjax.tfds_builders.wider_face_crops.wider_face_crops_dataset_builder import Builder, group

Boxes = Sequence[tuple[int, int, int, int]]
EVENT = "0--Parade"
FACES: dict[str, Boxes] = {
    "0_Parade_marchingband_1_849": [(20, 30, 25, 30), (60, 20, 0, 30), (50, 40, 20, 20)],
    "0_Parade_Parade_0_452": [],
    "0_Parade with a space 7": [(10, 5, 110, 100), (-5, 60, 30, 32)],
}


def write_text(path: pathlib.Path, records: dict[str, Boxes]) -> None:
    lines = []
    for name, boxes in records.items():
        lines += [f"{EVENT}/{name}.jpg", str(len(boxes))]
        lines += ["{} {} {} {} 0 0 0 0 0 0 ".format(*box) for box in boxes]
        if not boxes:
            lines.append("0 0 0 0 0 0 0 0 0 0 ")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def cell(items: Sequence[object]) -> np.ndarray:
    """A MATLAB cell column."""
    array = np.empty((len(items), 1), object)
    for i, item in enumerate(items):
        array[i, 0] = item
    return array


def write_mat(path: pathlib.Path, records: dict[str, Boxes], **changes: object) -> None:
    boxes = [np.array(found or [(0, 0, 0, 0)], np.int32) for found in records.values()]
    content = {
        "event_list": cell([EVENT]),
        "file_list": cell([cell(list(records))]),
        "face_bbx_list": cell([cell(boxes)]),
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, content)


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    root = tmp_path / "WIDER"
    split = root / "wider_face_split"
    write_text(split / "wider_face_train_bbx_gt.txt", FACES)
    write_text(split / "wider_face_val_bbx_gt.txt", {"0_Parade_val": [(3, 4, 30, 30)]})
    for name in FACES:
        write_photo(root / "WIDER_train/images" / EVENT / f"{name}.jpg")
    return root


def test_the_bounds_of_the_groups_are_strict() -> None:
    boxes = np.array(
        [(0, 0, w, h) for w, h in ((20, 20), (3, 134), (40, 40), (41, 39), (100, 100), (101, 100))]
    )
    assert group(boxes).tolist() == ["", "lr", "", "lr", "", "hr"]


def test_text_and_mat_agree(tmp_path: pathlib.Path) -> None:
    write_text(tmp_path / "a.txt", FACES)
    write_mat(tmp_path / "a.mat", FACES)
    report = Report()
    text, mat = read_text(tmp_path / "a.txt", report), read_mat(tmp_path / "a.mat", report)
    assert [r.name for r in text] == [r.name for r in mat] == [f"{EVENT}/{n}.jpg" for n in FACES]
    for a, b, boxes in zip(text, mat, FACES.values(), strict=True):
        np.testing.assert_array_equal(a.boxes, np.reshape(boxes, (-1, 4)))
        np.testing.assert_array_equal(b.boxes, a.boxes)
    assert not report.skipped


def test_faces_are_grouped_and_everything_else_is_counted(
    official: pathlib.Path, prepare: Callable
) -> None:
    records, report = prepare(Builder, official)
    assert {split: [r["name"] for r in found] for split, found in records.items()} == {
        "lr": [
            f"train/{EVENT}/0_Parade_marchingband_1_849.jpg#0",
            f"train/{EVENT}/0_Parade with a space 7.jpg#1",
        ],
        "hr": [f"train/{EVENT}/0_Parade with a space 7.jpg#0"],
    }
    assert report.counts == {
        "lr": {"annotated": 3, "image at hand": 2, "written": 2},
        "hr": {"annotated": 1, "image at hand": 1, "written": 1},
    }
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the box has no area": [f"train/{EVENT}/0_Parade_marchingband_1_849.jpg#1"],
        "the image is missing": [f"val/{EVENT}/0_Parade_val.jpg"],
    }
    assert report.notes[0] == (
        "lr: 3 faces annotated (complete annotation: 47,046), 2 of them with their image at hand."
    )
    record = records["lr"][1]
    assert "points" not in record
    np.testing.assert_array_equal(record["box"], record["face_box"])
    np.testing.assert_allclose(record["origin"] + record["box"][:2], [-5, 60], atol=1e-4)
    np.testing.assert_allclose(record["box"][2:], [30, 32])


def test_the_mats_serve_where_there_is_no_text(official: pathlib.Path, prepare: Callable) -> None:
    split = official / "wider_face_split"
    for path in split.iterdir():
        path.unlink()
    write_mat(split / "wider_face_train.mat", FACES)
    records, report = prepare(Builder, official)
    assert {name: len(found) for name, found in records.items()} == {"lr": 2, "hr": 1}
    assert list(report.skipped["the annotation is missing"]) == [
        "wider_face_split/wider_face_val_*"
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("2\n1 2 3 4 0 0 0 0 0 0", "disagree"),
        ("1\n1 2 3 4 0 0 0 0 0 0\n1 2 3 4 0 0 0 0 0 0", "disagree"),
        ("0\n1 2 3 4 0 0 0 0 0 0", "disagree"),
        ("1\n1 2 3 4 0 0", "10 numbers"),
        ("1\n1 2 x 4 0 0 0 0 0 0", "whole numbers"),
        ("many\n1 2 3 4 0 0 0 0 0 0", "no face count"),
        ("", "no face count"),
    ],
)
def test_a_malformed_record_is_left_out_alone(
    tmp_path: pathlib.Path, body: str, reason: str
) -> None:
    good = "1\n20 30 25 30 0 0 0 0 0 0"
    path = tmp_path / "a.txt"
    path.write_text(f"e/a.jpg\n{good}\ne/b.jpg\n{body}\ne/c.jpg\n{good}\n")
    report = Report()
    assert [r.name for r in read_text(path, report)] == ["e/a.jpg", "e/c.jpg"]
    ((found, names),) = report.skipped.items()
    assert reason in found
    assert list(names) == [f"{path}:4"]


def test_tampered_mats_are_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "wider_face_val.mat"
    write_mat(path, FACES, event_list=cell([EVENT, "1--Handshaking"]))
    with pytest.raises(DatasetError, match=r"wider_face_val\.mat.*length"):
        read_mat(path, Report())

    report = Report()
    write_mat(path, FACES, event_list=cell([np.arange(3)]))
    assert read_mat(path, report) == []
    assert "a name is not text" in next(iter(report.skipped))
    with pytest.raises(DatasetError, match=r"wider_face_val\.mat holds no usable record"):
        read_annotation(tmp_path, "val", Report())

    report = Report()
    boxes = [np.zeros((2, 3)), np.array(["text"]), np.array([(1, 2, 3, 4)])]
    write_mat(path, FACES, face_bbx_list=cell([cell(boxes)]))
    assert len(read_mat(path, report)) == 1
    assert sum(map(len, report.skipped.values())) == 2

    write_mat(path, FACES, face_bbx_list=np.arange(1.0))
    report = Report()
    assert read_mat(path, report) == []


def test_a_tampered_box_or_name_does_not_stop_the_rest(
    official: pathlib.Path, prepare: Callable
) -> None:
    write_mat(
        official / "wider_face_split" / "wider_face_val.mat",
        {
            "../../../etc/passwd": [(3, 4, 30, 30)],
            "0_Parade_marchingband_1_849": [(10**6, 0, 200, 200), (0, 0, 10**6, 10**6)],
        },
    )
    (official / "wider_face_split" / "wider_face_val_bbx_gt.txt").unlink()
    (official / "WIDER_val").symlink_to(official / "WIDER_train")
    records, report = prepare(Builder, official)
    assert {name: len(found) for name, found in records.items()} == {"lr": 2, "hr": 1}
    assert list(report.skipped["the image's name leaves the dataset's folder"]) == [
        f"val/{EVENT}/../../../etc/passwd.jpg"
    ]
    assert list(report.skipped["the box lies outside the image"]) == [
        f"val/{EVENT}/0_Parade_marchingband_1_849.jpg#0"
    ]
    assert list(report.skipped["the box is far larger than the image"]) == [
        f"val/{EVENT}/0_Parade_marchingband_1_849.jpg#1"
    ]


@pytest.mark.skipif("LRJAX_DATA" not in os.environ, reason="LRJAX_DATA is not set")
def test_the_complete_annotation_gives_the_published_counts() -> None:
    folder = pathlib.Path(os.environ["LRJAX_DATA"]) / "WIDER" / "wider_face_split"
    groups = {"text": [], "mat": []}
    for part in ("train", "val"):
        report = Report()
        text = read_text(folder / f"wider_face_{part}_bbx_gt.txt", report)
        mat = read_mat(folder / f"wider_face_{part}.mat", report)
        assert not report.skipped
        by_name = {record.name: record.boxes for record in mat}
        assert by_name.keys() == {record.name for record in text}
        for record in text:
            np.testing.assert_array_equal(record.boxes, by_name[record.name])
        groups["text"] += [group(record.boxes) for record in text]
        groups["mat"] += [group(record.boxes) for record in mat]
    for found in groups.values():
        names, counts = np.unique(np.concatenate(found), return_counts=True)
        by_split = dict(zip(names.tolist(), counts.tolist(), strict=True))
        assert (by_split["lr"], by_split["hr"]) == (47_046, 11_017)
