"""One device, four devices, and two processes of two devices each train to the same state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import child
import jax
import numpy as np
import pytest
import tiny

from lrjax.training import log, loop
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.state import State
from lrjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compile")

STEPS = 6
WAYS = ("pmap/device", "pmap/host", "mesh/device", "mesh/host")


def close(a: State, b: State) -> None:
    """States are equal but for the order in which floats were added."""

    def plain(leaf: Any) -> Any:
        key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if key else leaf

    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(plain(x), plain(y), rtol=1e-5, atol=1e-6)


def fit(folder: Path, steps: int) -> State:
    """The toy on this process's one device."""
    held_out = tiny.toy_data(10, seed=1)["points"]
    config = tiny.train_config(checkpoint_every=1)
    return loop.fit(tiny.toy(), config, steps, tiny.toy_data(), folder, held_out=held_out)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path]:
    """The run of one process on one device."""
    folder = tmp_path_factory.mktemp("alone")
    return fit(folder, STEPS), folder


@pytest.fixture(scope="module", params=["four devices", "two processes"])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on four devices, one for each of WAYS."""
    folder = tmp_path_factory.mktemp("together")
    arguments = ("train_toy.py", folder, STEPS, ",".join(WAYS))
    if request.param == "four devices":
        child.finish(child.start(*arguments, devices=4))
        return folder
    address = f"localhost:{child.free_port()}"
    pair = [child.start(*arguments, address, 2, i, devices=2) for i in range(2)]
    # Only the first shows its progress.
    assert ["training" in child.finish(process) for process in pair] == [True, False]
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_many_devices_train_as_one(way: str, alone: tuple[State, Path], together: Path) -> None:
    state, folder = alone
    run = together / way.replace("/", "-")
    assert jax.device_count() == 1  # restored on another number of devices than it was saved on
    close(Checkpoints(run, 2).restore(init_state(tiny.toy(), jax.random.key(9))), state)
    ours, theirs = (log.read(path / "metrics.jsonl") for path in (run, folder))
    assert len(ours) == len(theirs) == STEPS + STEPS // 2
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4)


def test_one_device_continues_what_many_began(tmp_path: Path, together: Path) -> None:
    longer = fit(tmp_path, STEPS + 2)
    close(fit(together / "pmap-device", STEPS + 2), longer)
