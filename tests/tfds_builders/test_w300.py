"""300W from folders in the official layout."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lrjax.tfds_builders.common import AnnotationError, DatasetError
from lrjax.tfds_builders.w300.w300_dataset_builder import Builder, read_points

HEADER = "version: 1\nn_points:  68\n"


def shape(x: float, y: float, size: float) -> np.ndarray:
    """68 points on a circle: the tight box is `size` wide and high, around (x, y)."""
    angles = np.arange(68) * np.pi / 34
    return np.stack([x + size / 2 * np.cos(angles), y + size / 2 * np.sin(angles)], axis=1)


def write_pts(path: pathlib.Path, points: np.ndarray, header: str = HEADER, end: str = "}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)
    path.write_text(f"{header}{{\n{rows}\n{end}")


@pytest.mark.parametrize(
    ("header", "end"),
    [
        (HEADER, "}"),
        ("version: 1\nn_points: 68\n", "}\n\n  \n"),
        ("version: 1 \r\nn_points:68 \r\n", "} "),
    ],
)
def test_points_are_read_in_every_official_spelling_and_shifted(
    tmp_path: pathlib.Path, header: str, end: str
) -> None:
    points = shape(50, 40, 30)
    write_pts(tmp_path / "a.pts", points, header, end)
    assert "51.0000 40.0000" not in (tmp_path / "a.pts").read_text()
    np.testing.assert_allclose(read_points(tmp_path / "a.pts"), points, atol=1e-4)
    first = (tmp_path / "a.pts").read_text().split("{\n")[1].split()[:2]
    np.testing.assert_allclose(read_points(tmp_path / "a.pts")[0], np.float64(first) - 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "malformed"),
        (HEADER + "{\n1 2\n}", "not 136 numbers"),
        (HEADER + "{\n" + "1 2\n" * 68, "braces"),
        (HEADER + "{\n" + "1 2\n" * 67 + "1 x\n}", "not numbers"),
        (HEADER + "{\n" + "1 2\n" * 67 + "1 nan\n}", "not finite"),
        ("{\n" + "1 2\n" * 68 + "}", "header"),
    ],
)
def test_malformed_points_are_refused(tmp_path: pathlib.Path, text: str, reason: str) -> None:
    (tmp_path / "a.pts").write_text(text)
    with pytest.raises(AnnotationError, match=reason):
        read_points(tmp_path / "a.pts")


def test_binary_points_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.pts").write_bytes(bytes(range(256)))
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_points(tmp_path / "a.pts")


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    root = tmp_path / "300W"
    for i, name in enumerate(
        (
            "helen/trainset/1_1.jpg",
            "lfpw/trainset/image_0001.png",
            "afw/134212_1.jpg",
            "afw/134212_2.jpg",
            "helen/testset/2_1.jpg",
            "lfpw/testset/image_0002.png",
            "ibug/image_092 _01.jpg",
            "300W/01_Indoor/indoor_001.png",
            "300W/02_Outdoor/outdoor_001.png",
        )
    ):
        write_photo(root / name)
        write_pts((root / name).with_suffix(".pts"), shape(70 + i, 60 - i, 40))
    return root


def test_the_official_folders_become_the_official_splits(
    official: pathlib.Path, prepare: Callable
) -> None:
    records, report = prepare(Builder, official)
    names = {split: [r["name"] for r in found] for split, found in records.items()}
    assert names == {
        "train": [
            "helen/trainset/1_1",
            "lfpw/trainset/image_0001",
            "afw/134212_1",
            "afw/134212_2",
        ],
        "common": ["helen/testset/2_1", "lfpw/testset/image_0002"],
        "challenging": ["ibug/image_092 _01"],
        "full": ["helen/testset/2_1", "lfpw/testset/image_0002", "ibug/image_092 _01"],
        "private_test": ["300W/01_Indoor/indoor_001", "300W/02_Outdoor/outdoor_001"],
    }
    assert not report.skipped
    assert report.counts["full"] == {"annotated": 3, "image at hand": 3, "written": 3}


def test_a_record_holds_points_and_boxes_in_crop_pixels(
    official: pathlib.Path, prepare: Callable
) -> None:
    record = prepare(Builder, official)[0]["challenging"][0]
    points = record["origin"] + (record["points"] + 0.5) / record["scale"] - 0.5
    np.testing.assert_allclose(points, shape(76, 54, 40), atol=1e-3)
    assert record["visible"].all()
    x, y, w, h = record["box"]
    np.testing.assert_allclose([w, h], 40, atol=0.1)
    np.testing.assert_allclose(
        record["origin"] + [x + (w - 1) / 2, y + (h - 1) / 2], [76, 54], atol=0.1
    )
    # The face box has the same sides and bottom, and a top raised by a fifth of the height.
    face = record["face_box"]
    np.testing.assert_allclose(face, [x, y - 0.2 * h, w, 1.2 * h], rtol=1e-4)


def test_bad_files_are_named_and_counted(
    official: pathlib.Path, prepare: Callable, truncate: Callable[[pathlib.Path], None]
) -> None:
    truncate(official / "afw/134212_1.jpg")
    write_pts(official / "afw/134212_2.pts", shape(70, 60, 0))
    (official / "lfpw/trainset/image_0001.pts").write_text("version: 1\n{")
    (official / "helen/testset/2_1.jpg").unlink()
    (official / "lfpw/testset/image_0002.pts").unlink()
    for path in (official / "300W/02_Outdoor").iterdir():
        path.unlink()
    (official / "300W/02_Outdoor").rmdir()
    records, report = prepare(Builder, official)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 1,
        "challenging": 1,
        "full": 1,
        "private_test": 1,
    }
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the image cannot be decoded (truncated or not an image)": ["afw/134212_1.jpg"],
        "the box has no area": ["afw/134212_2"],
        "the .pts file is malformed (header or braces missing)": ["lfpw/trainset/image_0001.pts"],
        "the image is missing": ["helen/testset/2_1.pts"],
        "the image has no .pts file": ["lfpw/testset/image_0002.png"],
        "the official folder is missing": ["300W/02_Outdoor"],
    }
    assert report.counts["train"] == {"annotated": 4, "image at hand": 3, "written": 1}
    assert report.notes == ["Split 'common' is left out: none of its images is at hand."]


def test_a_folder_without_the_dataset_is_an_error(
    tmp_path: pathlib.Path, prepare: Callable, write_photo: Callable[..., pathlib.Path]
) -> None:
    write_photo(tmp_path / "holidays" / "beach.jpg")
    with pytest.raises(DatasetError, match=r"No annotated image of 'w300' was found in .*holidays"):
        prepare(Builder, tmp_path / "holidays")


def test_a_split_of_damaged_images_only_is_left_out(
    official: pathlib.Path, prepare: Callable, truncate: Callable[[pathlib.Path], None]
) -> None:
    truncate(official / "ibug/image_092 _01.jpg")
    records, report = prepare(Builder, official)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 4,
        "common": 2,
        "full": 2,
        "private_test": 2,
    }
    assert report.notes == ["Split 'challenging' is left out: none of its images can be read."]
    assert report.counts["challenging"] == {"annotated": 1, "image at hand": 1, "written": 0}


def test_only_damaged_images_are_an_error_and_leave_nothing(
    tmp_path: pathlib.Path,
    prepare: Callable,
    write_photo: Callable[..., pathlib.Path],
    truncate: Callable[[pathlib.Path], None],
) -> None:
    truncate(write_photo(tmp_path / "300W/afw/1_1.jpg"))
    write_pts(tmp_path / "300W/afw/1_1.pts", shape(70, 60, 40))
    with pytest.raises(DatasetError, match=r"Not one face.*afw/1_1\.jpg"):
        prepare(Builder, tmp_path / "300W")
    assert not list((tmp_path / "prepared").rglob("*.array_record*"))


@pytest.mark.skipif("LRJAX_DATA" not in os.environ, reason="LRJAX_DATA is not set")
def test_real_files_are_all_usable() -> None:
    root = pathlib.Path(os.environ["LRJAX_DATA"]) / "300W"
    files = sorted(root.glob("*/**/*.pts"))
    points = np.stack([read_points(path) for path in files])
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)
    assert len(files) >= 1
    assert (eyes > 5).all()
