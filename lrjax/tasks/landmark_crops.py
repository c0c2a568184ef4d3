"""What G2 sees: labelled, real and plain crops of faces, degraded as a setting asks.

All of it runs inside the compiled step. Every face has its own random numbers, derived from its
place in the global batch, so that one device and eight see the same crops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import jax

from lrjax.config import AugmentConfig, CameraConfig
from lrjax.data import augment
from lrjax.data import degrade as camera
from lrjax.data.pixels import to_unit
from lrjax.geometry.points import SCHEMES
from lrjax.geometry.transforms import apply, warp
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation
from lrjax.training.nets import Nets
from lrjax.training.state import State

Part = dict[str, jax.Array]


class CropConfig(Protocol):
    """What must be known of a landmark network and its training."""

    @property
    def image_size(self) -> int: ...
    @property
    def degradation(self) -> str: ...
    @property
    def augment(self) -> AugmentConfig: ...
    @property
    def camera(self) -> CameraConfig: ...
    @property
    def size(self) -> int: ...
    @property
    def context(self) -> float: ...
    @property
    def scheme(self) -> str: ...
    @property
    def factor(self) -> int: ...


def keys_of(key: jax.Array, step: jax.Array | int, part: Part, name: str) -> jax.Array:
    """Derive the keys [B] of one random choice, `name`, for the examples of `part`."""
    return per_example(stream(key, name, step), part["example_index"])


def labelled(
    config: CropConfig, nets: Nets, state: State, part: Part
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draw augmented, degraded faces [B, s, s, 3] in [-1, 1], their points, and what is visible."""
    keys = partial(keys_of, state.key, state.step, part)
    crop_to_frame = augment.random_transforms(
        keys("view"), part["images"].shape[1], config.image_size, config.augment
    )
    images = warp(part["images"], crop_to_frame, config.image_size)
    points, visible = augment.to_crop(part["points"], crop_to_frame), part["visible"]
    images = _appearance(config, keys, images, crop_to_frame, part, points, visible)
    if config.augment.flip > 0:
        flips = jax.vmap(lambda k: jax.random.bernoulli(k, config.augment.flip))(keys("flip"))
        images, points, visible = augment.mirror(
            images, points, visible, flips, SCHEMES[config.scheme]
        )
    images = degraded(config, nets, images, keys("degrade"))
    return images, (points + 0.5) / config.factor - 0.5, visible


def real(config: CropConfig, state: State, part: Part) -> tuple[jax.Array, jax.Array]:
    """Draw native faces [B, s, s, 3] in [-1, 1], and their crop -> frame transforms.

    They are shifted by whole pixels alone.
    """
    keys = partial(keys_of, state.key, state.step, part)
    crop_to_frame = augment.whole_pixel_transforms(
        keys("real_view"), part["images"].shape[1], config.size, config.augment
    )
    images = warp(part["images"], crop_to_frame, config.size)
    images = _appearance(config, lambda name: keys("real_" + name), images, crop_to_frame, part)
    return to_unit(images), crop_to_frame


def _appearance(
    config: CropConfig,
    keys: Callable[[str], jax.Array],
    images: jax.Array,
    crop_to_frame: jax.Array,
    part: Part,
    *annotation: jax.Array,
) -> jax.Array:
    images = augment.photometry(images, keys("photometry"), config.augment)
    images = augment.occlusion(images, keys("occlusion"), config.augment)
    frame = part["images"].shape[1]
    return augment.tight_crop(
        images, keys("tight"), crop_to_frame, frame, config.context, config.augment, *annotation
    )


def degraded(config: CropConfig, nets: Nets, crops: jax.Array, keys: jax.Array) -> jax.Array:
    """Make crops [B, V, V, 3] in 0..255 what G2 sees, [B, s, s, 3] in [-1, 1]."""
    if config.degradation == "generator":
        return degradation.degrade(nets, to_unit(crops), keys)
    if config.degradation == "subsample":
        return to_unit(camera.subsample(crops, config.factor))
    if config.degradation == "camera":
        return to_unit(camera.degrade(crops, keys, config.size, config.camera))
    return to_unit(crops)


def carried(points: jax.Array, source: jax.Array, target: jax.Array) -> jax.Array:
    """Carry points from one crop of a frame to another, both given as crop -> frame."""
    return augment.to_crop(apply(source, points), target)


def unaugmented(config: CropConfig, nets: Nets, part: Part) -> tuple[jax.Array, jax.Array]:
    """Show faces as G2 sees them, and their points; degraded alike in every evaluation."""
    frames = part["images"]
    crop_to_frame = augment.center_transforms(frames.shape[1], config.image_size, len(frames))
    crops = warp(frames, crop_to_frame, config.image_size)
    keys = keys_of(jax.random.key(0), 0, part, "evaluate")
    points = augment.to_crop(part["points"], crop_to_frame)
    return degraded(config, nets, crops, keys), (points + 0.5) / config.factor - 0.5
