"""PyTorch's side, eager and compiled. Needs the extra `torch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lrjax.benchmark import twin, twin_step
from lrjax.benchmark.timing import Run
from lrjax.geometry.points import SCHEMES
from lrjax.tasks import degradation
from lrjax.tasks.landmarks import LandmarksConfig

MODES: tuple[twin_step.Mode, ...] = ("eager", "compile")


def device() -> torch.device:
    """The accelerator if PyTorch has one, set to the precision that JAX uses on it."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")


def training(
    config: LandmarksConfig, variables: Mapping[str, Any], batch: Mapping[str, Any], mode: str
) -> Run:
    """The step of S4 on a constant batch."""
    where = device()
    stage1 = degradation.run_config(config.stage1)
    step = twin_step.Step(config, stage1, variables, where, mode)
    tensors = twin_step.tensors(batch, where)
    count = len(batch["labelled"]["images"])
    return _repeated(lambda: step(tensors, step.draw(count)))


def forward(config: LandmarksConfig, variables: Mapping[str, Any], batch: int, mode: str) -> Run:
    """G2's maps of `batch` faces."""
    where = device()
    net = twin.UNet(3, SCHEMES[config.scheme].count, config.generator).eval()
    twin.load(net, variables)
    net.to(where, memory_format=torch.channels_last).requires_grad_(False)
    images = torch.rand(batch, 3, config.size, config.size, device=where) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)
    run = torch.compile(net) if mode == "compile" else net
    return _repeated(lambda: run(images))


def _repeated(once: Callable[[], Any]) -> Run:
    def run(calls: int) -> None:
        for _ in range(calls):
            once()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run
