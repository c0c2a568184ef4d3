"""Arrays that are made once: kept under a key that says all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lrjax.files import write_atomically

Arrays = dict[str, np.ndarray]
_CONTENTS = "contents.json"


def default_folder() -> Path:
    """`lrjax` in $XDG_CACHE_HOME, which is ~/.cache unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lrjax"


def key_of(*parts: Any) -> str:
    """One key for values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cached(
    folder: Path, key: str, count: int, parts: Callable[[], Iterable[Arrays]]
) -> tuple[Arrays, bool]:
    """The arrays of a key: those kept in `folder`, or those that `parts` makes, kept from now on.

    They are read from the disk as they are used, so they may be larger than the memory. What was
    kept is believed if its SHA-256 is that of the day it was written; otherwise it is made again.

    Args:
      folder: of all keys; made if need be.
      key: names what the arrays depend on; a name that a folder can have.
      count: rows of each array.
      parts: called if the arrays must be made; yields them in pieces, from the first row to the
        last, always under the same names. Rows keep the type and shape of the first piece.

    Returns:
      the arrays, read-only, and whether they had to be made.

    Raises:
      ValueError: `parts` yields other rows than it promised.
    """
    entry = Path(folder) / key
    kept = _read(entry, key)
    if kept is not None:
        return kept, False
    _make(entry, key, count, parts())
    made = _read(entry, key)
    if made is None:
        raise OSError(f"what was just written to {entry} cannot be read back")
    return made, True


def _read(entry: Path, key: str) -> Arrays | None:
    """What is kept, if all of it is as it was written."""
    try:
        contents = json.loads((entry / _CONTENTS).read_bytes())
        if contents["key"] != key:
            return None
        arrays = {}
        for name, digest in contents["arrays"].items():
            with (entry / f"{name}.npy").open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return None
            arrays[name] = np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays


def _make(entry: Path, key: str, count: int, parts: Iterable[Arrays]) -> None:
    """Write the arrays beside `entry`, and put them in its place when they are whole."""
    partial = entry.with_name(f".{key}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    writers: dict[str, _Writer] = {}
    try:
        for part in parts:
            if not writers:
                writers = {name: _Writer(partial, name, rows, count) for name, rows in part.items()}
            if part.keys() != writers.keys():
                raise ValueError(f"the pieces have {sorted(part)} and {sorted(writers)}")
            for name, rows in part.items():
                writers[name].append(rows)
        digests = {name: writer.close() for name, writer in writers.items()}
        contents = json.dumps({"key": key, "arrays": digests}).encode()
        write_atomically(partial / _CONTENTS, contents)
        shutil.rmtree(entry, ignore_errors=True)
        try:
            os.rename(partial, entry)
        except OSError:
            # Another process was as fast. Its arrays are the same, or reading them will tell.
            if not entry.is_dir():
                raise
    finally:
        for writer in writers.values():
            writer.file.close()
        shutil.rmtree(partial, ignore_errors=True)


class _Writer:
    """One .npy file, written piece by piece and hashed on the way."""

    def __init__(self, folder: Path, name: str, first: np.ndarray, count: int) -> None:
        self.name, self.row, self.dtype = name, first.shape[1:], first.dtype
        self.count, self.written = count, 0
        self.digest = hashlib.sha256()
        self.file: BinaryIO = (folder / f"{name}.npy").open("w+b")
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (count, *self.row),
        }
        np.lib.format.write_array_header_2_0(self.file, header)
        self.file.seek(0)
        self.digest.update(self.file.read())

    def append(self, rows: np.ndarray) -> None:
        if rows.shape[1:] != self.row or rows.dtype != self.dtype:
            raise ValueError(
                f"rows of {self.name} are {rows.dtype} {rows.shape[1:]} after {self.dtype} "
                f"{self.row}"
            )
        data = np.ascontiguousarray(rows).tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.written += len(rows)

    def close(self) -> str:
        """The file's SHA-256."""
        if self.written != self.count:
            raise ValueError(f"{self.written} rows of {self.name} were made, not {self.count}")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return self.digest.hexdigest()
