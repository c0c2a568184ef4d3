"""What a super-resolution network is shown: views of faces, sharp and made small.

All of it runs inside the compiled step; every face has its own random numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.data import augment, degrade
from lrjax.geometry.crop import center_crop
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation
from lrjax.tasks.landmark_views import to_unit
from lrjax.training.state import State

if TYPE_CHECKING:
    from lrjax.tasks.super_resolution import SuperResolutionConfig


def degrader(config: SuperResolutionConfig) -> degradation.Degrade:
    """`(state, views [B, H, W, 3] in 0..255, keys [B])` to small images [B, h, w, 3]."""
    if config.degradation == "generator":
        learned = degradation.degrader(config.stage1)
        return lambda state, views, keys: learned(state, to_unit(views), keys)
    ways = {
        "bicubic": lambda views: jnp.clip(bicubic(views, config.size), 0.0, 255.0),
        "subsample": lambda views: degrade.subsample(views, round(config.factors[0])),
    }
    way = ways[config.degradation]
    return lambda state, views, keys: to_unit(way(views))


def bicubic(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Images [B, H, W, C] at a height and width, antialiased where they shrink."""
    shape = (len(images), *size, images.shape[3])
    return jax.image.resize(images, shape, "bicubic", antialias=True)


def border(config: SuperResolutionConfig) -> int:
    """Pixels on each side of a view from which shifted views take what they show."""
    return int(config.translation * max(config.image_size))


def random_views(
    config: SuperResolutionConfig, key: jax.Array, step: jax.Array, part: dict[str, jax.Array]
) -> jax.Array:
    """Shifted and mirrored views [B, H, W, 3] in 0..255 of the middles of frames."""
    height, width = config.image_size
    room = 2 * border(config)
    frames = center_crop(part["images"], height + room, width + room)
    keys = per_example(stream(key, "view", step), part["example_index"])
    return augment.random_crop(frames, keys, height, width, config.flip).astype(jnp.float32)


def rows(
    config: SuperResolutionConfig,
    module: nn.Module,
    degrade: degradation.Degrade,
    state: State,
    part: dict[str, jax.Array],
) -> dict[str, jax.Array]:
    """Faces made small, enlarged in two ways, and as they were: all in about [-1, 1]."""
    views = center_crop(part["images"], *config.image_size).astype(jnp.float32)
    keys = per_example(stream(jax.random.key(0), "evaluate"), part["example_index"])
    small = degrade(state, views, keys)
    return {
        "small": small,
        "bicubic": bicubic(small, config.image_size),
        "resolved": module.apply(state.nets["resolver"].evaluation_variables, small, train=False),
        "sharp": to_unit(views),
    }


def to_bytes(images: jax.Array) -> jax.Array:
    """[-1, 1], and what is beyond, to uint8."""
    return jnp.clip(jnp.round((images + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
