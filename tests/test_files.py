"""Atomic writing."""

import os
from pathlib import Path

import pytest

from lrjax.errors import InputError
from lrjax.files import exclusively, write_atomically


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["b.txt"]


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


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with exclusively(tmp_path, "training"):
        said = f"Another process is training in {tmp_path}; wait"
        with pytest.raises(InputError, match=said), exclusively(tmp_path, "training"):
            raise AssertionError("two hold the folder")
    with exclusively(tmp_path, "training"):
        pass
