"""kill -9 at random moments: what is resumed ends as the run that nobody killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import child
import jax
import pytest
import tiny

from lrjax.training import loop
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compile")

STEPS = 60


def kill_once(folder: Path, moment: float) -> bool:
    """Train until `moment` seconds after the run has begun to save; whether it was killed."""
    process = child.start("train_toy.py", folder, STEPS, "pmap/device")
    checkpoints = folder / "pmap-device" / "checkpoints"
    before = set(checkpoints.glob("*"))
    while process.poll() is None and set(checkpoints.glob("*")) <= before:
        time.sleep(0.01)
    time.sleep(moment)
    process.kill()
    killed = process.wait() == -9
    process.communicate()
    return killed


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_bit_by_bit(kills: int, tmp_path: Path) -> None:
    seed = random.randrange(1000)
    moments = random.Random(seed)
    killed = sum(kill_once(tmp_path, moments.uniform(0.0, 1.5)) for _ in range(kills))
    assert killed, "the runs ended before they could be killed"
    child.finish(child.start("train_toy.py", tmp_path, STEPS, "pmap/device"))

    whole = tmp_path / "whole"
    state = loop.fit(
        tiny.toy(),
        tiny.train_config(checkpoint_every=20),
        STEPS,
        tiny.toy_data(),
        whole,
        held_out=tiny.toy_data(10, seed=1)["points"],
    )
    resumed = tmp_path / "pmap-device"
    found = Checkpoints(resumed, 2).restore(init_state(tiny.toy(), jax.random.key(1)))
    assert tiny.same(found, state), f"with the moments of seed {seed}"
    assert (resumed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert len([p for p in (resumed / "checkpoints").iterdir() if p.is_dir()]) == 2
