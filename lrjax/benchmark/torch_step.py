"""The step of setting S4 once more in PyTorch: the same work on the same batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrjax.benchmark import torch_networks
from lrjax.benchmark.timing import Run
from lrjax.config import AugmentConfig
from lrjax.data.faces import FRAME
from lrjax.geometry.heatmaps import THRESHOLD
from lrjax.geometry.points import SCHEMES
from lrjax.models.s2ld import DegraderConfig
from lrjax.tasks.landmarks import LandmarksConfig

Mode = Literal["eager", "compile"]
Batch = Mapping[str, Mapping[str, Any]]


def obstacle(config: LandmarksConfig) -> str | None:
    """Say why there is no twin of this configuration, or None if there is."""
    geometry = AugmentConfig(
        rotation=config.augment.rotation,
        scale=config.augment.scale,
        translation=config.augment.translation,
    )
    s4 = (
        config.degradation == "generator"
        and config.critics == ("heatmap", "confidence")
        and config.objective == "heatmap"
        and config.consistency == 0
        and config.average is None
        and config.augment == geometry
        and config.optimizer.method == "adam"
        and config.optimizer.clip_norm is None
        and config.optimizer.weight_decay == 0
    )
    return None if s4 else "the PyTorch twin exists for setting S4 alone"


def training(
    config: LandmarksConfig,
    g1: DegraderConfig,
    variables: Mapping[str, Any],
    batch: Batch,
    mode: Mode,
) -> Run:
    """Return what trains on a constant batch, from the Flax variables of each network."""
    step = Step(config, g1, variables, accelerator(), mode)
    on_device, count = tensors(batch, step.device), len(batch["labelled"]["images"])
    return _repeated(lambda: step(on_device, step.draw(count)))


def forward(config: LandmarksConfig, variables: Mapping[str, Any], batch: int, mode: Mode) -> Run:
    """Return what computes G2's maps of `batch` faces."""
    device = accelerator()
    net = torch_networks.UNet(3, SCHEMES[config.scheme].count, config.g2).eval()
    torch_networks.load(net, variables)
    net.to(device).to(memory_format=torch.channels_last).requires_grad_(False)
    images = torch.rand(batch, 3, config.size, config.size, device=device) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)
    run = torch.compile(net) if mode == "compile" else net
    return _repeated(lambda: run(images))


def accelerator() -> torch.device:
    """Return the accelerator if PyTorch has one, set to the precision that JAX uses on it."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")


def _repeated(once: Callable[[], Any]) -> Run:
    def run(calls: int) -> None:
        for _ in range(calls):
            once()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of a step: crop -> frame transforms [B, 2, 3], and G1's noise."""

    labelled: Tensor
    real: Tensor
    noise: Tensor


