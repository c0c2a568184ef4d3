"""How fast a task's step and G2's forward pass are, in one process and one run."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lrjax.benchmark.timing import Announce, Run, Times, interleave, machine
from lrjax.benchmark.workload import FOREVER, Config, Workload, prepare
from lrjax.data import batches
from lrjax.errors import InputError
from lrjax.inference.passes import batch_size, run_passes
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.training import loop, parallel
from lrjax.training.step import make_step

CONSTANT, DEVICE_FEED, HOST_FEED = "constant batch", "device feed", "host feed"
JAX, EAGER, COMPILE = "JAX", "PyTorch, eager", "torch.compile"
PRODUCT = "matrix product"
FORWARD_BATCHES = (1, 256)
PROFILED = 5  # steps in a trace


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
      rounds: samples of each contender.
      seconds: about how long a sample takes.
      faces: in memory, for each part of a batch.
      product: side of the matrices whose product is called the peak.
    """

    rounds: int = 7
    seconds: float = 2.0
    faces: int = 1024
    product: int = 8192


@dataclasses.dataclass(frozen=True)
class Measurements:
    """Hold what was measured; times are seconds per call.

    Attributes:
      images: that one step takes: labelled and real faces, or pictures of people.
      flops: of one step on all devices, or None where XLA does not count.
      product_flops: of one matrix product on one device.
      first: contender -> seconds of its first call, compilation included.
      steps: training steps by how they are fed, those of PyTorch, and the matrix product.
      forwards: batch -> G2's forward pass of each contender; none where there is no G2.
      machine: what it ran on.
    """

    images: int
    flops: float | None
    product_flops: float
    first: dict[str, float]
    steps: dict[str, Times]
    forwards: dict[int, dict[str, Times]]
    machine: dict[str, Any]


def torch_obstacle(config: Config) -> str | None:
    """Say why PyTorch cannot run the same, or None if it can."""
    if not isinstance(config, LandmarksConfig):
        return "recognition has no PyTorch twin"
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed (pip install 'lrjax[torch]')"
    from lrjax.benchmark import torch_step

    return torch_step.obstacle(config)


def run(
    config: Config,
    effort: Effort,
    folder: Path,
    *,
    with_torch: bool,
    profile: Path | None = None,
    announce: Announce = lambda name: None,
) -> Measurements:
    """Measure the training of `config`.

    Args:
      config: landmarks or recognition.
      effort: how long to measure.
      folder: for random networks and aligned faces; it is read until this returns.
      with_torch: whether PyTorch runs the same in turns with JAX.
      profile: folder for a trace of some steps on a constant batch.
      announce: called with what is done next.

    Raises:
      InputError: the configuration is not valid, or nothing is known of its dataset's pictures, or
        PyTorch has no twin of it.
    """
    obstacle = torch_obstacle(config) if with_torch else None
    if obstacle:
        raise InputError(f"PyTorch cannot run the same: {obstacle}; leave out --torch.")
    announce("drawing weights and faces")
    work = prepare(config, effort.faces, folder)
    mesh = parallel.make_mesh()
    stream = batches.from_host(work.state.key, work.data["host"], work.task.batch, start=0, stop=1)
    batch = next(stream)
    announce("counting operations")
    flops = step_flops(work, batch, mesh)
    steps = trainings(work, batch, mesh) | {PRODUCT: matrix_product(effort.product)}
    forwards: dict[int, dict[str, Run]] = {}
    if isinstance(config, LandmarksConfig):
        forwards = {n: {JAX: forward(work, n)} for n in FORWARD_BATCHES}
    if with_torch and isinstance(work.config, LandmarksConfig):
        _add_torch(work.config, work, batch, steps, forwards)

    first = _first_calls(steps, announce)
    for n, contenders in forwards.items():
        first |= _first_calls({f"{k}, forward {n}": r for k, r in contenders.items()}, announce)

    def timed(contenders: Mapping[str, Run]) -> dict[str, Times]:
        return interleave(contenders, effort.rounds, effort.seconds, announce=announce)

    results = Measurements(
        images=sum(work.task.batch.values()),
        flops=flops,
        product_flops=2.0 * effort.product**3,
        first=first,
        steps=timed(steps),
        forwards={n: timed(contenders) for n, contenders in forwards.items()},
        machine=machine(*["torch"] * with_torch),
    )
    if profile is not None:
        announce("profiling")
        with jax.profiler.trace(str(profile)):
            steps[CONSTANT](PROFILED)
    return results


