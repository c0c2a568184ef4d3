"""InsightFace's record files, written here as MXNet writes them, and read without it."""

import io
import os
import pathlib
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from lrjax.tfds_builders.common import DatasetError, Report
from lrjax.tfds_builders.face_records.face_records_dataset_builder import Builder, scan_headers
from lrjax.tfds_builders.face_records.recordio import RecordError, RecordFile, read_index

MAGIC = struct.pack("<I", 0xCED7230A)


class Writer:
    """Writes records one after another, as MXNet's MXIndexedRecordIO does."""

    def __init__(self) -> None:
        self.content = b""
        self.offsets: dict[int, int] = {}

    def add(self, key: int, label: float | Sequence[float], picture: bytes) -> None:
        if isinstance(label, (int, float)):
            head = struct.pack("<IfQQ", 0, label, key, 0)
        else:
            head = struct.pack("<IfQQ", len(label), 0, key, 0)
            head += struct.pack(f"<{len(label)}f", *label)
        self.frame(key, head + picture)

    def frame(self, key: int, payload: bytes) -> None:
        self.offsets[key] = len(self.content)
        cuts = [i for i in range(0, len(payload) - 3, 4) if payload[i : i + 4] == MAGIC]
        starts, stops = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            flag = 0 if not cuts else 1 if i == 0 else 3 if i == len(cuts) else 2
            part = payload[start:stop]
            self.content += MAGIC + struct.pack("<I", flag << 29 | len(part))
            self.content += part + bytes(-len(part) % 4)

    def save(self, folder: pathlib.Path, people: int) -> pathlib.Path:
        folder.mkdir(exist_ok=True)
        (folder / "train.rec").write_bytes(self.content)
        lines = [f"{key}\t{offset}\n" for key, offset in self.offsets.items()]
        (folder / "train.idx").write_text("".join(lines))
        (folder / "property").write_text(f"{people},112,112\n")
        return folder


def picture(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 12), (colour, 255 - colour, 7 * colour % 256)).save(file, "JPEG")
    return file.getvalue()


def zoo() -> Writer:
    """Record 0 with the ranges, five pictures of three people, and the people's own records."""
    writer = Writer()
    writer.add(0, (6.0, 9.0), b"")
    for key, label in enumerate([4.0, 4.0, (10.0, 0.5), 7.0, (10.0,)], 1):
        writer.add(key, label, picture(20 * key))
    for key, span in ((6, (1.0, 3.0)), (7, (3.0, 4.0)), (8, (4.0, 6.0))):
        writer.add(key, span, b"")
    return writer


def listing(records: list[dict]) -> list[tuple[str, str, int]]:
    return [(r["name"], r["identity"].decode(), int(r["label"])) for r in records]


def test_pictures_and_labels_of_the_zoos_layout(tmp_path: pathlib.Path, prepare: Callable) -> None:
    records, report = prepare(Builder, zoo().save(tmp_path / "faces", 3))
    assert set(records) == {"train"}
    assert listing(records["train"]) == [
        ("1", "4", 0),
        ("2", "4", 0),
        ("3", "10", 2),
        ("4", "7", 1),
        ("5", "10", 2),
    ]
    for key, record in enumerate(records["train"], 1):
        with Image.open(io.BytesIO(picture(20 * key))) as image:
            np.testing.assert_array_equal(record["image"], np.asarray(image))
        # Red before green: the colours were written in the order of RGB.
        assert abs(int(record["image"][6, 6, 0]) - 20 * key) < 8
    assert report.counts == {"train": {"listed": 5, "image at hand": 5, "written": 5}}
    assert not report.skipped
    assert report.notes == ["train: 5 pictures of 3 people (property: 3)."]


def test_without_a_header_record_every_key_is_a_picture(
    tmp_path: pathlib.Path, prepare: Callable
) -> None:
    writer = Writer()
    for key, label in ((5, 1.0), (0, 0.0), (2, (1.0, 0.0))):
        writer.add(key, label, picture(key))
    root = writer.save(tmp_path / "faces", 2)
    (root / "property").unlink()
    records, report = prepare(Builder, root)
    assert listing(records["train"]) == [("0", "0", 0), ("2", "1", 1), ("5", "1", 1)]
    assert report.notes == [
        "train: 3 pictures of 2 people; the file property is not there to compare."
    ]


