"""Files that are whole or absent, whenever the program is stopped, and Python files of a user's."""

import errno
import fcntl
import importlib.util
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lrjax.errors import InputError

_Part = TypeVar("_Part")

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded; Pillow knows many more, some of which start other programs."""

LARGEST_JSON = 64 << 20
"""Bytes of the largest JSON file that is read."""

LARGEST_TEXT = 1 << 30
"""Bytes of the largest list or table that is read."""


def read_bytes(path: str | Path, what: str, remedy: str, most: int = LARGEST_TEXT) -> bytes:
    """Read a file of which nothing is trusted.

    Args:
      path: of the file.
      what: it is, such as "table", for the message.
      remedy: how the message ends, such as "check its name".
      most: bytes that it may have.

    Raises:
      InputError: it cannot be read, is larger, or is no regular file: a pipe would wait for ever,
        and a device never end.
    """
    problem = f"it has more than {most >> 20} MB"
    try:
        # Not to wait for who writes to a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                with open(descriptor, "rb", closefd=False) as file:
                    data = file.read(most + 1)
                if len(data) <= most:
                    return data
            else:
                problem = "it is no regular file"
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError as error:  # of a name with a zero byte
        problem = str(error)
    raise InputError(f"The {what} {path} cannot be read ({problem}); {remedy}.")


def write_atomically(path: str | Path, data: bytes | Iterable[bytes]) -> None:
    """Write `data`, or its parts as they come, to `path`, making its folder.

    Readers see the old file or the new one.

    The bytes go to a hidden neighbour first and reach the disk before the rename, so that neither
    a crash of the program nor of the machine leaves half a file under the real name.

    Raises:
      OSError: it cannot be written, or something else than a file is there; its `filename` is
        `path`.
    """
    path = Path(path)
    partial = neighbour(path)
    with naming(path):
        # A device would be lost to all other programs.
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.writelines([data] if isinstance(data, bytes) else apart(data))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


class _OfOthersError(Exception):
    """Holds, as its cause, an OSError of a file that is read while another one is written."""


def apart(parts: Iterable[_Part]) -> Iterator[_Part]:
    """Hand on what is made while a file is written, so that `naming` leaves its errors alone."""
    try:
        yield from parts
    except OSError as error:
        raise _OfOthersError from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what cannot be written be known by `path`.

    A full disk names no file, and the names of what is written beside it say nothing to a user.

    Raises:
      OSError: its `filename` is `path`.
    """
    try:
        yield
    except _OfOthersError as error:
        raise error.__cause__ or error from None
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def neighbour(path: Path) -> Path:
    """Name a hidden file or folder beside `path` that nobody else writes to.

    The number of the process would not do: on a shared disk, two machines may have the same. Of a
    long name the beginning is taken, so that what may be called so may be written, too.
    """
    begin = os.fsdecode(os.fsencode(path.name)[:200])
    return path.with_name(f".{begin}.{secrets.token_hex(4)}.partial")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as pretty JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: str | Path, remedy: str) -> Any:
    """Read a JSON file of which nothing is trusted.

    Args:
      path: of the file.
      remedy: how the message ends, such as "run the experiment that wrote it again".

    Raises:
      InputError: it cannot be read; is too large or nested too deeply; is not JSON; or holds what
        JSON cannot (NaN, infinities, halves of surrogate pairs) or Python refuses (a number of
        thousands of digits).
    """
    data = read_bytes(path, "JSON file", remedy, LARGEST_JSON)
    try:
        return parse_json(data)
    except ValueError as error:
        raise InputError(f"{path} is not JSON that can be used ({error}); {remedy}.") from error


def parse_json(text: str | bytes) -> Any:
    """Read JSON of which nothing is trusted.

    Raises:
      ValueError: as `read_json` says; also where it is nested too deeply.
    """
    try:
        value = json.loads(text)
        # Python reads more than JSON holds, such as NaN; what cannot be written again is refused.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


@contextmanager
def exclusively(folder: Path, work: str) -> Iterator[None]:
    """Hold `folder`, which must exist, against other processes; a crash lets go of it.

    Args:
      work: what is being done there, for the message.

    Raises:
      InputError: another process holds it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another process is {work} in {folder}; wait for it.") from error
        yield
    finally:
        os.close(lock)


def import_file(path: Path) -> ModuleType:
    """Import a Python file that stands in no package, such as one of a user's configurations.

    It is run once, however often it is named, and may import what lies beside it. Python knows it
    by its whole path, where dataclasses look up their types.

    Raises:
      InputError: there is no such file, or it is no Python file.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; check its name.")
    name = str(path.resolve())
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"The file {path} is no Python file; name one that ends in .py.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        if str(path.resolve().parent) not in sys.path:
            sys.path.append(str(path.resolve().parent))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
