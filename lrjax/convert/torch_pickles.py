"""Pickles of PyTorch's tensors, read as data: nothing in them is ever called or looked up.

A pickle is a program that may call anything. Of its instructions only those that make containers,
texts and numbers are left here; the names that it gives stay texts, calls go to the few functions
below, and attributes are ignored. Time and memory are bounded.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np

Order = Literal["<", ">"]

# Classes of `torch`, and what they hold. bfloat16 is the upper half of a float32.
BFLOAT16 = "BFloat16Storage"
STORAGES: Mapping[str, str] = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    BFLOAT16: "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

# Far above any network: 20,000 tensors take a million reads.
MOST_READS = 2_000_000
MOST_ELEMENTS = 2**40
LONGEST_NAME = 1000

REMEDY = (
    "reading it could run code, so save the network's state_dict() from PyTorch with torch.save, "
    "or as .safetensors, and give that"
)
DAMAGED = "ends early or is damaged; get it again"

# What Python's readers of pickles and of zip archives raise where a file is damaged.
FAILURES = (
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, EOFError, OSError),
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
)


class Refused(Exception):
    """Says what else than tensors a file holds; the message completes "The file X ..."."""


def shortened(text: str) -> str:
    """Make a text of a file fit for a message: printable, one line, 80 characters at most."""
    escaped = text[:81].encode("unicode_escape").decode()
    return escaped if len(escaped) <= 80 else f"{escaped[:77]}..."


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """The numbers that tensors are views of.

    Attributes:
      kind: a key of `STORAGES`.
      values: the numbers [size], zeros until they are filled in.
    """

    kind: str
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Return how many bytes they take in a file."""
        return self.values.size * np.dtype(STORAGES[self.kind]).itemsize

    def fill(self, data: bytes, order: Order) -> None:
        """Take the values from `data`, whose byte order is `order`."""
        if len(data) != self.nbytes:
            raise Refused(DAMAGED)
        read = np.frombuffer(data, np.dtype(STORAGES[self.kind]).newbyteorder(order))
        upper_half = self.kind == BFLOAT16
        self.values[:] = (read.astype(np.uint32) << 16).view(np.float32) if upper_half else read


def read_pickle(file: BinaryIO, most_bytes: int = 0) -> tuple[Any, dict[str, Storage]]:
    """Read the next pickle of `file`: its value, and the storages that it names, by key.

    In the value a tensor is an array that cannot be written and has the values of its storage,
    once that is filled.

    Args:
      most_bytes: how much the storages may hold together.

    Raises:
      Refused: it is damaged, or holds more than numbers.
    """
    unpickler = _TensorUnpickler(_Counted(file), most_bytes)
    try:
        return unpickler.load(), unpickler.storages
    except FAILURES as error:
        raise Refused("holds a damaged pickle; get it again") from error


class _Counted:
    """A file of which only so many parts can be read; each instruction of a pickle is one."""

    def __init__(self, file: BinaryIO) -> None:
        self.readline = file.readline
        self._read = file.read
        self._left = MOST_READS

    def read(self, size: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Refused(f"holds more than the tensors of a network; {REMEDY}")
        return self._read(size)


def _only(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind):
        raise Refused(f"holds more than tensors; {REMEDY}")
    return value


def _name(value: Any) -> str:
    if len(_only(str, value)) > LONGEST_NAME:
        raise Refused("has a name that is too long for a tensor's; get it again")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < MOST_ELEMENTS:
        raise ValueError("no count")
    return value


def _update(target: Any, parts: list[Any]) -> dict[Any, Any]:
    """Set keys and values in turn; only names and numbers are keys, as others may hash for ever."""
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        _only(dict, target)[key if isinstance(key, int | float) else _name(key)] = value
    return target


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """The dictionary of a list of pairs, as Python 2 wrote it; the list is used up.

    Were it not, a short pickle could have one list copied any number of times.
    """
    made: dict[Any, Any] = {}
    if pairs != ():
        for pair in _only(list, pairs):
            _update(made, list(_only((list, tuple), pair)[:3]))
        pairs.clear()
    return made


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """A view within a storage, with no more elements than that; strides count elements."""
    values = _only(Storage, storage).values
    if len(_only(tuple, shape)) != len(_only(tuple, strides)) or len(shape) > 32:
        raise ValueError("a tensor's shape and strides do not fit")
    shape, strides = tuple(map(_count, shape)), tuple(map(_count, strides))
    if math.prod(max(side, 1) for side in shape) >= MOST_ELEMENTS:
        raise ValueError("a tensor is too large")
    elements = math.prod(shape)
    last = _count(offset) + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if elements > values.size or (elements and last >= values.size):
        raise Refused("has a tensor that exceeds its numbers; get it again")
    if not elements:
        return np.zeros(shape, values.dtype)
    steps = [step * values.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)


CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_parameter": lambda tensor, *_: _only(np.ndarray, tensor),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
}

