"""All measurements of one configuration, in one process and one run."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from lrjax.benchmark import measure, workload
from lrjax.benchmark.timing import Run, Times, first_call, interleave
from lrjax.errors import InputError
from lrjax.tasks import landmarks, runs
from lrjax.training import parallel

CONSTANT, DEVICE_FEED, HOST_FEED = "constant batch", "device feed", "host feed"
OURS, EAGER, COMPILE = "JAX", "PyTorch, eager", "torch.compile"
PRODUCT = "matrix product"
FORWARD_BATCHES = (1, 256)


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
    """What was found; times are seconds per call.

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

    @property
    def achieved(self) -> float | None:
        """Operations per second of the step on the constant batch."""
        return None if self.flops is None else self.flops / self.steps[CONSTANT].median

    @property
    def peak(self) -> float:
        """Operations per second of the matrix product, on all devices."""
        return self.product_flops / self.steps[PRODUCT].median * self.machine["devices"]


def torch_or_explain(config: measure.Config) -> str | None:
    """Why PyTorch cannot run beside us, or None if it can."""
    if not isinstance(config, landmarks.LandmarksConfig):
        return "recognition has no PyTorch twin"
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed (pip install 'lrjax[torch]')"
    from lrjax.benchmark import twin_step

    return twin_step.obstacle(config)


def run(
    config: measure.Config,
    effort: Effort,
    folder: Path,
    *,
    with_torch: bool,
    profile: Path | None = None,
    tell: Callable[[str], None] = lambda name: None,
) -> Measurements:
    """Measure `config`, whose `stage1` is a run folder if its degradation is learnt.

    Args:
      folder: for faces that must be aligned before training; it is read until this returns.
      with_torch: whether PyTorch runs the same beside us.
      profile: folder for a trace of five steps on a constant batch.
      tell: called with what is done next.

    Raises:
      InputError: the configuration is not valid, or nothing is known of its dataset's pictures, or
        PyTorch has no twin of it.
    """
    obstacle = torch_or_explain(config) if with_torch else None
    if obstacle:
        raise InputError(f"PyTorch cannot run beside us: {obstacle}; leave out --torch.")
    tell("drawing weights and faces")
    config, data = workload.faces_to_feed(config, effort.faces, folder)
    task = runs.TASKS[runs.task_name(config)].make(config, measure.FOREVER)
    mesh = parallel.make_mesh()
    state = task.init(jax.random.key(config.train.seed))
    variables = {name: jax.device_get(net.variables) for name, net in state.nets.items()}
    batch = measure.first_batch(task, data["host"], state.key)
    tell("counting operations")
    flops = measure.step_flops(task, state, batch, mesh)

    trainings = measure.trainings(config, task, state, data, mesh)
    steps: dict[str, Run] = {**trainings, PRODUCT: measure.matrix_product(effort.product)}
    forwards: dict[int, dict[str, Run]] = {}
    if isinstance(config, landmarks.LandmarksConfig):
        forwards = {n: {OURS: measure.forward(config, state, n)} for n in FORWARD_BATCHES}
    if with_torch:
        from lrjax.benchmark import theirs

        for name, mode in ((EAGER, "eager"), (COMPILE, "compile")):
            steps[name] = theirs.training(config, variables, batch, mode)
            for n, contenders in forwards.items():
                contenders[name] = theirs.forward(config, variables["g2"], n, mode)
    first = _first_calls(steps, tell)
    for n, contenders in forwards.items():
        first |= _first_calls({f"{k}, forward {n}": r for k, r in contenders.items()}, tell)
    results = Measurements(
        images=sum(task.batch.values()),
        flops=flops,
        product_flops=2.0 * effort.product**3,
        first=first,
        steps=interleave(steps, effort.rounds, effort.seconds, tell=tell),
        forwards={
            n: interleave(contenders, effort.rounds, effort.seconds, tell=tell)
            for n, contenders in forwards.items()
        },
        machine=machine(with_torch),
    )
    if profile is not None:
        tell("profiling")
        measure.profile(trainings[CONSTANT], 5, profile)
    return results


def _first_calls(contenders: Mapping[str, Run], tell: Callable[[str], None]) -> dict[str, float]:
    first = {}
    for name, contender in contenders.items():
        tell(f"compiling: {name}")
        first[name] = first_call(contender)
    return first


def machine(with_torch: bool) -> dict[str, Any]:
    """The device and the versions that a measurement depends on."""
    found: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
    }
    if with_torch:
        import torch

        found["torch"] = torch.__version__
    return found
