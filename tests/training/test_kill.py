"""kill -9 at random moments: what is resumed goes on, and ends, as the run that nobody killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import child
import jax
import pytest
import tiny
import train_toy

from lrjax.training.checkpoint import Checkpoints
from lrjax.training.state import State
from lrjax.training.step import init_state

ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServerContext]:
    """Starts processes that need not import anything, which takes longer than all the rest."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(child.HERE.parents[1]), str(child.HERE)]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        context.set_forkserver_preload(["pytest", "train_toy"])
        yield context


def start(
    server: ForkServerContext, folder: Path, steps: int, way: str, processes: int
) -> list[ForkServerProcess]:
    """The processes of a run of so many steps."""
    words = [str(folder), str(steps), way]
    address = f"localhost:{child.free_port()}"
    several = [(address, str(processes), str(i)) for i in range(processes)]
    job = [
        server.Process(target=train_toy.main, args=(*words, *cluster))
        for cluster in (several if processes > 1 else [()])
    ]
    for process in job:
        process.start()
    return job


def finish(job: list[ForkServerProcess]) -> None:
    """Wait for the end of a run, which must be a good one."""
    for process in job:
        process.join(child.TIMEOUT)
        assert process.exitcode == 0


def kill_once(
    server: ForkServerContext,
    folder: Path,
    way: str,
    processes: int,
    moments: random.Random,
    mark: str,
) -> None:
    """Go on with an endless run, and kill it within two seconds of when it changes `mark`.

    Args:
      mark: of the run folder's, "metrics.jsonl", which is written anew when a run begins or goes
        on, or "checkpoints", which is changed when a step has been done and is saved.
    """
    path = folder / way.replace("/", "-") / mark

    def now() -> object:
        if path.is_dir():
            return max((int(p.name) for p in path.iterdir() if p.name.isdigit()), default=0)
        return path.stat().st_ino if path.exists() else 0

    before = now()
    job = start(server, folder, ENDLESS, way, processes)
    while now() == before and all(process.is_alive() for process in job):
        time.sleep(0.01)
    time.sleep(moments.uniform(0.0, 2.0))
    moments.shuffle(job)
    for process in job:
        process.kill()
    for process in job:
        process.join()
    assert job[0].exitcode == -9, "it ended before it could be killed"


def state_of(run: Path, step: int | None = None) -> State:
    """A state that was saved (default: the newest)."""
    checkpoints = Checkpoints(run, ENDLESS)
    try:
        return checkpoints.restore(init_state(tiny.toy(), jax.random.key(1)), step)
    finally:
        checkpoints.close()


@pytest.mark.parametrize(
    ("way", "processes", "kills"),
    [
        pytest.param("pmap/device", 1, 2, id="a few, device"),
        pytest.param("pmap/device", 1, 20, id="device", marks=pytest.mark.slow),
        pytest.param("pmap/host", 1, 20, id="streamed", marks=pytest.mark.slow),
        pytest.param("mesh/host", 2, 20, id="two processes", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes_bit_by_bit(
    way: str, processes: int, kills: int, tmp_path: Path, server: ForkServerContext
) -> None:
    """After each kill what was saved is the state of that step, and so is what it ends with."""
    seed = random.randrange(1000)
    moments = random.Random(seed)
    name = way.replace("/", "-")
    run, left = tmp_path / name, tmp_path / "left"
    for kill in range(kills):
        mark = ("metrics.jsonl", "checkpoints")[kill % 2]
        kill_once(server, tmp_path, way, processes, moments, mark)
        found = [int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit()]
        if found:
            newest = Path("checkpoints") / str(max(found))
            shutil.copytree(run / newest, left / str(kill) / newest)

    steps = max(found) + 3
    finish(start(server, tmp_path, steps, way, processes))
    finish(start(server, tmp_path / "whole", steps, f"{way}/{ENDLESS}", processes))
    whole = tmp_path / "whole" / name
    for killed in [*left.iterdir(), run]:
        state = state_of(killed)
        expected = state_of(whole, int(state.step))
        assert tiny.same(state, expected), f"{killed.name} with the moments of seed {seed}"
    print(f"{kills} kills, {len(list(left.iterdir()))} states compared, {steps} steps, seed {seed}")
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert len([p for p in (run / "checkpoints").iterdir() if p.is_dir()]) == 2
