"""CASIA-WebFace: a folder per person, those of LFW apart."""

import pathlib
from collections.abc import Callable

import pytest

from lrjax.tfds_builders.casia_webface.casia_webface_dataset_builder import LFW_OVERLAP, Builder


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    root = tmp_path / "CASIA-WebFace"
    for folder, count in (("0166921", 2), ("0000045", 3), ("1193098", 1), ("6573602", 2)):
        for i in range(count):
            write_photo(root / folder / f"{i + 1:03d}.jpg", 40, 40)
    return root


def test_people_of_lfw_have_a_split_of_their_own(official: pathlib.Path, prepare: Callable) -> None:
    records, report = prepare(Builder, official)
    assert [(r["name"], r["identity"], int(r["label"])) for r in records["train"]] == [
        ("0000045/001.jpg", b"0000045", 0),
        ("0000045/002.jpg", b"0000045", 0),
        ("0000045/003.jpg", b"0000045", 0),
        ("6573602/001.jpg", b"6573602", 1),
        ("6573602/002.jpg", b"6573602", 1),
    ]
    assert [(r["identity"], int(r["label"])) for r in records["lfw_overlap"]] == [
        (b"0166921", 2),
        (b"0166921", 2),
        (b"1193098", 3),
    ]
    assert report.notes == [
        "both: 8 pictures of 4 people at hand "
        "(CASIA-WebFace: complete would be 494,414 pictures of 10,575 people).",
        "2 of the 3 people who are in LFW's test too are kept apart in 'lfw_overlap', with 3 "
        "pictures.",
    ]
    assert report.counts["lfw_overlap"] == {"image at hand": 3, "written": 3}


def test_bad_pictures_and_empty_folders_are_named(
    official: pathlib.Path, prepare: Callable, truncate: Callable
) -> None:
    for name in LFW_OVERLAP:
        for path in (official / name).glob("*"):
            path.unlink()
    truncate(official / "0000045" / "002.jpg")
    (official / "list.txt").touch()
    records, report = prepare(Builder, official.parent)
    assert set(records) == {"train"}
    assert [r["name"] for r in records["train"]][:2] == ["0000045/001.jpg", "0000045/003.jpg"]
    assert {reason: set(names) for reason, names in report.skipped.items()} == {
        "the folder holds no picture": {"0166921", "1193098"},
        "the image cannot be decoded (truncated or not an image)": {"0000045/002.jpg"},
    }
    assert any("'lfw_overlap' is left out" in note for note in report.notes)
