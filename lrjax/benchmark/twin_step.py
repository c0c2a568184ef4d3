"""The step of setting S4 once more in PyTorch: the same work on the same batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lrjax.benchmark import twin
from lrjax.config import AugmentConfig
from lrjax.data.faces import FRAME
from lrjax.geometry.heatmaps import THRESHOLD
from lrjax.geometry.points import SCHEMES
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig

Mode = Literal["eager", "compile"]
Batch = Mapping[str, Mapping[str, Tensor]]


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of a step: view -> frame transforms [B, 2, 3], and G1's noise."""

    labelled: Tensor
    real: Tensor
    noise: Tensor


def obstacle(config: LandmarksConfig) -> str | None:
    """Why there is no twin of this configuration, or None if there is."""
    plain = AugmentConfig(
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
        and config.augment == plain
        and config.optimizer.clip_norm is None
        and config.optimizer.weight_decay == 0
    )
    return None if s4 else "the PyTorch twin exists for setting S4 alone"


class Step:
    """G2, D2, D3 and the frozen G1 with their optimisers; a call trains once.

    Args:
      config: of setting S4.
      stage1: of its degradation.
      variables: network name -> Flax variables to start from.
      device: where to train.
      mode: "eager", or "compile" for `torch.compile`.
    """

    def __init__(
        self,
        config: LandmarksConfig,
        stage1: DegradationConfig,
        variables: Mapping[str, Any],
        device: torch.device,
        mode: Mode,
    ) -> None:
        points = SCHEMES[config.scheme].count
        self.config, self.noise, self.device = config, stage1.generator.noise, device
        nets = {
            "g1": twin.HighToLow(config.image_size, stage1.generator),
            "g2": twin.UNet(3, points, config.generator),
            "d2": twin.UNet(points + 4, points, config.heatmap_critic),
            "d3": twin.Critic(points + 4, config.size, config.confidence_critic),
        }
        for name, net in nets.items():
            twin.load(net, variables[name])
            net.to(device, memory_format=torch.channels_last).train(name != "g1")
        nets["g1"].requires_grad_(False)
        self.nets = nets
        trained = [name for name in nets if name != "g1"]
        rate, betas = config.optimizer.learning_rate, (config.optimizer.b1, config.optimizer.b2)
        self.optimizers = {
            name: torch.optim.Adam(nets[name].parameters(), rate, betas, fused=True)
            for name in trained
        }
        self.k = torch.zeros((), device=device)
        self.run = nets
        if mode == "compile":
            self.run = {name: torch.compile(net) for name, net in nets.items()}

    def __call__(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Train on one batch; the losses before the update."""
        config = self.config
        faces = batch["labelled"]
        with torch.no_grad():
            views = warp(faces["images"], draws.labelled, config.image_size) / 127.5 - 1.0
            points = to_view(faces["points"], draws.labelled)
            points = (points + 0.5) / config.factor - 0.5
            images = self.run["g1"](views, draws.noise)
            real = warp(batch["real"]["images"], draws.real, config.size) / 127.5 - 1.0
            target, mask = encode(points, faces["visible"], config.size, config.sigma)
        count = len(images)
        seen = torch.cat([images, real])
        maps = self.run["g2"](seen)
        fake = maps[:count]
        pairs = torch.cat([torch.cat([target, fake]), torch.cat([images, images])], 1)
        rebuilt = self.run["d2"](pairs)
        judged = torch.cat([torch.cat([target, maps]), torch.cat([images, seen])], 1)
        scores = self.run["d3"](judged)
        true, generated = scores[:count], scores[count:]
        losses = {
            "mse": heatmap_error(fake, target, mask),
            "kp_real": heatmap_error(rebuilt[:count], target, mask),
            "kp_fake": heatmap_error(rebuilt[count:], fake, mask),
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
        for optimizer in self.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            balance = config.gamma * losses["kp_real"] - losses["kp_fake"]
            self.k = (self.k + config.lambda_k * balance).clamp(0.0, 1.0)
        return {name: value.detach() for name, value in losses.items()}

    def draw(self, count: int) -> Draws:
        """Random numbers for a batch of `count` and as many real faces."""
        config = self.config
        return Draws(
            random_views(count, config.image_size, config.augment, self.device),
            random_views(count, config.size, config.augment, self.device),
            torch.randn(count, self.noise, device=self.device),
        )


def random_views(count: int, view: int, config: AugmentConfig, device: torch.device) -> Tensor:
    """Random view -> frame transforms [count, 2, 3], as `augment.random_transforms`."""
    u = torch.rand(count, 4, device=device) * 2 - 1
    low, high = math.log(config.scale[0]), math.log(config.scale[1])
    scale = torch.exp(low + (u[:, 1] + 1) / 2 * (high - low))
    angle = math.radians(config.rotation) * u[:, 0]
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    x, y = ((view - 1) / 2 + u[:, 2:] * config.translation * view).unbind(1)
    centre = (round(view * FRAME) - 1) / 2
    return torch.stack(
        [
            torch.stack([cosine, sine, centre - (cosine * x + sine * y)], 1),
            torch.stack([-sine, cosine, centre - (cosine * y - sine * x)], 1),
        ],
        1,
    )


def warp(images: Tensor, transforms: Tensor, size: int) -> Tensor:
    """uint8 [B, F, F, 3] → float [B, 3, size, size] in 0..255, as `geometry.transforms.warp`."""
    frame = images.shape[1]
    pixel = torch.arange(size, dtype=torch.float32, device=images.device)
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    plane = torch.stack([x, y, torch.ones_like(x)], -1)
    where = torch.einsum("hwk,bck->bhwc", plane, transforms)
    grid = (2 * where + 1) / frame - 1
    faces = images.permute(0, 3, 1, 2).float()
    return functional.grid_sample(faces, grid, padding_mode="zeros", align_corners=False)


def to_view(points: Tensor, transforms: Tensor) -> Tensor:
    """Frame points [B, N, 2] in view pixels, as `augment.to_crop`."""
    moved = points - transforms[:, None, :, 2]
    return torch.linalg.solve(transforms[:, :, :2], moved.mT).mT


def encode(points: Tensor, visible: Tensor, size: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Maps [B, N+1, size, size] and channel mask [B, N+1], as `geometry.heatmaps`."""
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
    """As `losses.regression.heatmap_error`, of [B, N+1, H, W]."""
    channels = (prediction - target).square().mean((2, 3))
    return (channels * mask).sum(-1).mean()


def tensors(batch: Mapping[str, Mapping[str, np.ndarray]], device: torch.device) -> Batch:
    """A batch of ours on `device`."""
    return {
        part: {field: torch.tensor(value, device=device) for field, value in fields.items()}
        for part, fields in batch.items()
    }
