"""Atomic writing."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lrjax.errors import InputError
from lrjax.files import exclusively, read_bytes, read_json, write_atomically


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["b.txt"]


def test_parts_are_one_file_or_none(tmp_path: Path) -> None:
    def parts(whole: bool) -> Iterator[bytes]:
        yield b"one, "
        if not whole:
            raise InputError("no more")
        yield b"two"

    path = tmp_path / "b.txt"
    write_atomically(path, parts(True))
    with pytest.raises(InputError, match="no more"):
        write_atomically(path, parts(False))
    assert path.read_bytes() == b"one, two"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_what_makes_the_parts_is_told_by_its_own_name(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one line"
        raise FileNotFoundError(2, "No such file or directory", "a video")

    target = tmp_path / "table.csv"
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(target, parts())
    assert error.value.filename == "a video"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "b.txt"
    write_atomically(path, b"old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_who_writes_the_same_meanwhile_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync = tmp_path / "b.txt", os.fsync

    def after_another(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write_atomically(path, b"another's, and longer")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", after_another)
    write_atomically(path, b"own")
    assert path.read_bytes() == b"own"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with exclusively(tmp_path, "training"):
        said = f"Another process is training in {tmp_path}; wait"
        with pytest.raises(InputError, match=said), exclusively(tmp_path, "training"):
            raise AssertionError("two hold the folder")
    with exclusively(tmp_path, "training"):
        pass


def test_json_is_read_if_it_could_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, null, "\\ud83d\\ude00 é"]}', encoding="utf-8")
    assert read_json(path, "write it again") == {"a": [1, 2.5, None, "\U0001f600 é"]}


@pytest.mark.parametrize(
    "text", ["", "{", "[NaN]", "[1e400]", "[" * 100_000, '["\\ud83d"]', "9" * 5000]
)
def test_json_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json is not JSON .*; write it again\.$"):
        read_json(path, "write it again")


def test_absent_and_huge_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json cannot be read .No such file"):
        read_json(tmp_path / "a.json", "write it again")
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(InputError, match=r"b\.json .*more than 64 MB"):
        read_json(tmp_path / "b.json", "write it again")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "absent", "zero byte"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    """A pipe would wait for ever, and a device never end."""
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "zero byte":
        path = Path("a\0b")
    said = "no regular file|No such file or directory|null byte"
    with pytest.raises(InputError, match=rf"The list .* cannot be read \(.*({said})\); mend it\.$"):
        read_bytes(path, "list", "mend it")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(9))
    assert read_bytes(path, "list", "mend it", 9) == bytes(9)
    with pytest.raises(InputError, match=r"more than 0 MB"):
        read_bytes(path, "list", "mend it", 8)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    """Others would miss a device."""
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/full")
    before = path.stat()
    with pytest.raises(OSError, match="it is no regular file") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.stat().st_mode == before.st_mode
    assert not list(tmp_path.glob(".*"))


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + "x" * 15)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_told_by_the_name_of_what_was_to_be_written(
    tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")
    with small_files(100), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(path, bytes(101))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_what_a_message_quotes_is_printable() -> None:
    """A terminal obeys escapes, and half a character ends whoever writes it."""
    said = str(InputError("The file a\x1b[2J\n\udcff\ud83d is no é."))
    assert said == r"The file a\x1b[2J\n\udcff\ud83d is no é."
