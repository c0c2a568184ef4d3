"""Arrays that are made once: kept under a key that says all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from lrjax.files import apart, naming, neighbour, parse_json, write_atomically

Arrays = dict[str, np.ndarray]
_CONTENTS = "contents.json"


def default_folder() -> Path:
    """Gives `lrjax` in $XDG_CACHE_HOME, which is ~/.cache unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lrjax"


def key_of(*parts: Any) -> str:
    """Makes one key for values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cached(
    folder: Path, key: str, count: int, parts: Callable[[], Iterable[Arrays]]
) -> tuple[Arrays, bool]:
    """Gives the arrays of a key: those kept in `folder`, or those that `parts` makes, then kept.

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
      OSError: there is no room for them, its `filename` being that of the key's folder; or what
        was just written cannot be read back.
    """
    entry = Path(folder) / key
    kept = _read(entry, key)
    if kept is not None:
        return kept, False
    _keep(entry, key, count, parts())
    made = _read(entry, key)
    if made is None:
        raise OSError(f"what was just written to {entry} cannot be read back")
    return made, True


def _read(entry: Path, key: str) -> Arrays | None:
    """What is kept, if all of it is as it was written."""
    try:
        contents = parse_json((entry / _CONTENTS).read_bytes())
        if contents["key"] != key:
            return None
        arrays = {}
        for name, written in contents["arrays"].items():
            if _sha256(entry / f"{name}.npy") != written:
                return None
            arrays[name] = np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays


def _keep(entry: Path, key: str, count: int, parts: Iterable[Arrays]) -> None:
    """Writes the arrays beside `entry`, and puts them in its place when they are whole."""
    partial = neighbour(entry)
    with naming(entry):
        partial.mkdir(parents=True)
        try:
            names = _write(partial, count, apart(parts))
            digests = {name: _sha256(partial / f"{name}.npy") for name in names}
            contents = json.dumps({"key": key, "arrays": digests}).encode()
            write_atomically(partial / _CONTENTS, contents)
            try:
                os.rename(partial, entry)
            except OSError:
                # What another process has put there meanwhile, it may be reading: only what is
                # damaged goes.
                if _read(entry, key) is None:
                    shutil.rmtree(entry, ignore_errors=True)
                    os.rename(partial, entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, count: int, parts: Iterable[Arrays]) -> list[str]:
    """The names of the arrays that `parts` yields, each written to a file as its pieces come.

    A full disk is an error of the write that has no room; through a memory map it would end the
    program.
    """
    kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    files: dict[str, BinaryIO] = {}
    done = 0
    with ExitStack() as stack:
        for part in parts:
            if not kinds:
                kinds = {name: (rows.dtype, rows.shape[1:]) for name, rows in part.items()}
                for name, (dtype, shape) in kinds.items():
                    files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
                    header = {"descr": dtype_to_descr(dtype), "fortran_order": False}
                    write_array_header_1_0(files[name], header | {"shape": (count, *shape)})
            if part.keys() != kinds.keys():
                raise ValueError(f"the pieces have {sorted(part)} and {sorted(kinds)}")
            new = len(next(iter(part.values())))
            for name, rows in part.items():
                dtype, shape = kinds[name]
                if rows.dtype != dtype or rows.shape != (new, *shape) or done + new > count:
                    raise ValueError(
                        f"rows of {name} are {rows.dtype} {rows.shape}, not {dtype} "
                        f"{(min(new, count - done), *shape)}"
                    )
                files[name].write(np.ascontiguousarray(rows).data)
            done += new
        if done != count:
            raise ValueError(f"{done} rows of {sorted(kinds)} were made, not {count}")
    return list(kinds)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
