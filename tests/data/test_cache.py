"""Arrays kept under a key: made once, believed only when whole."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lrjax.data.cache import cached, default_folder, key_of

IMAGES = np.arange(7 * 2 * 3, dtype=np.uint8).reshape(7, 2, 3)
SOUND = np.array([1, 0, 1, 1, 0, 0, 1], bool)


class Maker:
    """Yields the arrays above in pieces of three, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Iterator[dict[str, np.ndarray]]:
        self.asked += 1
        for i in range(0, 7, 3):
            yield {"images": IMAGES[i : i + 3], "sound": SOUND[i : i + 3]}


def test_made_once_then_read(tmp_path: Path) -> None:
    make = Maker()
    first, made = cached(tmp_path / "deep" / "er", "key", 7, make)
    again, made_again = cached(tmp_path / "deep" / "er", "key", 7, make)
    assert (made, made_again, make.asked) == (True, False, 1)
    for arrays in (first, again):
        np.testing.assert_array_equal(arrays["images"], IMAGES)
        np.testing.assert_array_equal(arrays["sound"], SOUND)
        assert not arrays["images"].flags.writeable
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == ["key"]


def truncated(entry: Path) -> None:
    data = (entry / "images.npy").read_bytes()
    (entry / "images.npy").write_bytes(data[:-1])


def altered(entry: Path) -> None:
    data = bytearray((entry / "sound.npy").read_bytes())
    data[-1] ^= 1
    (entry / "sound.npy").write_bytes(data)


def lost(entry: Path) -> None:
    (entry / "images.npy").unlink()


def unfinished(entry: Path) -> None:
    (entry / "contents.json").unlink()


def garbled(entry: Path) -> None:
    (entry / "contents.json").write_text('["not an object"]')


def pickled(entry: Path) -> None:
    """Even with its own digest a pickle is not read."""
    np.save(entry / "images.npy", np.array([{"a": 1}], object), allow_pickle=True)
    contents = json.loads((entry / "contents.json").read_text())
    contents["arrays"]["images"] = hashlib.sha256((entry / "images.npy").read_bytes()).hexdigest()
    (entry / "contents.json").write_text(json.dumps(contents))


@pytest.mark.parametrize("damage", [truncated, altered, lost, unfinished, garbled, pickled])
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: object) -> None:
    make = Maker()
    cached(tmp_path, "key", 7, make)
    damage(tmp_path / "key")
    arrays, made = cached(tmp_path, "key", 7, make)
    assert made
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["sound"], SOUND)
    assert not cached(tmp_path, "key", 7, make)[1]


def test_who_makes_the_same_meanwhile_disturbs_nobody(tmp_path: Path) -> None:
    faster: list[dict[str, np.ndarray]] = []

    def slow() -> Iterator[dict[str, np.ndarray]]:
        for number, part in enumerate(Maker()()):
            if number == 1:
                faster.append(cached(tmp_path, "key", 7, Maker())[0])
                written.append((tmp_path / "key" / "images.npy").stat().st_ino)
            yield part

    written: list[int] = []
    arrays, _ = cached(tmp_path, "key", 7, slow)
    for found in (arrays, *faster):
        np.testing.assert_array_equal(found["images"], IMAGES)
    # The files that the faster one reads are not taken away.
    assert (tmp_path / "key" / "images.npy").stat().st_ino == written[0]
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_nothing_is_kept_of_what_was_not_finished(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield {"images": IMAGES[:3]}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", 7, broken)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_by_the_entry(small_disk: Path) -> None:
    """Not by a signal, as the system has it for a memory map; what is kept there stays."""
    small, _ = cached(small_disk, "small", 7, Maker())
    large = np.zeros((3, 200_000), np.uint8)
    with pytest.raises(OSError, match="No space left") as caught:
        cached(small_disk, "large", 3, lambda: ({"a": large[i : i + 1]} for i in range(3)))
    assert caught.value.filename == str(small_disk / "large")
    assert [path.name for path in small_disk.iterdir()] == ["small"]
    assert not cached(small_disk, "small", 7, Maker())[1]
    np.testing.assert_array_equal(small["images"], IMAGES)


def test_an_error_of_what_is_kept_is_its_own(tmp_path: Path) -> None:
    def lost() -> Iterator[dict[str, np.ndarray]]:
        yield {"images": IMAGES[:3]}
        raise FileNotFoundError(2, "No such file", "photo.jpg")

    with pytest.raises(FileNotFoundError) as caught:
        cached(tmp_path, "key", 7, lost)
    assert caught.value.filename == "photo.jpg"


@pytest.mark.parametrize(
    "pieces",
    [
        [{"a": np.zeros((3, 2))}],
        [{"a": np.zeros((3, 2))}, {"a": np.zeros((4, 1))}],
        [{"a": np.zeros((3, 2))}, {"a": np.zeros((4, 2), np.float32)}],
        [{"a": np.zeros((3, 2))}, {"b": np.zeros((4, 2))}],
    ],
)
def test_pieces_that_do_not_fit_are_refused(tmp_path: Path, pieces: list) -> None:
    with pytest.raises(ValueError, match=r"rows of|pieces"):
        cached(tmp_path, "key", 7, lambda: pieces)
    assert list(tmp_path.iterdir()) == []


def test_keys_tell_values_apart() -> None:
    keys = {key_of(*parts) for parts in (("a", "bc"), ("ab", "c"), ("a", "bc", 1), ({"a": 1},))}
    assert len(keys) == 4
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.sep + "elsewhere")
    assert default_folder() == Path("/elsewhere/lrjax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "lrjax"
