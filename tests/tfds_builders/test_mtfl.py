"""MTFL's lists; what is missing or malformed is named."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lrjax.tfds_builders.common import DatasetError, Report
from lrjax.tfds_builders.mtfl.mtfl_dataset_builder import Builder, read_faces

X, Y = (50.5, 90.0, 71.25, 55.0, 86.0), (40.0, 42.5, 60.0, 80.0, 79.5)
POINTS = np.transpose([X, Y])


def line(picture: str, attributes: str = " 1 2 2 3", shift: float = 0) -> str:
    numbers = " ".join(f"{value + shift:.3f}" for value in (*X, *Y))
    return f"{picture} {numbers}{attributes}"


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    root = tmp_path / "MTFL"
    for name in ("lfw_5590/A_0001.jpg", "net_7876/1.jpg", "AFLW/0001-image1.jpg"):
        write_photo(root / name)
    training = [" " + line("lfw_5590\\A_0001.jpg"), line("net_7876\\1.jpg", shift=2), ""]
    (root / "training.txt").write_text("\r\n".join(training))
    (root / "testing.txt").write_text(f" {line('AFLW/0001-image1.jpg', '')}\n")
    return root


def test_the_lists_become_the_splits(official: pathlib.Path, prepare: Callable) -> None:
    records, report = prepare(Builder, official)
    assert {split: [r["name"] for r in found] for split, found in records.items()} == {
        "train": ["lfw_5590/A_0001.jpg#0", "net_7876/1.jpg#1"],
        "test": ["AFLW/0001-image1.jpg#0"],
    }
    for record, shift in zip([*records["train"], *records["test"]], (0, 2, 0), strict=True):
        photo = record["origin"] + (record["points"] + 0.5) / record["scale"] - 0.5
        np.testing.assert_allclose(photo, POINTS + shift, atol=1e-3)
        assert record["visible"].all()
    assert not report.skipped
    assert report.counts["train"] == {"annotated": 2, "image at hand": 2, "written": 2}
    assert report.notes == [
        "train: 2 faces annotated (official list: 10,000), 2 of them with their image at hand.",
        "test: 1 faces annotated (official list: 2,995), 1 of them with their image at hand.",
    ]


def test_boxes_follow_the_points(official: pathlib.Path, prepare: Callable) -> None:
    record = prepare(Builder, official)[0]["test"][0]
    assert record["scale"] == 1
    # The points are from (50.5, 40) to (90, 80): 39.5 wide and 40 high.
    x, y = record["box"][:2] + record["origin"]
    np.testing.assert_allclose([x, y, *record["box"][2:]], [51, 40.5, 39.5, 40], atol=1e-3)
    x, y = record["face_box"][:2] + record["origin"]
    sides, top, bottom = 0.534 * 40, 0.752 * 40, 0.625 * 40
    expected = [51 - sides, 40.5 - top, 39.5 + 2 * sides, 40 + top + bottom]
    np.testing.assert_allclose([x, y, *record["face_box"][2:]], expected, atol=1e-3)


def test_bad_lines_and_files_are_named(
    official: pathlib.Path,
    prepare: Callable,
    write_photo: Callable[..., pathlib.Path],
    truncate: Callable[[pathlib.Path], None],
) -> None:
    truncate(write_photo(official / "net_7876" / "2.jpg"))
    with (official / "training.txt").open("a") as file:
        file.write(f"{line('lfw_5590/absent.jpg')}\n{line('net_7876/2.jpg')}\n")
        file.write(f"{line('a.jpg', ' 1 2')}\n{line('a.jpg').replace('50.500', 'x')}\n")
        file.write(f"{line('a.jpg').replace('50.500', 'nan')}\n../../secret.jpg{line('')}\n")
        file.write(f"net_7876/1.jpg {' '.join(['7'] * 10)}\nalone.jpg\n")
    records, report = prepare(Builder, official)
    assert len(records["train"]) == 2
    malformed = "the line is malformed (after the picture, "
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        f"{malformed}not 10 numbers)": ["training.txt:5", "training.txt:10"],
        f"{malformed}not numbers)": ["training.txt:6"],
        f"{malformed}not finite)": ["training.txt:7"],
        "the box has no area": ["net_7876/1.jpg#5"],
        "the image is missing": ["lfw_5590/absent.jpg"],
        "the image's name leaves the dataset's folder": ["../../secret.jpg"],
        "the image cannot be decoded (truncated or not an image)": ["net_7876/2.jpg"],
    }
    assert report.counts["train"] == {"annotated": 6, "image at hand": 3, "written": 2}


def test_a_list_that_is_not_there_is_named(official: pathlib.Path, prepare: Callable) -> None:
    (official / "testing.txt").unlink()
    records, report = prepare(Builder, official)
    assert set(records) == {"train"}
    assert list(report.skipped["the annotation is missing"]) == ["testing.txt"]
    assert "Split 'test' is left out: none of its images is at hand." in report.notes


def test_a_folder_without_the_lists_is_an_error(tmp_path: pathlib.Path, prepare: Callable) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "list.txt").touch()
    with pytest.raises(DatasetError, match=r"the annotation is missing \(training\.txt\)"):
        prepare(Builder, tmp_path / "other")


@pytest.mark.skipif("LRJAX_DATA" not in os.environ, reason="LRJAX_DATA is not set")
def test_real_lists_are_all_usable(tmp_path: pathlib.Path) -> None:
    root = pathlib.Path(os.environ["LRJAX_DATA"]) / "MTFL"
    if not root.is_dir():
        pytest.skip(f"there is no {root}")
    report = Report()
    splits = Builder(data_dir=tmp_path).scan(root, report)
    assert not report.skipped
    for split, file in (("train", "training.txt"), ("test", "testing.txt")):
        count = len((root / file).read_text().splitlines())
        assert report.counts[split] == {"annotated": count, "image at hand": count}
        faces = [face for photo in splits[split] for face in photo.faces]
        points = np.stack([face.points for face in faces])
        # The eyes are above the mouth, and the left ones lie left, on all but turned heads.
        assert (points[:, :2, 1].mean(1) < points[:, 3:, 1].mean(1)).mean() > 0.99
        assert (points[:, 0, 0] < points[:, 1, 0]).mean() > 0.99
        assert np.isfinite([face.face_box for face in faces]).all()
    assert len(list(read_faces(root / "testing.txt", report))) == len(faces)
