"""Files as torch.save makes them, put together without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from lrjax.convert.torch_files import MAGIC, PROTOCOL


class Storage:
    """Pickled as a reference to numbers."""

    def __init__(self, key: str, values: np.ndarray, kind: str, claimed: int | None = None) -> None:
        self.key, self.values, self.kind = key, values, kind
        self.size = len(values) if claimed is None else claimed


class Named:
    """Pickled as the name of something that need not exist."""

    def __init__(self, path: str) -> None:
        self.path = path


class Call:
    """Pickled as a call of something."""

    def __init__(self, path: str, *arguments: Any) -> None:
        self.path, self.arguments = path, arguments


class Pickler(pickle._Pickler):  # the one in Python, which can be told to write any name
    """Pickles stand-ins of PyTorch's objects."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Storage):
            return ("storage", Named(f"torch.{value.kind}"), value.key, "cuda:0", value.size)
        return None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Named):
            module, _, name = value.path.rpartition(".")
            self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        elif isinstance(value, Call):
            self.save(Named(value.path))
            self.save(value.arguments)
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


def pickled(value: Any, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def tensor(
    storage: Storage, shape: tuple, strides: tuple, offset: Any = 0, how: str = "_rebuild_tensor_v2"
) -> Call:
    rest = (False, OrderedDict()) if how.endswith("v2") else ()
    return Call(f"torch._utils.{how}", storage, offset, shape, strides, *rest)


def zipped(path: Path, value: Any, storages: list[Storage], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("anything/data.pkl", pickled(value))
        archive.writestr("anything/byteorder", "little")
        for storage in storages:
            archive.writestr(f"anything/data/{storage.key}", storage.values.tobytes())
    return path


def legacy(path: Path, value: Any, storages: list[Storage]) -> Path:
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickled(part) for part in (MAGIC, PROTOCOL, system, value)]
    parts.append(pickled([storage.key for storage in storages]))
    for storage in storages:
        parts += [struct.pack("<q", len(storage.values)), storage.values.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def example() -> tuple[OrderedDict, list[Storage], dict[str, np.ndarray]]:
    """A state dict with a view, a transposed view, a half and a bfloat16, and what they are."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=12).astype(np.float32)
    half = rng.normal(size=4).astype(np.float16)
    brain = (np.float32([1.5, -2.0, 0.15625]).view(np.uint32) >> 16).astype(np.uint16)
    storages = [
        Storage("7", numbers, "FloatStorage"),
        Storage("8", half, "HalfStorage"),
        Storage("9", brain, "BFloat16Storage"),
        Storage("10", np.int64([5]), "LongStorage"),
    ]
    plain = tensor(storages[0], (2, 3), (3, 1))
    state = OrderedDict(
        plain=Call("torch._utils._rebuild_parameter", plain, True, OrderedDict()),
        turned=tensor(storages[0], (3, 2), (1, 3), offset=6),
        old=tensor(storages[1], (4,), (1,), how="_rebuild_tensor"),
        brain=tensor(storages[2], (3,), (1,)),
        count=tensor(storages[3], (), ()),
        empty=tensor(storages[0], (0, 4), (4, 1)),
    )
    expected = {
        "plain": numbers[:6].reshape(2, 3),
        "turned": numbers[6:].reshape(2, 3).T,
        "old": half,
        "brain": np.float32([1.5, -2.0, 0.15625]),
        "count": np.int64(5),
        "empty": np.zeros((0, 4), np.float32),
    }
    return state, storages, expected