class Step:
    """G2, D2, D3 and the frozen G1 with their optimisers; a call trains once.

    Args:
      config: of setting S4.
      g1: of its degradation.
      variables: network name -> Flax variables to start from.
      device: where to train.
      mode: "eager", or "compile" for `torch.compile`.
    """

    def __init__(
        self,
        config: LandmarksConfig,
        g1: DegraderConfig,
        variables: Mapping[str, Any],
        device: torch.device,
        mode: Mode,
    ) -> None:
        points = SCHEMES[config.scheme].count
        self.config, self.noise, self.device = config, g1.noise, device
        self.nets: dict[str, nn.Module] = {
            "g1": torch_networks.HighToLow(g1),
            "g2": torch_networks.UNet(3, points, config.g2),
            "d2": torch_networks.UNet(points + 4, points, config.d2),
            "d3": torch_networks.Critic(points + 4, config.size, config.d3),
        }
        for name, net in self.nets.items():
            torch_networks.load(net, variables[name])
            net.to(device).to(memory_format=torch.channels_last).train(name != "g1")
        self.nets["g1"].requires_grad_(False)
        rate, betas = config.optimizer.learning_rate, (config.optimizer.b1, config.optimizer.b2)
        self.optimizers = [
            torch.optim.Adam(self.nets[name].parameters(), rate, betas, fused=True)
            for name in ("g2", "d2", "d3")
        ]
        self.k = torch.zeros((), device=device)
        self.run: Mapping[str, Callable[..., Tensor]] = self.nets
        if mode == "compile":
            self.run = {name: torch.compile(net) for name, net in self.nets.items()}

    def __call__(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Train on one batch of tensors; return the losses before the update."""
        config = self.config
        faces = batch["labelled"]
        with torch.no_grad():
            crops = warp(faces["images"], draws.labelled, config.image_size) / 127.5 - 1.0
            points = to_crop(faces["points"], draws.labelled)
            points = (points + 0.5) / config.factor - 0.5
            images = self.run["g1"](crops, draws.noise)
            real = warp(batch["real"]["images"], draws.real, config.size) / 127.5 - 1.0
            target, mask = encode(points, faces["visible"], config.size, config.g2.sigma)
        count = len(images)
        seen = torch.cat([images, real])
        maps = self.run["g2"](seen)
        holes = mask[:, :, None, None]
        fake, target = maps[:count], target * holes
        shown = torch.cat([fake * holes, maps[count:] * holes])
        pairs = torch.cat([torch.cat([target, shown[:count]]), torch.cat([images, images])], 1)
        rebuilt = self.run["d2"](pairs)
        judged = torch.cat([torch.cat([target, shown]), torch.cat([images, seen])], 1)
        scores = self.run["d3"](judged)
        true, generated = scores[:count], scores[count:]
        losses = {
            "mse": heatmap_error(fake, target, mask),
            "kp_real": heatmap_error(rebuilt[:count], target, mask),
            "kp_fake": heatmap_error(rebuilt[count:], shown[:count], mask),
            "conf": (generated - 1).square().mean(),
            "conf_d": (true - 1).square().mean()
            + generated[:count].square().mean()
            + generated[count:].square().mean(),
        }
        total = {
            "g2": config.a * losses["mse"]
            + config.b * losses["kp_fake"]
            + config.c * losses["conf"],
            "d2": losses["kp_real"] - self.k * losses["kp_fake"],
            "d3": losses["conf_d"],
        }
        for name, loss in total.items():
            parameters = list(self.nets[name].parameters())
            gradients = torch.autograd.grad(loss, parameters, retain_graph=name != "d3")
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            balance = config.gamma * losses["kp_real"] - losses["kp_fake"]
            self.k = (self.k + config.lambda_k * balance).clamp(0.0, 1.0)
        return {name: value.detach() for name, value in losses.items()}

    def draw(self, count: int) -> Draws:
        """Draw random numbers for a batch of `count` and as many real faces."""
        augment, device = self.config.augment, self.device
        shifts = dataclasses.replace(augment, rotation=0.0, scale=(1.0, 1.0))
        return Draws(
            random_transforms(count, self.config.image_size, augment, device),
            # Real faces keep their own pixels: shifts by whole ones alone.
            random_transforms(count, self.config.size, shifts, device).round(),
            torch.randn(count, self.noise, device=device),
        )


def random_transforms(count: int, size: int, config: AugmentConfig, device: torch.device) -> Tensor:
    """Draw crop -> frame transforms [count, 2, 3], as `augment.random_transforms`."""
    u = torch.rand(count, 4, device=device) * 2 - 1
    low, high = math.log(config.scale[0]), math.log(config.scale[1])
    scale = torch.exp(low + (u[:, 1] + 1) / 2 * (high - low))
    angle = math.radians(config.rotation) * u[:, 0]
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    linear = torch.stack([cosine, sine, -sine, cosine], 1).reshape(-1, 2, 2)
    middle = (size - 1) / 2 + u[:, 2:] * config.translation * size
    centre = (round(size * FRAME) - 1) / 2
    return torch.cat([linear, centre - linear @ middle[..., None]], -1)


def warp(images: Tensor, transforms: Tensor, size: int) -> Tensor:
    """Cut uint8 [B, F, F, 3] to [B, 3, size, size] in 0..255, as `geometry.transforms.warp`."""
    frame = images.shape[1]
    pixel = torch.arange(size, dtype=torch.float32, device=images.device)
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    plane = torch.stack([x, y, torch.ones_like(x)], -1)
    where = torch.einsum("hwk,bck->bhwc", plane, transforms)
    grid = (2 * where + 1) / frame - 1
    faces = images.permute(0, 3, 1, 2).float()
    return functional.grid_sample(faces, grid, padding_mode="zeros", align_corners=False)


def to_crop(points: Tensor, transforms: Tensor) -> Tensor:
    """Carry frame points [B, N, 2] to crop pixels, as `augment.to_crop`."""
    moved = points - transforms[:, None, :, 2]
    return torch.linalg.solve(transforms[:, :, :2], moved.mT).mT


def encode(points: Tensor, visible: Tensor, size: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Make maps [B, N+1, size, size] and channel mask [B, N+1], as `geometry.heatmaps`."""
    pixel = torch.arange(size, dtype=torch.float32, device=points.device)
    axes = torch.exp(-((pixel - points[..., None]) ** 2) / (2 * sigma**2))  # [B, N, 2, size]
    gaussians = axes[:, :, 1, :, None] * axes[:, :, 0, None, :]
    gaussians = torch.where(gaussians >= THRESHOLD, gaussians, 0.0)
    background = 1.0 - gaussians.amax(1, keepdim=True)
    shown = torch.where(visible[..., None, None], gaussians, 0.0)
    inside = ((points >= -0.5) & (points <= size - 0.5)).all(-1) & visible
    mask = functional.pad(inside.float(), (0, 1), value=1.0)
    maps = torch.cat([shown, background], 1).contiguous(memory_format=torch.channels_last)
    return maps, mask


def heatmap_error(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Compute `losses.regression.heatmap_error` of [B, N+1, H, W]."""
    channels = (prediction - target).square().mean((2, 3))
    return (channels * mask).sum(-1).mean()


def tensors(batch: Mapping[str, Mapping[str, np.ndarray]], device: torch.device) -> Batch:
    """Copy a batch to `device`."""
    return {
        part: {field: torch.tensor(value, device=device) for field, value in fields.items()}
        for part, fields in batch.items()
    }
