"""AFLW from a mat of the official size whose images are mostly absent."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io

from lrjax.tfds_builders.aflw.aflw_dataset_builder import NUM_FACES, Builder, read_annotation
from lrjax.tfds_builders.common import DatasetError


def official_content() -> dict[str, np.ndarray]:
    """24,386 rows; row i is a face of side 40 at (20 + i % 50, 30), its points beside it."""
    rows = np.arange(NUM_FACES)
    left = 21 + rows % 50
    points = np.zeros((NUM_FACES, 38))
    points[:, :19] = left[:, None] + np.arange(19)
    points[:, 19:] = 31 + 2 * np.arange(19)
    names = np.empty((NUM_FACES, 1), object)
    for row in rows:
        names[row, 0] = f"{2 * (row % 2)}/image{row // 2 * 2 + row % 2:05d}.jpg"
    names[7, 0] = names[5, 0]
    mask = np.ones((NUM_FACES, 19), np.uint8)
    mask[rows % 3 > 0, 4] = 0
    return {
        "bbox": np.stack([left, left + 40, 0 * rows + 31, 0 * rows + 71], axis=1).astype(float),
        "data": points,
        "mask_new": mask,
        "nameList": names,
        "ra": np.roll(rows, 4386)[None, ::-1].astype(np.int32) + 1,
    }


@pytest.fixture(scope="module")
def content() -> dict[str, np.ndarray]:
    return official_content()


@pytest.fixture(scope="module")
def mat(content: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("aflw") / "AFLWinfo_release.mat"
    scipy.io.savemat(path, content)
    return path


def test_splits_boxes_and_points_follow_the_official_conventions(
    mat: pathlib.Path, content: dict[str, np.ndarray]
) -> None:
    annotation = read_annotation(mat)
    assert (len(annotation.train), len(annotation.test)) == (20_000, 4_386)
    np.testing.assert_array_equal(
        np.concatenate([annotation.train, annotation.test]), content["ra"].ravel() - 1
    )
    # Row 3: x1, x2, y1, y2 = 24, 64, 31, 71, counted from 1.
    np.testing.assert_array_equal(annotation.boxes[3], [23.5, 30.5, 40, 40])
    # A box covers x to x + w - 1: its centre is halfway between the corners.
    x, y, w, h = annotation.boxes[3]
    assert (x + (w - 1) / 2, y + (h - 1) / 2) == ((23 + 63) / 2, (30 + 70) / 2)
    np.testing.assert_array_equal(annotation.points[3, 0], [23, 30])
    np.testing.assert_array_equal(annotation.points[3, 18], [23 + 18, 30 + 36])
    assert annotation.visible[3].all()
    np.testing.assert_array_equal(np.flatnonzero(~annotation.visible[4]), [4])


def test_faces_at_hand_are_written_and_the_others_counted(
    mat: pathlib.Path, prepare: Callable, write_photo: Callable[..., pathlib.Path]
) -> None:
    root = mat.parent
    annotation = read_annotation(mat)
    flickr = root / "data" / "flickr"
    write_photo(flickr / "2" / "image00005.PNG")  # of rows 5 and 7
    first_test = annotation.test[0]
    write_photo((flickr / annotation.names[first_test]).with_suffix(".JPG"))
    frontal = annotation.test[annotation.visible[annotation.test].all(axis=1)]
    write_photo(flickr / annotation.names[frontal[-1]])
    records, report = prepare(Builder, root)

    assert sorted(r["name"] for r in records["train"]) == [
        "2/image00005.jpg#5",
        "2/image00005.jpg#7",
    ]
    assert [r["name"] for r in records["frontal"]] == [
        f"{annotation.names[frontal[-1]]}#{frontal[-1]}"
    ]
    assert len(records["test"]) == 2
    assert report.counts["train"] == {"annotated": 20_000, "image at hand": 2, "written": 2}
    assert report.counts["test"] == {"annotated": 4_386, "image at hand": 2, "written": 2}
    assert report.counts["frontal"]["annotated"] == 4_386 // 3
    assert len(report.skipped["the image is missing"]) == NUM_FACES - 1 - 3
    assert "1,462 test faces with all 19 points visible" in report.notes[0]

    record = records["train"][0]
    row = int(record["name"].partition("#")[2])
    photo = record["origin"] + (record["points"] + 0.5) / record["scale"] - 0.5
    np.testing.assert_allclose(photo, annotation.points[row], atol=1e-3)
    np.testing.assert_array_equal(record["visible"], annotation.visible[row])
    np.testing.assert_allclose(record["box"][2:], 40)
    # Networks are shown faces at the scale of 300W's, about the same centre.
    np.testing.assert_allclose(record["face_box"][2:], 0.77 * 40)
    centres = [record[name][:2] + (record[name][2:] - 1) / 2 for name in ("box", "face_box")]
    np.testing.assert_allclose(*centres, atol=1e-3)


def test_unusable_rows_are_left_out_by_name(
    tmp_path: pathlib.Path,
    content: dict[str, np.ndarray],
    prepare: Callable,
    write_photo: Callable[..., pathlib.Path],
) -> None:
    changed = {name: array.copy() for name, array in content.items()}
    changed["bbox"][10, 1] = changed["bbox"][10, 0]
    changed["data"][12, 3] = np.nan
    changed["nameList"][14, 0] = "../../outside.jpg"
    scipy.io.savemat(tmp_path / "AFLWinfo_release.mat", changed)
    write_photo(tmp_path / "flickr" / "0" / "image00016.jpg")
    records, report = prepare(Builder, tmp_path)
    assert [r["name"] for r in records["train"]] == ["0/image00016.jpg#16"]
    assert list(report.skipped["the box has no area"]) == ["0/image00010.jpg#10"]
    assert list(report.skipped["the points are not finite"]) == ["0/image00012.jpg#12"]
    assert list(report.skipped["the image's name leaves the dataset's folder"]) == [
        "../../outside.jpg"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("bbox", np.zeros((5, 4)), "'bbox' is"),
        ("mask_new", np.full((NUM_FACES, 19), 2), "more than 0 and 1"),
        ("ra", np.zeros((1, NUM_FACES)), "not a permutation"),
        ("ra", np.arange(NUM_FACES)[None], "not a permutation"),
        ("nameList", np.array([["a"], ["b"]], object), "2 names"),
        ("nameList", np.array([[np.arange(3)]], object), "a name is not text"),
        ("data", np.array([["x"]], object), "does not hold numbers"),
    ],
)
def test_tampered_mats_are_named(
    tmp_path: pathlib.Path,
    content: dict[str, np.ndarray],
    variable: str,
    value: np.ndarray,
    reason: str,
) -> None:
    path = tmp_path / "AFLWinfo_release.mat"
    few_names = np.array([["a"]], object)  # read last, and slow to write
    scipy.io.savemat(path, content | {"nameList": few_names, variable: value})
    with pytest.raises(DatasetError, match=rf"AFLWinfo_release\.mat.*{reason}"):
        read_annotation(path)
