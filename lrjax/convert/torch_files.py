"""State dicts: named arrays from the files that PyTorch and safetensors write, also in wheels.

Nothing in a file is run; see `lrjax.convert.torch_pickles`. The layouts are those that `torch.save`
writes: a zip archive (since PyTorch 1.6), and before that pickles in a row.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lrjax.convert.torch_pickles import (
    DAMAGED,
    FAILURES,
    Order,
    Refused,
    read_pickle,
    shortened,
)
from lrjax.errors import InputError
from lrjax.files import read_bytes

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

# Under which a state dict lies where a file holds more, such as an optimizer's state.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params")

# Put before every name by torch.nn.DataParallel.
PARALLEL = "module."

LARGEST_FILE = 8 << 30
"""Bytes of the largest file of `torch.save` that is read."""

LARGEST_MEMBER = 64 << 20
"""Bytes of the largest file that is unpacked from a wheel."""


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a state dict by name: a .safetensors file, or one of `torch.save`.

    bfloat16 becomes float32, other kinds stay. Arrays may share memory, and cannot be written.
    What surrounds a state dict, and a "module." before every name, is taken off.

    Raises:
      InputError: the file is absent or damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}; name a .pt, .pth or .safetensors file.")
    try:
        if path.suffix == ".safetensors":
            state = _read_safetensors(path)
        else:
            data = read_bytes(path, "weights file", "get it again", LARGEST_FILE)
            state = _state(_read_torch(data))
    except Refused as error:
        raise InputError(f"The file {path} {error}.") from error
    while all(name.startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): value for name, value in state.items()}
    return state


def read_value(path: Path) -> Any:
    """Read what `torch.save` wrote: containers of texts, numbers and arrays.

    Raises:
      InputError: the file cannot be read, is damaged, or holds anything else.
    """
    try:
        return _read_torch(path.read_bytes())
    except Refused as error:
        raise InputError(f"The file {path} {error}.") from error


def read_wheel(path: str | Path, members: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read the state dicts that a Python package carries, out of its wheel, a zip archive.

    Args:
      path: of the wheel; nothing in it is run or unpacked.
      members: name of a network -> name of its file in the wheel, as `torch.save` writes it.

    Returns:
      arrays by name, the network's name and a "." before each.

    Raises:
      InputError: the file is absent, damaged or another one, or a member is larger than
        `LARGEST_MEMBER`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no wheel {path}; get it with `pip download --no-deps`.")
    state: dict[str, np.ndarray] = {}
    for network, member in members.items():
        try:
            tensors = _state(_read_torch(_member(path, member)))
        except Refused as error:
            raise InputError(f"The file {member} in {path} {error}.") from error
        state |= {f"{network}.{name}": value for name, value in tensors.items()}
    return state


def _member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            # Not what the archive says of its size, which may be a lie.
            data = member.read(LARGEST_MEMBER + 1)
    except KeyError as error:
        raise Refused("is not there; name the wheel that the network's help names") from error
    except (*FAILURES, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise Refused("cannot be unpacked, as the archive is damaged; get it again") from error
    if len(data) > LARGEST_MEMBER:
        raise Refused(f"has more than {LARGEST_MEMBER >> 20} MB; get the wheel again")
    return data


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        reason = shortened(str(error))
        raise Refused(f"cannot be read as safetensors ({reason}); get it again") from error
    if not state:
        raise Refused("holds no tensors; give the file of a network")
    return state


def _state(tree: Any) -> dict[str, np.ndarray]:
    """The state dict in what a file held."""
    for _ in range(len(WRAPPERS)):  # not for ever: a dictionary may contain itself
        inner = [tree[name] for name in WRAPPERS if isinstance(tree, dict) and name in tree]
        tree = next((value for value in inner if isinstance(value, dict)), tree)
    items = tree.items() if isinstance(tree, dict) else ()
    tensors = {k: v for k, v in items if isinstance(k, str) and isinstance(v, np.ndarray)}
    if not tensors:
        raise Refused("holds no state dict; save the network's state_dict() and give that")
    return tensors


def _read_torch(data: bytes) -> Any:
    """What `torch.save` wrote, with the storages filled."""
    return _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_legacy(data)


class _Archive:
    """The parts of a zip archive, by their names without its one folder."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except FAILURES as error:
            raise Refused("is a damaged zip archive; get it again") from error
        entries = self.archive.infolist()
        self.entries = {entry.filename.partition("/")[2]: entry for entry in entries}

    def part(self, name: str, size: int | None = None) -> bytes:
        """Return a part, which has `size` bytes if that is given.

        Raises:
          Refused: it is absent, damaged, compressed or of another size.
        """
        entry, label = self.entries.get(name), shortened(name)
        if entry is None:
            raise Refused(f"lacks the part '{label}' of what torch.save writes; get it again")
        # torch.save does not compress; what is compressed might expand without end.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > self.size:
            raise Refused(f"has a compressed part '{label}', which torch.save does not write")
        if size not in (None, entry.file_size):
            raise Refused(DAMAGED)
        try:
            return self.archive.read(entry)
        except FAILURES as error:
            raise Refused(f"is damaged in its part '{label}'; get it again") from error


def _read_zip(data: bytes) -> Any:
    """An archive of one folder: `data.pkl`, and a file per storage in `data/`."""
    archive = _Archive(data)
    # Parts of an archive may overlap, so what they hold together is bounded too.
    tree, storages = read_pickle(io.BytesIO(archive.part("data.pkl")), len(data))
    written = archive.part("byteorder") if "byteorder" in archive.entries else b"little"
    order: Order = ">" if written.strip() == b"big" else "<"
    for key, storage in storages.items():
        storage.fill(archive.part(f"data/{key}", storage.nbytes), order)
    return tree


def _read_legacy(data: bytes) -> Any:
    """Pickles in a row (magic, version, system, value, storage keys), then the storages.

    Each storage is a count and then as many numbers.
    """
    file = io.BytesIO(data)
    try:
        magic, _ = read_pickle(file)
    except Refused:
        magic = None
    if not isinstance(magic, int) or magic != MAGIC:
        raise Refused("was not written by torch.save; give a .pt, .pth or .safetensors file")
    version, _ = read_pickle(file)
    if not isinstance(version, int) or version != PROTOCOL:
        raise Refused("is of an unknown version of PyTorch; save it again with a recent one")
    system, _ = read_pickle(file)
    big = isinstance(system, dict) and system.get("little_endian") is False
    order: Order = ">" if big else "<"
    tree, storages = read_pickle(file, len(data))
    keys, _ = read_pickle(file)
    known = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not known or sorted(keys) != sorted(storages):
        raise Refused("lists other numbers than its tensors need; get it again")
    for key in keys:
        storage = storages[key]
        if file.read(8) != struct.pack(f"{order}q", storage.values.size):
            raise Refused(DAMAGED)
        storage.fill(file.read(storage.nbytes), order)
    return tree
