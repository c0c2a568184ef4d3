"""CelebA: identities, partition, points on pictures of any size."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lrjax.tfds_builders.celeba.celeba_dataset_builder import Builder, scaled_points
from lrjax.tfds_builders.common import AnnotationError, DatasetError

NAMES = [f"{i:06d}.jpg" for i in range(1, 7)]
OWNERS = [2880, 9, 2880, 100, 9, 7]
PARTS = [0, 0, 0, 2, 0, 1]
POINTS = (69, 109, 106, 113, 77, 142, 73, 152, 108, 154)
COLUMNS = (
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "
    "rightmouth_x rightmouth_y"
)


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    root = tmp_path / "CelebA"
    for name in NAMES:
        write_photo(root / "Img" / "img_align_celeba" / name, 178, 218)
    write(root / "Anno" / "identity_CelebA.txt", zip(NAMES, OWNERS, strict=True))
    write(root / "Eval" / "list_eval_partition.txt", zip(NAMES, PARTS, strict=True))
    rows = [(6,), (COLUMNS,), *((name, *POINTS) for name in NAMES)]
    write(root / "Anno" / "list_landmarks_align_celeba.txt", rows)
    return root


def write(path: pathlib.Path, rows: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def listing(records: list[dict]) -> list[tuple[str, str, int]]:
    return [(r["name"], r["identity"].decode(), int(r["label"])) for r in records]


def test_labels_number_the_people_split_after_split(
    official: pathlib.Path, prepare: Callable
) -> None:
    records, report = prepare(Builder, official)
    assert {split: listing(found) for split, found in records.items()} == {
        "train": [
            ("000001.jpg", "2880", 1),
            ("000002.jpg", "9", 0),
            ("000003.jpg", "2880", 1),
            ("000005.jpg", "9", 0),
        ],
        "valid": [("000006.jpg", "7", 2)],
        "test": [("000004.jpg", "100", 3)],
    }
    for found in records.values():
        for record in found:
            np.testing.assert_array_equal(record["points"], np.reshape(POINTS, (5, 2)))
            assert record["visible"].all()
    assert not report.skipped
    assert report.notes == [
        "all: 6 pictures of 4 people at hand "
        "(CelebA: complete would be 202,599 pictures of 10,177 people)."
    ]


def test_points_are_scaled_with_pictures_of_half_the_size(
    official: pathlib.Path, prepare: Callable, write_photo: Callable
) -> None:
    write_photo(official / "Img" / "img_align_celeba" / "000001.jpg", 89, 109)
    write_photo(official / "Img" / "img_align_celeba" / "000002.jpg", 112, 112)
    records, report = prepare(Builder, official)
    half, square, whole, _ = records["train"]
    # The left eye's pixel 69 covers 69 to 70 from the left edge, 34.5 to 35 on half the pixels.
    np.testing.assert_allclose(half["points"][0], [34.25, 54.25])
    np.testing.assert_allclose(half["points"], (np.reshape(POINTS, (5, 2)) + 0.5) / 2 - 0.5)
    assert not square["visible"].any()
    np.testing.assert_array_equal(whole["points"][0], [69, 109])
    assert dict(report.skipped) == {
        "the points do not fit: the picture has another shape": {"000002.jpg": None}
    }
    assert report.notes[-1].startswith("2 pictures are not 178×218 pixels large")
    assert report.notes[-1].endswith("the points are scaled with them.")


def test_without_partition_and_points_all_are_in_train(
    official: pathlib.Path, prepare: Callable
) -> None:
    (official / "Eval" / "list_eval_partition.txt").unlink()
    (official / "Anno" / "list_landmarks_align_celeba.txt").unlink()
    records, report = prepare(Builder, official)
    assert [label for _, _, label in listing(records["train"])] == [3, 1, 3, 2, 1, 0]
    assert not any(record["visible"].any() for record in records["train"])
    assert report.notes[:2] == [
        "Eval/list_eval_partition.txt is not there: all pictures are in train.",
        "Anno/list_landmarks_align_celeba.txt is not there: no picture has points.",
    ]


def test_unusable_lines_and_missing_pictures_are_named(
    official: pathlib.Path, prepare: Callable, truncate: Callable
) -> None:
    pictures = official / "Img" / "img_align_celeba"
    (pictures / "000001.jpg").unlink()
    truncate(pictures / "000002.jpg")
    with (official / "Anno" / "identity_CelebA.txt").open("a") as file:
        file.write("000003.jpg 55\nnobody\n../secret.jpg 3\n000004.jpg x\n")
    write(
        official / "Eval" / "list_eval_partition.txt", zip(NAMES, [0, 0, 0, 3, 0, 2], strict=True)
    )
    rows = [(7,), (COLUMNS,), *((name, *POINTS) for name in NAMES[:4]), ("000005.jpg", *range(9))]
    rows.append(("000006.jpg", *range(200, 210)))
    write(official / "Anno" / "list_landmarks_align_celeba.txt", rows)
    records, report = prepare(Builder, official)
    assert {split: [r["name"] for r in found] for split, found in records.items()} == {
        "train": ["000003.jpg", "000005.jpg"],
        "test": ["000006.jpg"],
    }
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the picture is listed before": ["identity_CelebA.txt:7 (000003.jpg)"],
        "the line does not hold a name and 1 whole numbers": [
            "identity_CelebA.txt:8",
            "identity_CelebA.txt:10",
        ],
        "the part is not 0, 1 or 2": ["list_eval_partition.txt: 000004.jpg"],
        "the line does not hold a name and 10 whole numbers": ["list_landmarks_align_celeba.txt:7"],
        "the partition does not list the picture": ["000004.jpg", "../secret.jpg"],
        "the image is missing": ["000001.jpg"],
        "the image cannot be decoded (truncated or not an image)": ["000002.jpg"],
        "the points do not fit: one lies beside the picture": ["000006.jpg"],
    }
    assert "list_landmarks_align_celeba.txt states 7 pictures and lists 5." in report.notes


def test_a_partition_that_shares_people_is_said(official: pathlib.Path, prepare: Callable) -> None:
    write(
        official / "Eval" / "list_eval_partition.txt", zip(NAMES, [0, 0, 1, 2, 2, 1], strict=True)
    )
    records, report = prepare(Builder, official)
    assert any(note.startswith("2 people are in two splits") for note in report.notes)
    by_owner = {}
    for found in records.values():
        for _, owner, label in listing(found):
            assert by_owner.setdefault(owner, label) == label
    assert sorted(by_owner.values()) == [0, 1, 2, 3]


def test_identities_are_needed(official: pathlib.Path, prepare: Callable) -> None:
    table = official / "Anno" / "identity_CelebA.txt"
    table.write_text("not a table\n")
    with pytest.raises(DatasetError, match=r"identity_CelebA\.txt holds no usable line"):
        prepare(Builder, official)
    table.unlink()
    with pytest.raises(DatasetError, match=r"holds no Anno/identity_CelebA\.txt"):
        prepare(Builder, official)


def test_points_beside_the_picture_do_not_fit() -> None:
    points = np.reshape(POINTS, (5, 2)).astype(np.float32)
    with pytest.raises(AnnotationError, match="beside"):
        scaled_points(points + 100, (178, 218))
    with pytest.raises(AnnotationError, match="shape"):
        scaled_points(points, (178, 200))
