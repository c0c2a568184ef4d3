"""State dicts: named arrays from the files that PyTorch and safetensors write.

Nothing in a file is run; see `lrjax.training.pickles`. The layouts are those that `torch.save`
writes: a zip archive (since PyTorch 1.6), and before that pickles in a row.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lrjax.errors import InputError
from lrjax.training.pickles import Refused, Storage, Tensor, interpret

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

# Under which a state dict lies where a file holds more, such as an optimizer's state.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params")

# Put before every name by torch.nn.DataParallel.
PARALLEL = "module."


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name: a .safetensors file, or one that `torch.save` wrote.

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
            state = _safetensors(path)
        else:
            state = {name: tensor.array() for name, tensor in _state(_torch(path)).items()}
    except Refused as error:
        raise InputError(f"The file {path} {error}.") from error
    while all(name.startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): value for name, value in state.items()}
    return state


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        raise Refused(f"cannot be read as safetensors ({error}); get it again") from error
    if not state:
        raise Refused("holds no tensors; give the file of a network")
    return state


def _state(tree: Any) -> dict[str, Tensor]:
    """The state dict in what a file held."""
    for _ in range(len(WRAPPERS)):  # not for ever: a dictionary may contain itself
        inner = [tree[name] for name in WRAPPERS if isinstance(tree, dict) and name in tree]
        tree = next((value for value in inner if isinstance(value, dict)), tree)
    tensors = {}
    if isinstance(tree, dict):
        tensors = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise Refused("holds no state dict; save the network's state_dict() and give that")
    return tensors


def _torch(path: Path) -> Any:
    """What `torch.save` wrote, with the storages filled."""
    data = path.read_bytes()
    return _zip(data) if data[:4] == b"PK\x03\x04" else _legacy(data)


def _zip(data: bytes) -> Any:
    """An archive of one folder: `data.pkl`, and a file per storage in `data/`."""
    part = _parts(data)
    tree, storages = interpret(io.BytesIO(part("data.pkl")))
    order = part("byteorder", b"little").strip()
    # Parts of an archive may overlap; what they hold together is bounded here.
    if sum(storage.bytes for storage in storages.values()) > len(data):
        raise Refused("ends early or is damaged; get it again")
    for key, storage in storages.items():
        storage.fill(part(f"data/{key}"), ">" if order == b"big" else "<")
    return tree


def _parts(data: bytes) -> Callable[..., bytes]:
    """A function from a name without its folder, and a default, to what the archive has there."""
    failures = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, struct.error)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    except (*failures, OverflowError) as error:
        raise Refused(f"is a damaged zip archive ({error}); get it again") from error

    def part(name: str, default: bytes | None = None) -> bytes:
        entry = entries.get(name)
        if entry is None:
            if default is None:
                raise Refused(f"lacks the part {name!r} of what torch.save writes; get it again")
            return default
        # torch.save does not compress; what is compressed might expand without end.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
            raise Refused(f"has a compressed part {name!r}, which torch.save does not write")
        try:
            return archive.read(entry)
        except failures as error:
            raise Refused(f"is damaged in its part {name!r} ({error}); get it again") from error

    return part


def _legacy(data: bytes) -> Any:
    """Pickles in a row (magic, version, system, value, storage keys), then the storages."""
    file = io.BytesIO(data)
    try:
        genuine = interpret(file)[0] == MAGIC
    except Refused:
        genuine = False
    if not genuine:
        raise Refused("was not written by torch.save; give a .pt, .pth or .safetensors file")
    if interpret(file)[0] != PROTOCOL:
        raise Refused("is of an unknown version of PyTorch; save it again with a recent one")
    system, _ = interpret(file)
    order = "<" if isinstance(system, dict) and system.get("little_endian", True) else ">"
    tree, storages = interpret(file)
    keys, _ = interpret(file)
    known = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not known or sorted(keys) != sorted(storages):
        raise Refused("lists other numbers than its tensors need; get it again")
    for key in keys:
        _fill(storages[key], file, order)
    return tree


def _fill(storage: Storage, file: io.BytesIO, order: str) -> None:
    """A count, then as many numbers."""
    count = file.read(8)
    if len(count) < 8 or struct.unpack(f"{order}q", count)[0] != storage.size:
        raise Refused("ends early or is damaged; get it again")
    storage.fill(file.read(storage.bytes), order)
