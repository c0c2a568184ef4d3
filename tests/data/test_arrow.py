"""TinyFace's aligned pictures in Arrow files, written as Hugging Face's datasets writes them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from lrjax.data.arrow import is_arrow, load_arrow
from lrjax.data.identities import UNKNOWN
from lrjax.errors import InputError

# Name in its folder -> grey level; in the order of the table, whose index is another one.
ROWS = {
    "Gallery_Distractor/3_101_face10.jpg": 10,
    "Probe/7_3.jpg": 73,
    "Gallery_Match/162_4.jpg": 164,
    "Probe/162_1.jpg": 161,
    "Gallery_Match/7_1.jpg": 71,
}


def encoded(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def write(
    folder: Path, rows: list[dict[str, Any]], name: str, stream: bool = True, batch: int = 2
) -> None:
    """A file of a table, in batches of some rows: a stream, or Arrow's own kind of file."""
    folder.mkdir(parents=True, exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("index", pa.int64()), ("path", pa.string())])
    kind = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(folder / name), "wb") as sink, kind(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema), batch)


def rows(root: str = "/data/aligned_pad_0.1/", flat: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "image": {"bytes": encoded(level), "path": None},
            "index": (place + 2) % len(ROWS),
            "path": root + (path.rpartition("/")[2] if flat else path),
        }
        for place, (path, level) in enumerate(ROWS.items())
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that `state.json` lists, and a third that it does not."""
    folder, table = tmp_path / "tinyface_aligned_pad_0.1", rows()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    write(folder, table[:3], names[0])
    write(folder, table[3:], names[1])
    write(folder, table, "cache-1234.arrow")
    listed = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(listed))
    return folder


def levels(images: Any) -> list[int]:
    return [int(np.asarray(Image.open(io.BytesIO(content)))[0, 0, 0]) for content in images]


def test_splits_people_and_order(folder: Path) -> None:
    """Probes come by index: 7_3 has the index 3, and 162_1 has 0."""
    assert is_arrow(folder)
    assert not is_arrow(folder.parent)
    found = load_arrow(folder)
    assert {split: levels(part.images) for split, part in found.items()} == {
        "probe": [161, 73],
        "gallery_match": [71, 164],
        "distractors": [10],
    }
    assert found["probe"].label.tolist() == [1, 0]
    assert found["gallery_match"].label.tolist() == [0, 1]
    assert found["distractors"].label.tolist() == [UNKNOWN]
    assert found["probe"].names[1] == "/data/aligned_pad_0.1/Probe/7_3.jpg"
    assert len({part.fingerprint for part in found.values()}) == 3
    assert load_arrow(folder)["probe"].fingerprint == found["probe"].fingerprint


@pytest.mark.parametrize("shards", [1, 3, 6])
@pytest.mark.parametrize("stream", [True, False])
def test_any_number_of_files_of_either_kind(
    folder: Path, tmp_path: Path, shards: int, stream: bool
) -> None:
    """Of five rows, so that one of six files is empty: the splits are those of two streams."""
    table, other = rows(), tmp_path / "other"
    names = [f"data-{k:05d}-of-{shards:05d}.arrow" for k in range(shards)]
    bounds = np.linspace(0, len(table), shards + 1).astype(int)
    for name, first, after in zip(names, bounds, bounds[1:], strict=False):
        write(other, table[first:after], name, stream)
    listed = {"_data_files": [{"filename": name} for name in names]}
    (other / "state.json").write_text(json.dumps(listed))
    found, expected = load_arrow(other), load_arrow(folder)
    assert list(found) == list(expected)
    for split, part in found.items():
        assert part.fingerprint == expected[split].fingerprint
        assert list(part.images) == list(expected[split].images)


def test_without_folders_in_paths_the_lists_beside_them_count(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    write(tmp_path, rows(flat=True), "data-00000-of-00001.arrow")
    with pytest.raises(InputError, match=r"3_101_face10\.jpg' is a probe, in the gallery or a"):
        load_arrow(tmp_path)
    lists: dict[str, list[str]] = {"image_paths": list(ROWS)}
    for name, part in (("probe", "Probe"), ("gallery", "Match"), ("distractor", "Distractor")):
        lists[f"{name}_paths"] = [path for path in ROWS if part in path.partition("/")[0]]
    torch.save(lists, tmp_path / "metadata.pt")
    found = load_arrow(tmp_path)
    assert [len(part) for part in found.values()] == [2, 2, 1]


def test_damage_within_a_file_is_found(tmp_path: Path) -> None:
    """Where reading what is mapped would end the program, or give the bytes of something else."""
    write(tmp_path, rows(), "a.arrow", batch=len(ROWS))
    file = tmp_path / "a.arrow"
    whole = file.read_bytes()
    ends = np.cumsum([0, *(len(row["image"]["bytes"]) for row in rows())], dtype=np.int32)
    paths = "".join(row["path"] for row in rows()).encode()
    damaged = {
        # The last picture ends eight bytes later, still within the file.
        ends.tobytes(): (ends + 8 * (ends == ends[-1])).astype(np.int32).tobytes(),
        paths: b"\xff" + paths[1:],
    }
    for good, bad in damaged.items():
        assert whole.count(good) == 1
        file.write_bytes(whole.replace(good, bad))
        with pytest.raises(InputError, match=r"a\.arrow is no Arrow file.*get the folder again"):
            load_arrow(tmp_path)


def test_pictures_are_bytes(tmp_path: Path) -> None:
    columns = {"image": [{"bytes": 1}], "index": [0], "path": ["Probe/1_1.jpg"]}
    table = pa.table(columns)
    file = pa.OSFile(str(tmp_path / "a.arrow"), "wb")
    with file as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="not encoded images"):
        load_arrow(tmp_path)


def test_an_index_counts_once(folder: Path) -> None:
    twice = rows()
    twice[3]["index"] = twice[1]["index"]  # two probes
    write(folder, twice[3:], "data-00001-of-00002.arrow")
    assert levels(load_arrow(folder)["probe"].images) == [73]


def test_what_is_wrong_is_named(folder: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message) as caught:
            load_arrow(folder)
        assert "\n" not in str(caught.value)

    second = folder / "data-00001-of-00002.arrow"
    strange = rows()[3:]
    strange[0]["path"] = "aligned/Probe/nobody.jpg"
    write(folder, strange, second.name)
    refused("nobody.jpg' in .* does not begin with the number of a person")
    second.write_bytes(b"no arrow")
    refused("00001-of-00002.arrow is no Arrow file")
    second.write_bytes(b"ARROW1\0\0 cut short")
    refused("00001-of-00002.arrow is no Arrow file")
    second.unlink()
    refused("00001-of-00002.arrow is no Arrow file")
    empty = rows()[3:]
    empty[0]["image"] = {"bytes": None, "path": "elsewhere.jpg"}
    write(folder, empty, second.name)
    refused("Row 3 of the table in .* holds no picture")
    (folder / "state.json").write_text("{}")
    refused("state.json lists no files")
    (folder / "state.json").unlink()
    for path in folder.glob("*.arrow"):
        path.unlink()
    with pa.OSFile(str(second), "wb") as sink:
        table = pa.table({"pixels": [1, 2], "path": ["a", "b"]})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    refused("hold the columns pixels, path, and not")