@pytest.mark.parametrize("length", range(4))
def test_padding_and_split_records_are_undone(tmp_path: pathlib.Path, length: int) -> None:
    writer = Writer()
    payloads = [
        b"x" * length,
        MAGIC + b"y" * length,
        b"abcd" + MAGIC + MAGIC + b"efghi" + MAGIC + b"z" * length,
        b"ab" + MAGIC + b"cd" * length,  # not at a multiple of four: not split
    ]
    for key, payload in enumerate(payloads):
        writer.add(key, (1.0, 2.0, 3.0) if key == 2 else 9.0, payload)
    (tmp_path / "train.rec").write_bytes(writer.content)
    with RecordFile(tmp_path / "train.rec") as file:
        for key, payload in enumerate(payloads):
            header, content = file.read(writer.offsets[key])
            assert content == payload
            assert header.labels == ((1.0, 2.0, 3.0) if key == 2 else (9.0,))
            short = file.read_header(writer.offsets[key])
            assert short.labels == header.labels
            assert short.picture == (None if key in (1, 2) else len(payload))


def test_a_split_inside_the_header_is_joined(tmp_path: pathlib.Path) -> None:
    writer = Writer()
    writer.frame(0, struct.pack("<If", 0, 3.0) + MAGIC + bytes(12) + b"picture")
    (tmp_path / "train.rec").write_bytes(writer.content)
    with RecordFile(tmp_path / "train.rec") as file:
        assert file.read_header(0).labels == (3.0,)
        assert file.read(0)[1] == b"picture"


def test_damage_names_the_byte_offset(tmp_path: pathlib.Path) -> None:
    writer = zoo()
    path = tmp_path / "train.rec"
    offset = writer.offsets[2]

    def reason(content: bytes, at: int = offset) -> str:
        path.write_bytes(content)
        with RecordFile(path) as file:
            with pytest.raises(RecordError) as full:
                file.read(at)
            with pytest.raises(RecordError) as head:
                file.read_header(at)
        assert str(full.value) == str(head.value)
        assert f"{path}: the record at byte {at:,} " in str(full.value)
        return full.value.reason

    def with_word(at: int, word: int) -> bytes:
        return writer.content[:at] + struct.pack("<I", word) + writer.content[at + 4 :]

    assert "0x00000001, not 0xced7230a" in reason(with_word(offset, 1))
    assert "cut off" in reason(writer.content[: offset + 100])
    assert "cut off" in reason(writer.content[: offset + 6])
    assert "cut off" in reason(writer.content, 10**9)
    assert "cut off" in reason(writer.content, -8)
    assert "out of order" in reason(with_word(offset + 4, 3 << 29 | 40))
    assert "out of order" in reason(with_word(offset + 4, 7 << 29 | 40))
    assert "too short for its header" in reason(with_word(offset + 4, 20))
    assert "too short for its labels" in reason(with_word(offset + 8, 2**31))


def test_damaged_records_are_left_out_by_offset(tmp_path: pathlib.Path, prepare: Callable) -> None:
    writer = zoo()
    second, third = writer.offsets[2], writer.offsets[3]
    content = bytearray(writer.content)
    content[second : second + 4] = b"\0\0\0\0"
    picture_at = third + 8 + 24 + 8
    content[picture_at : picture_at + 40] = bytes(40)
    writer.content = bytes(content)
    writer.add(4, -1.0, picture(9))  # the index now leads to this one
    root = writer.save(tmp_path / "faces", 3)
    records, report = prepare(Builder, root)
    assert listing(records["train"]) == [("1", "4", 0), ("5", "10", 1)]
    assert {reason: list(names) for reason, names in report.skipped.items()} == {
        "the record is damaged": [
            f"{root}/train.rec: the record at byte {second:,} is damaged: byte {second:,} begins "
            "0x00000000, not 0xced7230a."
        ],
        "the label is not a number from 0": ["key 4"],
        "the image cannot be decoded (truncated or not an image)": ["key 3"],
    }