# `_rebuild_tensor_v2` has as many.
MOST_ARGUMENTS = 7

# Instructions that are carried out as pickle does, by its names.
INSTRUCTIONS = (
    *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL", "STACK_GLOBAL"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "BINPERSID"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
)
_CODES = [getattr(pickle, name)[0] for name in INSTRUCTIONS]
AS_PICKLE_DOES = {code: pickle._Unpickler.dispatch[code] for code in _CODES}


class _TensorUnpickler(pickle._Unpickler):
    """Python's own reader without what could run code, exhaust memory or take for ever.

    Its instructions can be replaced. Those of the reader in C cannot: it reserves memory for any
    number that a pickle gives to a value, and hashes as a key whatever is one.
    """

    # What it inherits, and type checkers do not know of.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, most_bytes: int) -> None:
        super().__init__(file, encoding="latin-1")
        self.storages: dict[str, Storage] = {}
        self.bytes_left = most_bytes

    def find_class(self, module: str, name: str) -> str:
        """Return the name itself, if it is one of the few that tensors need."""
        path = f"{module}.{name}"
        if path in CALLS or (module in ("torch", "torch.cuda") and name in STORAGES):
            return path
        raise Refused(f"holds the Python object {shortened(path)}, not only tensors; {REMEDY}")

    def persistent_load(self, pid: Any) -> Storage:
        """Return a storage: ("storage", class, key, device, size, and in old files None)."""
        what, kind, key, _, size, *view = _only(tuple, pid)[:7]
        kind = _name(kind).rpartition(".")[2]
        if _only(str, what) != "storage" or kind not in STORAGES or view not in ([], [None]):
            raise Refused(f"holds more than tensors; {REMEDY}")
        held = self.storages.get(_name(key))
        if held is None:
            self.bytes_left -= _count(size) * np.dtype(STORAGES[kind]).itemsize
            if self.bytes_left < 0:
                raise Refused(DAMAGED)
            dtype = np.float32 if kind == BFLOAT16 else STORAGES[kind]
            held = self.storages[key] = Storage(kind, np.zeros(size, dtype))
        if (held.kind, held.values.size) != (kind, size):
            raise Refused("contradicts itself on what its numbers are; get it again")
        return held

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        parts = self.pop_mark()
        _update(self.stack[-1], parts)

    def _dictionary(self) -> None:
        self.append(_update({}, self.pop_mark()))

    def _call(self) -> None:
        arguments, called = _only(tuple, self.stack.pop()), _only(str, self.stack.pop())
        if called not in CALLS or len(arguments) > MOST_ARGUMENTS:
            raise Refused(f"holds more than tensors; {REMEDY}")
        self.append(CALLS[called](*arguments))

    def _ignore_attributes(self) -> None:
        """PyTorch notes versions in a state dict's attributes; no network needs them."""
        self.stack.pop()
        _only(dict, self.stack[-1])

    def _skip_frame(self) -> None:
        self.read(8)

    def _refuse(self) -> None:
        raise Refused(f"holds more than tensors; {REMEDY}")

    dispatch: ClassVar[Any] = dict.fromkeys(range(256), _refuse) | {
        **AS_PICKLE_DOES,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _dictionary,
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _ignore_attributes,
        pickle.FRAME[0]: _skip_frame,
    }
