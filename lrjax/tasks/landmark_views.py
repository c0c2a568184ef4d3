"""What G2 sees: labelled, real and plain views of faces, degraded as a setting asks.

All of it runs inside the compiled step. Every face has its own random numbers, derived from its
place in the global batch, so that one device and eight see the same views.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax

from lrjax.data import augment, degrade
from lrjax.geometry.points import SCHEMES
from lrjax.geometry.transforms import warp
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation
from lrjax.training.state import State

if TYPE_CHECKING:
    from lrjax.tasks.landmarks import LandmarksConfig


def to_unit(images: jax.Array) -> jax.Array:
    """0..255 to the networks' [-1, 1]."""
    return images / 127.5 - 1.0


def degrader(config: LandmarksConfig) -> degradation.Degrade:
    """`(state, views [B, V, V, 3] in 0..255, keys [B])` to G2's images [B, s, s, 3]."""
    if config.degradation == "generator":
        learned = degradation.degrader(config.stage1)
        return lambda state, views, keys: learned(state, to_unit(views), keys)
    ways: dict[str, degradation.Degrade] = {
        "none": lambda state, views, keys: to_unit(views),
        "subsample": lambda state, views, keys: to_unit(degrade.subsample(views, config.factor)),
        "camera": lambda state, views, keys: to_unit(
            degrade.degrade(views, keys, config.size, config.camera)
        ),
    }
    return ways[config.degradation]


def labelled_views(
    config: LandmarksConfig, key: jax.Array, step: jax.Array, part: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Augmented views in 0..255, their points in pixels of G2's image, and what is visible."""
    keys = partial(keys_of, key, step, part["example_index"])
    view_to_frame = augment.random_transforms(
        keys("view"), part["images"].shape[1], config.image_size, config.augment
    )
    images = warp(part["images"], view_to_frame, config.image_size)
    points, visible = augment.to_crop(part["points"], view_to_frame), part["visible"]
    if config.augment.flip > 0:
        flips = jax.vmap(lambda k: jax.random.bernoulli(k, config.augment.flip))(keys("flip"))
        images, points, visible = augment.mirror(
            images, points, visible, flips, SCHEMES[config.scheme]
        )
    images = _appearance(config, keys, images)
    return images, (points + 0.5) / config.factor - 0.5, visible


def keys_of(key: jax.Array, step: jax.Array, place: jax.Array, name: str) -> jax.Array:
    """The keys [B] of one random choice, `name`, for the examples at `example_index`."""
    return per_example(stream(key, name, step), place)


def _appearance(
    config: LandmarksConfig, keys: Callable[[str], jax.Array], images: jax.Array
) -> jax.Array:
    images = augment.photometry(images, keys("photometry"), config.augment)
    images = augment.occlusion(images, keys("occlusion"), config.augment)
    return augment.tight_crop(images, keys("tight"), config.context, config.augment)


def real_views(
    config: LandmarksConfig, key: jax.Array, step: jax.Array, part: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Augmented native faces [B, s, s, 3] in [-1, 1], and their view -> frame transforms."""
    keys = partial(keys_of, key, step, part["example_index"])
    view_to_frame = augment.random_transforms(
        keys("real_view"), part["images"].shape[1], config.size, config.augment
    )
    images = warp(part["images"], view_to_frame, config.size)
    images = _appearance(config, lambda name: keys("real_" + name), images)
    return to_unit(images), view_to_frame


def plain_views(
    config: LandmarksConfig,
    degrade: degradation.Degrade,
    state: State,
    part: dict[str, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Unaugmented faces as G2 sees them, and their points; degraded alike in every evaluation."""
    frame = part["images"].shape[1]
    view_to_frame = augment.center_transforms(frame, config.image_size, len(part["images"]))
    views = warp(part["images"], view_to_frame, config.image_size)
    keys = keys_of(jax.random.key(0), 0, part["example_index"], "evaluate")
    points = augment.to_crop(part["points"], view_to_frame)
    return degrade(state, views, keys), (points + 0.5) / config.factor - 0.5