def test_a_file_cut_off_gives_what_is_there(tmp_path: pathlib.Path, prepare: Callable) -> None:
    writer = zoo()
    cut = writer.offsets[3] + 50
    writer.content = writer.content[:cut]
    records, report = prepare(Builder, writer.save(tmp_path / "faces", 3))
    assert [r["name"] for r in records["train"]] == ["1", "2"]
    assert len(report.skipped["the record is damaged"]) == 3
    assert report.notes[-1] == "train: 2 pictures of 1 people (property: 3)."


def test_unusable_files_are_errors(tmp_path: pathlib.Path, prepare: Callable) -> None:
    writer = zoo()
    root = writer.save(tmp_path / "faces", 3)
    (root / "train.rec").write_bytes(b"\0" * 400)
    with pytest.raises(DatasetError, match=r"train\.rec: the record at byte 0 is damaged"):
        prepare(Builder, root)
    (root / "train.rec").write_bytes(writer.content)
    for text in ("", "\n", "0\t0\n1\n", "0\tx\n", "0\t0\t0\n", "0\t0\n0\t4\n", "ÿ"):
        (root / "train.idx").write_text(text, encoding="latin-1")
        with pytest.raises(DatasetError, match=r"train\.idx"):
            prepare(Builder, root)
    (root / "train.idx").unlink()
    with pytest.raises(DatasetError, match=r"train\.idx is missing"):
        prepare(Builder, root)


def test_all_records_damaged_say_why(tmp_path: pathlib.Path, prepare: Callable) -> None:
    writer = Writer()
    writer.add(0, (3.0, 4.0), b"")
    writer.offsets |= {1: 8, 2: 12}
    with pytest.raises(DatasetError, match=r"record is damaged \(.*the record at byte 8 "):
        prepare(Builder, writer.save(tmp_path / "faces", 1))


def test_an_index_of_another_file_is_noticed(tmp_path: pathlib.Path) -> None:
    writer = zoo()
    writer.save(tmp_path, 3)
    keys, offsets = read_index(tmp_path / "train.idx")
    np.testing.assert_array_equal(keys, np.arange(9))
    report = Report()
    with RecordFile(tmp_path / "train.rec") as file:
        entries = scan_headers(file, keys[:4], offsets[:4], report)
    assert entries["key"].tolist() == [1, 2, 3]
    assert entries["label"].tolist() == [0, 0, 1]
    assert "pictures end before key 6, but the last key is 3" in report.notes[0]


def test_records_are_read_one_at_a_time(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headers' pass reads a few dozen bytes of each record, and no file is read whole."""
    writer = Writer()
    for key in range(20):
        writer.add(key, float(key), bytes(100_000))
    writer.save(tmp_path, 20)
    keys, offsets = read_index(tmp_path / "train.idx")
    spent = []

    def pread(file: int, count: int, offset: int) -> bytes:
        spent.append(count)
        return original(file, count, offset)

    original = os.pread
    monkeypatch.setattr(os, "pread", pread)
    with RecordFile(tmp_path / "train.rec") as file:
        assert len(scan_headers(file, keys, offsets, Report())) == 20
        assert sum(spent) < 20 * 64
        file.read(int(offsets[7]))
    assert max(spent) == 100_024


@pytest.mark.parametrize("stop", [np.nan, np.inf, -np.inf, 1e30])
def test_a_count_of_pictures_that_is_none_is_damage(stop: float, tmp_path: pathlib.Path) -> None:
    writer = zoo()
    head = struct.pack("<IfQQ2f", 2, 0, 0, 0, stop, 9)
    writer.content = writer.content[:8] + head + writer.content[8 + len(head) :]
    root = writer.save(tmp_path / "faces", 3)
    keys, offsets = read_index(root / "train.idx")
    with (
        RecordFile(root / "train.rec") as file,
        pytest.raises(RecordError, match=r"train\.rec: the record at byte 0 does not count"),
    ):
        scan_headers(file, keys, offsets, Report())
