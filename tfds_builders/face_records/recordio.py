"""MXNet's record files, as InsightFace writes them, without MXNet.

A record is framed by a magic number, a word of three bits that say which part of a split record
this is and 29 bits of length, the bytes, and zeros up to the next multiple of four. A record whose
bytes contain the magic number at a multiple of four is split there, and the number left out. The
bytes are a header (flag, label, two ids), `flag` further labels, and an encoded picture.
"""

import dataclasses
import os
import pathlib
import struct
import warnings

import numpy as np

from ..common import official_bytes

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
LARGEST_FLAG = 2**16
"""More labels than any record has; a larger number is damage."""


class RecordError(ValueError):
    """A record cannot be read; the message names the file and the byte offset."""

    def __init__(self, path: pathlib.Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: the record at byte {offset:,} {reason}.")
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Header:
    """What stands before a record's picture.

    Attributes:
      labels: the vector of labels, or the one label where there is no vector.
      vector: whether there is one.
      picture: length of the encoded picture that follows, bytes; None for a split record, whose
        parts are yet to be counted.
    """

    labels: tuple[float, ...]
    vector: bool
    picture: int | None


class RecordFile:
    """Reads records by their byte offsets, one at a time; may be used by several threads.

    Raises:
      OSError: if the file cannot be opened.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size

    def __enter__(self) -> "RecordFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def read(self, offset: int) -> tuple[Header, bytes]:
        """Read the header and the encoded picture of the record at `offset`.

        Raises:
          RecordError: if no whole record begins there.
        """
        content = self._content(offset)
        header = self._header(content, len(content), offset)
        return header, content[len(content) - header.picture :]

    def read_header(self, offset: int) -> Header:
        """Read the header of the record at `offset`, without reading its picture.

        Raises:
          RecordError: if no record begins there, or the file ends within it.
        """
        part, length = self._frame(offset, offset)
        if part != _WHOLE:
            header, _ = self.read(offset)
            return dataclasses.replace(header, picture=None)
        start = offset + _FRAME.size
        head = self._bytes(start, min(length, _HEADER.size + 4), offset)
        if len(head) == _HEADER.size + 4:
            flag = _HEADER.unpack_from(head)[0]
            wanted = min(length, _HEADER.size + 4 * min(flag, LARGEST_FLAG))
            if wanted > len(head):
                head = self._bytes(start, wanted, offset)
        return self._header(head, length, offset)

    def _frame(self, at: int, offset: int) -> tuple[int, int]:
        """(which part, length) of the frame at `at`, which belongs to the record at `offset`."""
        magic, word = _FRAME.unpack(self._bytes(at, _FRAME.size, offset))
        if magic != MAGIC:
            raise RecordError(
                self.path, offset, f"is damaged: byte {at:,} begins 0x{magic:08x}, not 0x{MAGIC:x}"
            )
        length = word & (2**29 - 1)
        if at + _FRAME.size + length > self._size:
            raise RecordError(self.path, offset, "is cut off by the end of the file")
        return word >> 29, length

    def _content(self, offset: int) -> bytes:
        """The bytes of a record, its parts joined by the magic number that separated them."""
        parts = []
        at = offset
        while True:
            part, length = self._frame(at, offset)
            if part > _LAST or (part in (_WHOLE, _FIRST)) != (not parts):
                raise RecordError(self.path, offset, "is damaged: its parts are out of order")
            parts.append(self._bytes(at + _FRAME.size, length, offset))
            if part in (_WHOLE, _LAST):
                return struct.pack("<I", MAGIC).join(parts)
            at += _FRAME.size + length + -length % 4

    def _header(self, head: bytes, length: int, offset: int) -> Header:
        """The header that `head`, the beginning of a record of `length` bytes, holds."""
        if len(head) < _HEADER.size:
            raise RecordError(self.path, offset, "is too short for its header")
        flag, label, _, _ = _HEADER.unpack_from(head)
        end = _HEADER.size + 4 * flag
        if end > min(length, _HEADER.size + 4 * LARGEST_FLAG):
            raise RecordError(self.path, offset, "is too short for its labels")
        labels = struct.unpack_from(f"<{flag}f", head, _HEADER.size) if flag else (label,)
        return Header(labels, flag > 0, length - end)

    def _bytes(self, at: int, count: int, offset: int) -> bytes:
        content = os.pread(self._file, count, at) if 0 <= at < self._size else b""
        if len(content) < count:
            raise RecordError(self.path, offset, "is cut off by the end of the file")
        return content


def read_index(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an index: keys [n] and byte offsets [n], both int64, by rising key.

    Raises:
      ValueError: if a line is not two whole numbers, or a key occurs twice; the message names the
        file.
      DatasetError: if the file cannot be read.
    """
    try:
        lines = official_bytes(path).decode("ascii").splitlines()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file without lines, refused below
            table = np.loadtxt(lines, np.int64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if table.shape[1:] != (2,):
        raise ValueError(f"{path} does not hold lines of a key and a byte offset")
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (np.diff(table[:, 0]) == 0).any():
        raise ValueError(f"{path} lists a key twice")
    return table[:, 0], table[:, 1]
