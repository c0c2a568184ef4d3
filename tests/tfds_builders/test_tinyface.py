"""TinyFace's layout and id pairs; what is missing, altered or unlisted is named."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from lrjax.tfds_builders.common import DatasetError, Report
from lrjax.tfds_builders.tinyface.pairs import GALLERY, PROBE, read_pairs
from lrjax.tfds_builders.tinyface.tinyface_dataset_builder import Builder

GENUINE = pathlib.Path(os.environ.get("LRJAX_DATA", ".")) / "tinyface_protocol"
STANDIN = GENUINE.with_name("tinyface_standin")
Write = Callable[..., pathlib.Path]


def write_pairs(folder: pathlib.Path, file: object, rows: list[tuple[str, int]]) -> None:
    """A file of id pairs in the official form: an n×1 cell of names, n×1 uint16 ids."""
    names = np.empty((len(rows), 1), object)
    names[:, 0] = [name for name, _ in rows]
    ids = np.array([[number] for _, number in rows], np.uint16)
    scipy.io.savemat(folder / file.name, {file.names_variable: names, file.ids_variable: ids})


@pytest.fixture
def official(tmp_path: pathlib.Path, write_photo: Write) -> pathlib.Path:
    root = tmp_path / "TinyFace"
    size = 20

    def put(name: str) -> None:
        nonlocal size
        write_photo(root / name, size, 24)
        size += 1

    for name in ("10/10_1", "10/10_2", "9/9_1"):
        put(f"Training_Set/{name}.jpg")
    for name in ("1_162", "1_184", "7_3"):
        put(f"Testing_Set/Probe/{name}.jpg")
    for name in ("1_106", "7_1", "7_2"):
        put(f"Testing_Set/Gallery_Match/{name}.jpg")
    for name in ("3_101_face10", "3_101_face9"):
        put(f"Testing_Set/Gallery_Distractor/{name}.jpg")
    testing = root / "Testing_Set"
    write_pairs(testing, PROBE, [("1_184.jpg", 1), ("1_162.jpg", 1), ("7_3.jpg", 5)])
    write_pairs(testing, GALLERY, [("1_106.jpg", 1), ("7_1.jpg", 5), ("7_2.jpg", 5)])
    return root


def listing(records: list[dict]) -> list[tuple[str, str, int]]:
    return [(r["name"], r["identity"].decode(), int(r["label"])) for r in records]


def test_splits_and_labels_follow_folders_and_pairs(
    official: pathlib.Path, prepare: Callable
) -> None:
    records, report = prepare(Builder, official)
    assert {split: listing(found) for split, found in records.items()} == {
        "train": [
            ("Training_Set/10/10_1.jpg", "Training_Set/10", 0),
            ("Training_Set/10/10_2.jpg", "Training_Set/10", 0),
            ("Training_Set/9/9_1.jpg", "Training_Set/9", 1),
        ],
        "probe": [
            ("Testing_Set/Probe/1_184.jpg", "1", 0),
            ("Testing_Set/Probe/1_162.jpg", "1", 0),
            ("Testing_Set/Probe/7_3.jpg", "5", 4),
        ],
        "gallery_match": [
            ("Testing_Set/Gallery_Match/1_106.jpg", "1", 0),
            ("Testing_Set/Gallery_Match/7_1.jpg", "5", 4),
            ("Testing_Set/Gallery_Match/7_2.jpg", "5", 4),
        ],
        "distractors": [
            ("Testing_Set/Gallery_Distractor/3_101_face10.jpg", "", -1),
            ("Testing_Set/Gallery_Distractor/3_101_face9.jpg", "", -1),
        ],
    }
    assert records["probe"][1]["image"].shape == (24, 23, 3)
    assert not report.skipped
    assert report.counts["probe"] == {"listed": 3, "image at hand": 3, "written": 3}
    assert report.notes[-4:] == [
        "train: 3 pictures of 2 people at hand "
        "(TinyFace: complete would be 7,804 pictures of 2,570 people).",
        "probe: 3 pictures of 2 people at hand "
        "(TinyFace: complete would be 3,728 pictures of 2,563 people).",
        "gallery_match: 3 pictures of 2 people at hand "
        "(TinyFace: complete would be 4,443 pictures of 2,569 people).",
        "distractors: 2 pictures at hand (TinyFace: complete would be 153,428 pictures).",
    ]
    assert "probe_img_ID_pairs.mat is not TinyFace's own: it has 3 rows" in report.notes[0]


def test_the_files_keep_their_bytes(
    official: pathlib.Path, prepare: Callable, tmp_path: pathlib.Path
) -> None:
    prepare(Builder, official)
    builder = Builder(data_dir=tmp_path / "prepared")
    encoded = {"image": tfds.decode.SkipDecoding()}
    names = set()
    for split in builder.info.splits:
        for record in builder.as_data_source(split, decoders=encoded):
            name = record["name"].decode()
            assert record["image"] == (official / name).read_bytes()
            names.add(name)
    assert len(names) == 11


def test_what_is_missing_damaged_or_unlisted_is_named(
    official: pathlib.Path, prepare: Callable, truncate: Callable, write_photo: Write
) -> None:
    testing = official / "Testing_Set"
    (testing / "Gallery_Match" / "7_1.jpg").unlink()
    truncate(testing / "Probe" / "1_162.jpg")
    write_photo(testing / "Probe" / "8_1.jpg", 30, 30)
    (testing / "Gallery_Distractor" / "3_101_face9.jpg").write_text("no picture")
    (official / "Training_Set" / "11").mkdir()
    records, report = prepare(Builder, official)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 3, "probe": 2, "gallery_match": 2, "distractors": 1,
    }  # fmt: skip
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the image is missing": ["Testing_Set/Gallery_Match/7_1.jpg"],
        "no usable row of the id pairs lists it": ["Testing_Set/Probe/8_1.jpg"],
        "the folder holds no picture": ["Training_Set/11"],
        "the image cannot be decoded (truncated or not an image)": [
            "Testing_Set/Probe/1_162.jpg",
            "Testing_Set/Gallery_Distractor/3_101_face9.jpg",
        ],
    }
    assert report.counts["gallery_match"] == {"listed": 3, "image at hand": 2, "written": 2}


def test_rows_of_an_altered_file_are_named(official: pathlib.Path, prepare: Callable) -> None:
    rows = [("1_162.jpg", 1), ("7_3.jpg", 5701), ("1_184.jpg", 0), ("1_162.jpg", 5)]
    write_pairs(official / "Testing_Set", PROBE, rows)
    records, report = prepare(Builder, official)
    assert listing(records["probe"]) == [("Testing_Set/Probe/1_162.jpg", "1", 0)]
    assert list(report.skipped["the id is not one of 1 to 2,569"]) == [
        "probe_img_ID_pairs.mat: 7_3.jpg",
        "probe_img_ID_pairs.mat: 1_184.jpg",
    ]
    assert list(report.skipped["the name is listed before"]) == [
        "probe_img_ID_pairs.mat: 1_162.jpg (row 4)"
    ]


def test_probes_without_a_mate_are_said(official: pathlib.Path, prepare: Callable) -> None:
    write_pairs(official / "Testing_Set", GALLERY, [("1_106.jpg", 1)])
    _, report = prepare(Builder, official)
    assert report.notes[-1] == (
        "1 probes have no mate in the gallery, for instance Testing_Set/Probe/7_3.jpg; "
        "identification cannot count them."
    )


def test_a_split_whose_pairs_cannot_be_read_is_left_out(
    official: pathlib.Path, prepare: Callable, truncate: Callable
) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (official / "Testing_Set" / PROBE.name).write_bytes(header + bytes(400))
    (official / "Testing_Set" / GALLERY.name).unlink()
    records, report = prepare(Builder, official)
    assert set(records) == {"train", "distractors"}
    assert list(report.skipped["the file of id pairs is missing"]) == [
        "Testing_Set/gallery_match_img_ID_pairs.mat"
    ]
    assert list(report.skipped["the file of id pairs cannot be used"]) == [
        "Testing_Set/probe_img_ID_pairs.mat"
    ]
    assert any("7.3 (HDF5)" in note and "save -v7" in note for note in report.notes)


def test_the_pairs_may_lie_with_the_evaluation_and_all_in_the_archives_folder(
    official: pathlib.Path, prepare: Callable
) -> None:
    scripts = official / "Face_Identification_Evaluation"
    scripts.mkdir()
    for file in (PROBE, GALLERY):
        (official / "Testing_Set" / file.name).rename(scripts / file.name)
    outer = official.parent / "outer"
    outer.mkdir()
    official.rename(outer / "tinyface")
    records, report = prepare(Builder, outer)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 3, "probe": 3, "gallery_match": 3, "distractors": 2,
    }  # fmt: skip
    assert not report.skipped


def test_nothing_readable_is_an_error(tmp_path: pathlib.Path, prepare: Callable) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.txt").touch()
    with pytest.raises(DatasetError, match=r"file of id pairs is missing .*probe_img_ID_pairs"):
        prepare(Builder, tmp_path / "other")


def test_pairs_of_another_form_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / PROBE.name
    names = np.array(["a.jpg", "b.jpg"], object)
    scipy.io.savemat(path, {"probe_set": names, "probe_ids": [[1], [2], [3]]})
    with pytest.raises(DatasetError, match=r"probe_set has 2 rows and probe_ids 3"):
        read_pairs(path, PROBE, Report())
    scipy.io.savemat(path, {"probe_set": names})
    with pytest.raises(DatasetError, match="no variable 'probe_ids'"):
        read_pairs(path, PROBE, Report())
    cells = np.array([np.arange(3.0), "b.jpg", "c.jpg"], object)
    scipy.io.savemat(path, {"probe_set": cells, "probe_ids": [[1.0], [2.5], [3.0]]})
    report = Report()
    assert read_pairs(path, PROBE, report) == [("c.jpg", 3)]
    assert sum(map(len, report.skipped.values())) == 2


@pytest.mark.skipif(not GENUINE.is_dir(), reason="LRJAX_DATA holds no tinyface_protocol")
def test_the_genuine_pairs_are_read_whole() -> None:
    report = Report()
    probe = read_pairs(GENUINE / PROBE.name, PROBE, report)
    gallery = read_pairs(GENUINE / GALLERY.name, GALLERY, report)
    assert not report.notes
    assert not report.skipped
    (probe_names, probe_ids), (names, ids) = (zip(*p, strict=True) for p in (probe, gallery))
    assert (len(probe), len(gallery)) == (3_728, 4_443)
    assert (len(set(probe_ids)), len(set(ids))) == (2_563, 2_569)
    assert set(ids) - set(probe_ids) == {56, 57, 223, 259, 261, 343}
    assert not set(probe_names) & set(names)
    assert list(ids) == sorted(ids)
    assert (names[0], probe_names[-1]) == ("1_106.jpg", "5700_2.jpg")


@pytest.mark.slow
@pytest.mark.skipif(not STANDIN.is_dir(), reason="LRJAX_DATA holds no tinyface_standin")
def test_the_standin_reads_like_the_genuine_set(prepare: Callable) -> None:
    records, report = prepare(Builder, STANDIN)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 2_937, "probe": 1_431, "gallery_match": 1_477, "distractors": 3_550,
    }  # fmt: skip
    assert not report.skipped
    labels = {split: {int(r["label"]) for r in found} for split, found in records.items()}
    assert labels["train"] == labels["probe"] == labels["gallery_match"] == set(range(133))
    assert labels["distractors"] == {-1}