def trainings(work: Workload, batch: dict[str, Any], mesh: Mesh) -> dict[str, Run]:
    """Return runs fed with `batch` over and over, from arrays on the device, and from the host.

    The first and the last share their compiled step.
    """
    task, state = work.task, work.state
    configs = {
        feed: dataclasses.replace(work.config.train, feed=feed) for feed in ("device", "host")
    }
    steps = {feed: loop.compile_step(task, config, mesh) for feed, config in configs.items()}
    streams = {
        feed: loop.feed(
            task, config, mesh, loop.drawable(task, work.data[feed]), state.key, 0, FOREVER
        )
        for feed, config in configs.items()
    }
    resident = parallel.shard(batch, mesh)
    again = (loop.for_step(resident, step, mesh) for step in itertools.count())

    def training(feed: str, stream: Iterator[Any]) -> Run:
        # A copy, since a step gives up its state.
        own = parallel.place(jax.tree.map(jnp.copy, state), mesh, loop.partition(task, mesh))

        def run(count: int) -> None:
            nonlocal own
            metrics: Any = ()
            for batch in itertools.islice(stream, count):
                own, metrics = steps[feed](own, batch)
            jax.block_until_ready((own, metrics))

        return run

    return {
        CONSTANT: training("host", again),
        DEVICE_FEED: training("device", streams["device"]),
        HOST_FEED: training("host", streams["host"]),
    }


def step_flops(work: Workload, batch: Any, mesh: Mesh) -> float | None:
    """Count a step's floating-point operations on all devices, as XLA does; None if it cannot.

    Counted before optimisation: afterwards a convolution may be a library call that XLA does not
    see into.
    """
    specs = loop.partition(work.task, mesh)
    step = parallel.parallelise(
        make_step(work.task), mesh, "mesh", sharded=True, donate=False, state_specs=specs
    )
    # Over a mesh it is what `jax.jit` returns.
    lowered = cast(jax.stages.Wrapped, step).lower(
        parallel.place(work.state, mesh, specs), parallel.shard(batch, mesh)
    )
    flops = (lowered.cost_analysis() or {}).get("flops", 0.0)
    return flops * mesh.size if flops > 0 else None


def forward(work: Workload, batch: int) -> Run:
    """Return what computes G2's maps of `batch` faces on one device, as `lrjax predict` does."""
    network = work.task.players["g2"].network
    variables = work.state.nets["g2"].evaluation_variables
    images = jax.random.uniform(jax.random.key(0), (batch, *network.inputs[0]), minval=-1.0)
    apply = jax.jit(lambda variables, images: network.module.apply(variables, images, train=False))
    parts = jnp.split(images, max(1, batch // batch_size(batch)))

    def look(some: jax.Array) -> jax.Array:
        return jax.block_until_ready(apply(variables, some))

    return _repeated(lambda: list(run_passes(look, parts)))


def matrix_product(size: int) -> Run:
    """Return what multiplies two float32 matrices [size, size]: 2 size³ operations each."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    multiply = jax.jit(jnp.matmul)
    return _repeated(lambda: multiply(a, a))


def _repeated(once: Callable[[], jax.Array | list[jax.Array]]) -> Run:
    def run(calls: int) -> None:
        for _ in range(calls):
            out = once()
        jax.block_until_ready(out)

    return run


def _add_torch(
    config: LandmarksConfig,
    work: Workload,
    batch: dict[str, Any],
    steps: dict[str, Run],
    forwards: Mapping[int, dict[str, Run]],
) -> None:
    from lrjax.benchmark import torch_step

    variables = {name: jax.device_get(net.variables) for name, net in work.state.nets.items()}
    g1 = work.task.players["g1"].network.config
    modes: dict[str, torch_step.Mode] = {EAGER: "eager", COMPILE: "compile"}
    for name, mode in modes.items():
        steps[name] = torch_step.training(config, g1, variables, batch, mode)
        for n, contenders in forwards.items():
            contenders[name] = torch_step.forward(config, variables["g2"], n, mode)


def _first_calls(contenders: Mapping[str, Run], announce: Announce) -> dict[str, float]:
    """Seconds until the first call of each is back: mostly compilation."""
    first = {}
    for name, run in contenders.items():
        announce(f"compiling: {name}")
        start = time.perf_counter()
        run(1)
        first[name] = time.perf_counter() - start
    return first
