"""TinyFace as CVLface distributes it: aligned pictures in Arrow files, as Hugging Face saves them.

A folder such as `tinyface_aligned_pad_0.1` holds a table with the columns `image` (encoded),
`index` and `path`, in files that `state.json` lists. A picture's part in the test is the folder in
its path, or where there is none the list in `metadata.pt` that names it; who it shows is the number
before the first "_" of its name, which is one-to-one with the official id pairs.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from grain import MapDataset

from lrjax.convert.torch_files import read_value
from lrjax.data.identities import UNKNOWN, Identities
from lrjax.data.records import digest
from lrjax.errors import InputError
from lrjax.files import read_json

SPLITS = {
    "Probe": "probe",
    "Gallery_Match": "gallery_match",
    "Gallery_Distractor": "distractors",
}
"""Folder in a path -> split."""

_LISTS = {"probe_paths": "probe", "gallery_paths": "gallery_match"}
_LISTS |= {"distractor_paths": "distractors"}
_MAGIC = b"ARROW1"
"""How Arrow's own kind of file begins, whose parts can be found from its end; a stream does not."""
_REMEDY = "get the folder again"


def is_arrow(folder: Path) -> bool:
    """Tell whether a folder holds a table of Arrow files."""
    return any(folder.glob("*.arrow"))


def load_arrow(folder: Path) -> dict[str, Identities]:
    """Read the splits of a folder of Arrow files; the pictures themselves stay on the disk.

    Returns:
      "probe", "gallery_match" and "distractors", those that there are: pictures in the order of
      their index, each index once. Probes and gallery share their labels.

    Raises:
      InputError: the files are damaged or hold another table, or a picture's split or person is
        not said.
    """
    table = _read_table(folder)
    paths = [str(path) for path in table["path"].to_pylist()]
    # As CVLface does: by index, and of equal ones the first.
    _, rows = np.unique(table["index"].to_numpy(), return_index=True)
    splits = _splits(folder, paths)
    people = sorted({_person(folder, paths[row]) for row in rows if splits[row] != "distractors"})
    labels = {person: label for label, person in enumerate(people)}
    found = {}
    for split in SPLITS.values():
        chosen = np.array([row for row in rows if splits[row] == split], np.int64)
        if not len(chosen):
            continue
        names = tuple(paths[row] for row in chosen)
        nobody = split == "distractors"
        who = [UNKNOWN if nobody else labels[_person(folder, name)] for name in names]
        label = np.array(who, np.int32)
        images = MapDataset.source(chosen).map(partial(_picture, table["image"], folder))
        checks = np.array([(len(image), zlib.crc32(image)) for image in images], np.int64)
        parts = ["\n".join(names).encode(), label.tobytes(), checks.tobytes()]
        found[split] = Identities(images, label, names, digest(parts))
    return found


def _read_table(folder: Path) -> Any:
    """The table, whose memory are the files themselves."""
    import pyarrow as pa

    tables = []
    for path in _files(folder):
        try:
            table = _read_file(pa.memory_map(str(path)))
            # What is mapped is believed: an offset beyond the file would end the program.
            table.validate(full=True)
            tables.append(table)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{path} is no Arrow file that can be read; {_REMEDY}.") from error
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise InputError(f"The Arrow files in {folder} differ in kind; {_REMEDY}.") from error
    missing = {"image", "index", "path"} - set(table.column_names)
    whole = not missing and pa.types.is_integer(table["index"].type)
    image = table["image"].type if "image" in table.column_names else pa.null()
    if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    encoded = pa.types.is_binary(image)
    if not whole or not encoded or any(table[name].null_count for name in ("index", "path")):
        raise InputError(
            f"The Arrow files in {folder} hold the columns {', '.join(table.column_names)}, and "
            "not encoded images, an index and paths in image, index and path; name a folder such "
            "as CVLface's tinyface_aligned_pad_0.1."
        )
    return table


def _read_file(memory: Any) -> Any:
    """The table of one file: a stream, as Hugging Face writes it, or Arrow's own kind of file."""
    import pyarrow as pa

    with memory as file:
        whole = file.read(len(_MAGIC)) == _MAGIC
        file.seek(0)
        with pa.ipc.open_file(file) if whole else pa.ipc.open_stream(file) as reader:
            return reader.read_all()


def _files(folder: Path) -> list[Path]:
    """The files of the table; others in the folder may be left from work on it."""
    state = folder / "state.json"
    if not state.is_file():
        return sorted(folder.glob("*.arrow"))
    try:
        names = [Path(entry["filename"]).name for entry in read_json(state, _REMEDY)["_data_files"]]
    except (TypeError, KeyError) as error:
        raise InputError(f"{state} lists no files of a table; {_REMEDY}.") from error
    return [folder / name for name in names]


def _splits(folder: Path, paths: list[str]) -> list[str]:
    """The split of each picture."""
    found = [SPLITS.get(PurePosixPath(path.replace("\\", "/")).parent.name, "") for path in paths]
    if all(found):
        return found
    listed: dict[str, str] = {}
    metadata = folder / "metadata.pt"
    about = read_value(metadata) if metadata.is_file() else {}
    for name, split in _LISTS.items():
        entries = about.get(name, ()) if isinstance(about, dict) else ()
        if isinstance(entries, list | tuple):
            listed |= {_stem(str(entry)): split for entry in entries}
    for row, path in enumerate(paths):
        found[row] = found[row] or listed.get(_stem(path), "")
        if not found[row]:
            raise InputError(
                f"Neither its path nor {metadata} says whether {path!r} is a probe, in the gallery "
                f"or a distractor; {_REMEDY}."
            )
    return found


def _stem(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).stem


def _person(folder: Path, path: str) -> int:
    number, _, rest = _stem(path).partition("_")
    if not rest or not number.isdecimal():
        raise InputError(
            f"The picture {path!r} in {folder} does not begin with the number of a person and '_'; "
            f"{_REMEDY}."
        )
    return int(number)


def _picture(column: Any, folder: Path, row: np.integer) -> bytes:
    value = column[int(row)].as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if not content:
        raise InputError(f"Row {int(row)} of the table in {folder} holds no picture; {_REMEDY}.")
    return content
