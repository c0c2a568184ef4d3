"""Pickles of tensors, read as data: nothing in them is ever run.

A pickle is a program that may call anything. Here a small machine of our own interprets it, which
knows dictionaries, lists, tuples, strings, numbers, and PyTorch's tensors over storages. Whatever
else a pickle names is refused when it is named; no name is ever looked up.
"""

from __future__ import annotations

import dataclasses
import math
import pickletools
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

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

DICTIONARY = "collections.OrderedDict"
PARAMETER = "torch._utils._rebuild_parameter"
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")

REMEDY = (
    "reading it could run code, so save the network's state_dict() from PyTorch with torch.save, "
    "or as .safetensors, and give that"
)

# Far above any network, and below what NumPy could not address.
MOST_ELEMENTS = 2**40


class Refused(Exception):
    """The file holds something else than tensors. The message completes "The file X ..."."""


class Storage:
    """The numbers that tensors are views of.

    Attributes:
      kind: a key of `STORAGES`.
      size: how many numbers.
      values: the numbers [size], once they are read.
    """

    def __init__(self, kind: str, size: int) -> None:
        self.kind = kind
        self.size = size
        self.values: np.ndarray | None = None

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(STORAGES[self.kind]).itemsize

    def fill(self, data: bytes, order: str) -> None:
        """Take the values from `data`, whose byte order is "<" or ">"."""
        if len(data) < self.bytes:
            raise Refused("ends early or is damaged; get it again")
        dtype = np.dtype(STORAGES[self.kind]).newbyteorder(order)
        values = np.frombuffer(data, dtype, self.size)
        if self.kind == BFLOAT16:
            self.values = (values.astype(np.uint32) << 16).view(np.float32)
        else:
            self.values = values.astype(dtype.newbyteorder("="), copy=False)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage, within its bounds; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The values; they share memory with the storage, and cannot be written."""
        values = self.storage.values
        if values is None:
            raise Refused("names numbers that it does not hold; get it again")
        if not math.prod(self.shape):
            return np.zeros(self.shape, values.dtype)
        steps = [step * values.itemsize for step in self.strides]
        start = values[self.offset :]
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False)


def interpret(file: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of `file`: its value, and the storages that it names, by key, unfilled.

    Raises:
      Refused: it is damaged, or holds more than numbers.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
        return machine.stack.pop(), machine.storages
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, OverflowError) as e:
        raise Refused(f"holds a damaged pickle ({e}); get it again") from e


# What puts its own argument on the stack.
PUSHED = (
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING"}
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
REMEMBER = {"PUT", "BINPUT", "LONG_BINPUT"}
RECALL = {"GET", "BINGET", "LONG_BINGET"}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclasses.dataclass(frozen=True)
class _Name:
    """What a pickle calls by this name, be it a class or a function."""

    path: str


class _Machine:
    """The part of pickle's stack machine that state dicts need."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction, with pickletools' name for it."""
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in REMEMBER:
            self.memo[argument] = self.stack[-1]
        elif name in RECALL:
            self.stack.append(self.memo[argument])
        elif name in SHORT_TUPLES:
            parts = [self.stack.pop() for _ in range(SHORT_TUPLES[name])]
            self.stack.append(tuple(reversed(parts)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise Refused(f"holds more than tensors (pickle's {name}); {REMEDY}")
            method(argument)

    def _mark(self, _: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _to_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.marked.pop()
        return above

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, _: None) -> None:
        parts = self._to_mark()
        self.stack.append(tuple(parts))

    def _empty_list(self, _: None) -> None:
        self.stack.append([])

    def _list(self, _: None) -> None:
        parts = self._to_mark()
        self.stack.append(parts)

    def _append(self, _: None) -> None:
        part = self.stack.pop()
        _only(list, self.stack[-1]).append(part)

    def _appends(self, _: None) -> None:
        parts = self._to_mark()
        _only(list, self.stack[-1]).extend(parts)

    def _empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _dict(self, _: None) -> None:
        parts = self._to_mark()
        self.stack.append(_dictionary(zip(parts[::2], parts[1::2], strict=True)))

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _only(dict, self.stack[-1]).update(_dictionary([(key, value)]))

    def _setitems(self, _: None) -> None:
        parts = self._to_mark()
        items = zip(parts[::2], parts[1::2], strict=True)
        _only(dict, self.stack[-1]).update(_dictionary(items))

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        path = f"{module}.{name}"
        known = path in (DICTIONARY, PARAMETER, *TENSORS)
        if not known and not (module in ("torch", "torch.cuda") and name in STORAGES):
            raise Refused(f"holds the Python object {path}, not only tensors; {REMEDY}")
        self.stack.append(_Name(path))

    def _reduce(self, _: None) -> None:
        """A call: of the few names that are known, here is what they make."""
        arguments, called = _only(tuple, self.stack.pop()), _only(_Name, self.stack.pop())
        if called.path == DICTIONARY:
            self.stack.append(_dictionary(*arguments) if arguments else {})
        elif called.path == PARAMETER:
            self.stack.append(_only(Tensor, arguments[0]))
        elif called.path in TENSORS:
            self.stack.append(_tensor(*arguments[:4]))
        else:
            raise Refused(f"calls {called.path}; {REMEDY}")

    def _build(self, _: None) -> None:
        """Attributes of a dictionary: PyTorch's notes on versions, which no network needs."""
        self.stack.pop()
        _only(dict, self.stack[-1])

    def _binpersid(self, _: None) -> None:
        """A storage: ("storage", class, key, device, size, and in old files None)."""
        what, kind, *rest = _only(tuple, self.stack.pop())
        if what != "storage" or (len(rest) == 4 and rest[3] is not None) or len(rest) > 4:
            raise Refused(f"holds more than tensors; {REMEDY}")
        key, _, size = rest[:3]
        storage = Storage(_only(_Name, kind).path.rpartition(".")[2], _count(size))
        held = self.storages.setdefault(_only(str, key), storage)
        if (held.kind, held.size) != (storage.kind, storage.size) or held.kind not in STORAGES:
            raise Refused("contradicts itself on what its numbers are; get it again")
        self.stack.append(held)


def _only(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise Refused(f"holds more than tensors; {REMEDY}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < MOST_ELEMENTS:
        raise ValueError(f"{value!r} is no count")
    return value


def _dictionary(items: Any) -> dict[Any, Any]:
    """A dictionary with only strings and numbers as keys."""
    made = {}
    for key, value in items:
        if not isinstance(key, str | int | float):
            raise ValueError("a key is neither a string nor a number")
        made[key] = value
    return made


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    """A tensor that lies within its storage, without elements twice."""
    _only(Storage, storage)
    shape = tuple(map(_count, _only(tuple, shape)))
    strides = tuple(map(_count, _only(tuple, strides)))
    if len(shape) != len(strides) or len(shape) > 32:
        raise ValueError("a tensor's shape and strides do not fit")
    if math.prod(max(side, 1) for side in shape) >= MOST_ELEMENTS:
        raise ValueError("a tensor is too large")
    elements = math.prod(shape)
    last = _count(offset) + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if elements > storage.size or (elements and last >= storage.size):
        raise Refused("has a tensor that exceeds its numbers; get it again")
    return Tensor(storage, offset, shape, strides)
