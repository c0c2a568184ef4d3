"""Our own side: the step on a constant batch and with both feeds, G2's forward pass, the peak."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lrjax.benchmark.timing import Run
from lrjax.data import batches
from lrjax.tasks import landmarks, recognition
from lrjax.training import loop, parallel
from lrjax.training.state import State
from lrjax.training.task import Task

FOREVER = 10**9  # steps that no measurement reaches

Data = Mapping[str, Mapping[str, Any]]
Config = landmarks.LandmarksConfig | recognition.RecognitionConfig


@dataclasses.dataclass
class Training:
    """A run in memory: a compiled step, where its state stands, and what feeds it."""

    step: Callable[..., Any]
    state: State
    feed: Iterator[Any]

    def __call__(self, steps: int) -> None:
        """Train for some steps, and wait for the last."""
        metrics: Any = ()
        for batch in itertools.islice(self.feed, steps):
            self.state, metrics = self.step(self.state, batch)
        jax.block_until_ready((self.state, metrics))


def first_batch(task: Task, data: Data, key: jax.Array) -> dict[str, Any]:
    """The batch of step 0, on the host."""
    return next(batches.from_host(key, data, task.batch, start=0, stop=1))


def trainings(
    config: Config, task: Task, state: State, data: Mapping[str, Data], mesh: Mesh
) -> dict[str, Training]:
    """The step fed with one batch over and over, from arrays on the device, and from the host.

    The first and the last share their compiled step. `data` holds, for either feed, what a run
    with that feed would have loaded.
    """
    configs = {feed: dataclasses.replace(config.train, feed=feed) for feed in ("device", "host")}
    steps = {feed: loop.compile_step(task, c, mesh) for feed, c in configs.items()}
    feeds = {
        feed: loop.feed(task, c, mesh, data[feed], state.key, 0, FOREVER)
        for feed, c in configs.items()
    }
    constant = parallel.shard(first_batch(task, data["host"], state.key), mesh)

    def own() -> State:
        """A copy, since a step gives up its state."""
        return parallel.place(jax.tree.map(jnp.copy, state), mesh, loop.partition(task, mesh))

    return {
        "constant batch": Training(steps["host"], own(), itertools.repeat(constant)),
        "device feed": Training(steps["device"], own(), feeds["device"]),
        "host feed": Training(steps["host"], own(), feeds["host"]),
    }


def step_flops(task: Task, state: State, batch: Any, mesh: Mesh) -> float | None:
    """Floating-point operations of one step on all devices, as XLA counts them; None if it cannot.

    Counted before optimisation: afterwards a convolution may be a library call that XLA does not
    see into.
    """
    specs = loop.partition(task, mesh)
    step = parallel.parallelise(
        task.step, mesh, "mesh", sharded=True, donate=False, state_specs=specs
    )
    lowered = step.lower(parallel.place(state, mesh, specs), parallel.shard(batch, mesh))
    analysis = lowered.cost_analysis() or {}
    flops = analysis.get("flops", 0.0)
    return flops * mesh.size if flops > 0 else None


def forward(config: landmarks.LandmarksConfig, state: State, batch: int) -> Run:
    """G2's maps of `batch` faces on one device."""
    module = landmarks.generator_module(config, axis_name=None)
    variables = state.nets["g2"].evaluation_variables
    shape = (batch, config.size, config.size, 3)
    images = jax.random.uniform(jax.random.key(0), shape, minval=-1.0)
    apply = jax.jit(lambda variables, images: module.apply(variables, images, train=False))

    def run(calls: int) -> None:
        for _ in range(calls):
            out = apply(variables, images)
        jax.block_until_ready(out)

    return run


def matrix_product(size: int) -> Run:
    """A product of two float32 matrices [size, size] on one device: 2 size³ operations."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    multiply = jax.jit(jnp.matmul)

    def run(calls: int) -> None:
        out = a
        for _ in range(calls):
            out = multiply(a, a)
        jax.block_until_ready(out)

    return run


def profile(training: Training, steps: int, folder: Path) -> None:
    """Write a trace of some steps, for TensorBoard or Perfetto."""
    with jax.profiler.trace(str(folder)):
        training(steps)
