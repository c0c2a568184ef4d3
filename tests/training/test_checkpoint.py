"""Checkpoints: whole, bitwise, the last few, and restored where the state's devices are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from lrjax.errors import InputError
from lrjax.training import parallel
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.state import State
from lrjax.training.step import init_state


def at(step: int) -> State:
    """A state that differs from step to step."""
    state = init_state(tiny.toy(), jax.random.key(3))
    moved = jax.tree.map(lambda leaf: leaf + step / 3, state.nets)
    return dataclasses.replace(state, step=jnp.int32(step), nets=moved)


def like() -> State:
    """A state of the same structure and other values."""
    return parallel.replicate(init_state(tiny.toy(), jax.random.key(8)), parallel.make_mesh())


def test_a_state_returns_bit_by_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 2)
    assert checkpoints.latest() is None
    state = at(7)
    checkpoints.save(state)
    checkpoints.close()
    again = Checkpoints(tmp_path, 2)
    assert again.latest() == 7
    target = like()
    restored = again.restore(target)
    assert tiny.same(restored, state)
    assert not tiny.same(target, state)
    assert restored.nets["line"].params["w"].sharding == target.nets["line"].params["w"].sharding
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 2)
    for step in (1, 2, 5, 5, 9):
        checkpoints.save(at(step))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()) == ["5", "9"]
    assert tiny.same(checkpoints.restore(like(), 5), at(5))


def test_a_checkpoint_that_was_cut_off_is_not_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 3)
    checkpoints.save(at(1))
    checkpoints.close()
    folder = tmp_path / "checkpoints"
    # What a crash leaves behind: Orbax renames a folder when all of it is written.
    shutil.copytree(folder / "1", folder / "2.orbax-checkpoint-tmp")
    again = Checkpoints(tmp_path, 3)
    assert again.latest() == 1
    again.save(at(2))
    assert tiny.same(again.restore(like()), at(2))


def test_another_network_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1)
    checkpoints.save(at(1))
    other = init_state(tiny.toy(optimizer=optax.adam(1.0)), jax.random.key(0))
    with pytest.raises(InputError, match=r"checkpoints/1 does not fit .*opt_state"):
        checkpoints.restore(other)
    net = like().nets["line"]
    wide = dataclasses.replace(like(), nets={"line": net.replace(params={"w": jnp.zeros(9)})})
    with pytest.raises(InputError, match=r"params\.w is of shape \[5\] there and of shape \[9\] h"):
        checkpoints.restore(wide)
    np.testing.assert_array_equal(checkpoints.restore(like()).step, 1)


# Damage elsewhere ends in the same error, but then Orbax has begun to read arrays and abandons
# them: their threads find its event loop closed, whenever they do, and pytest sees an error in it.
@pytest.mark.parametrize("name", ["_METADATA", "_sharding"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_checkpoint_reads_whole_or_is_damaged(name: str, damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 3)
    for step in (1, 2):
        checkpoints.save(at(step))
    checkpoints.close()
    file = tmp_path / "checkpoints" / "2" / "default" / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    # Orbax makes up for these.
    spare = damage == "gone" and name != "_METADATA"
    found = Checkpoints(tmp_path, 3).restore_latest(like())
    assert tiny.same(found, at(2 if spare else 1))


def test_what_is_no_damage_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, 3)
    for step in (1, 2):
        checkpoints.save(at(step))
    full = RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    def restore(*args: object) -> None:
        raise full

    monkeypatch.setattr(checkpoints, "restore", restore)
    with pytest.raises(RuntimeError, match="out of memory"):
        checkpoints.restore_latest(like())
    assert checkpoints.latest() == 2


def test_a_damaged_checkpoint_gives_way_to_an_older_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, 3)
    assert checkpoints.restore_latest(like()) is None
    for step in (1, 2):
        checkpoints.save(at(step))
    for file in (tmp_path / "checkpoints" / "2").rglob("*"):
        if file.is_file():
            file.write_bytes(b"\x00" * 7)
    checkpoints.close()
    again = Checkpoints(tmp_path, 3)
    assert tiny.same(again.restore_latest(like()), at(1))
    assert "checkpoints/2 is damaged" in capsys.readouterr().err
    again.save(at(2))
    assert tiny.same(again.restore_latest(like()), at(2))
    for file in (tmp_path / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"\x00" * 7)
    with pytest.raises(InputError, match=r"No checkpoint in .* reads whole; begin anew"):
        Checkpoints(tmp_path, 3).restore_latest(like())


# Orbax leaves alone what it was writing besides.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [10, 300])
def test_a_full_disk_is_told_by_the_checkpoint(
    size: int, tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    """Whichever of its files has no room; the one before is still there, and the next is saved."""
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(at(1))
    with small_files(size), pytest.raises(OSError, match=r"No space left|File too l") as caught:
        checkpoints.save(at(2))
    assert caught.value.filename == str(tmp_path / "checkpoints" / "2")
    checkpoints.close()
    again = Checkpoints(tmp_path, 2)
    assert again.latest() == 1
    again.save(at(2))
    assert tiny.same(again.restore(like()), at(2))
    again.close()
