"""Random geometry and photometry of a batch, inside the step, one key an example."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.config import AugmentConfig
from lrjax.geometry.points import Scheme, flip_points
from lrjax.geometry.transforms import apply, crop_transform, invert


def center_transforms(frame: int, size: int, count: int) -> jax.Array:
    """Gives the crop -> frame transforms [count, 2, 3] of the middles, of `size` pixels."""
    middle = (frame - size) / 2
    return jnp.tile(jnp.asarray([[1.0, 0.0, middle], [0.0, 1.0, middle]]), (count, 1, 1))


def random_transforms(keys: jax.Array, frame: int, size: int, config: AugmentConfig) -> jax.Array:
    """Draws crop -> frame transforms [B, 2, 3] (K&C §4.1: rotation, scale, translation)."""

    def one(key: jax.Array) -> jax.Array:
        u = jax.random.uniform(key, (4,), minval=-1.0)
        low, high = np.log(config.scale[0]), np.log(config.scale[1])
        scale = jnp.exp(low + (u[1] + 1.0) / 2.0 * (high - low))
        angle = jnp.deg2rad(config.rotation) * u[0]
        return crop_transform(frame, size, angle, scale, u[2:] * config.translation * size)

    return jax.vmap(one)(keys)


def whole_pixel_transforms(
    keys: jax.Array, frame: int, size: int, config: AugmentConfig
) -> jax.Array:
    """Draws crop -> frame transforms [B, 2, 3] that shift by whole pixels and do nothing else.

    `warp` then copies pixels. Shifts reach as far as the configured translation, rounded down.

    Paper: real low-resolution faces are turned and scaled as well, as far as it says. Ours: they
    keep their own pixels, as a critic that sees them interpolated again would teach blur.
    """
    reach, middle = int(config.translation * size), (frame - size) // 2

    def one(key: jax.Array) -> jax.Array:
        start = middle - jax.random.randint(key, (2, 1), -reach, reach + 1)
        return jnp.concatenate([jnp.eye(2), start.astype(jnp.float32)], axis=1)

    return jax.vmap(one)(keys)


def to_crop(points: jax.Array, crop_to_frame: jax.Array) -> jax.Array:
    """Sends frame points [B, N, 2] to pixels of the crop."""
    return apply(invert(crop_to_frame), points)


def mirror(
    images: jax.Array, points: jax.Array, visible: jax.Array, mirrored: jax.Array, scheme: Scheme
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mirrors those examples [B] whose `mirrored` is true; points change sides with the image."""
    there, seen = flip_points(points, visible, images.shape[2], scheme)
    choice = mirrored[:, None]
    return (
        jnp.where(choice[..., None, None], images[:, :, ::-1], images),
        jnp.where(choice[..., None], there, points),
        jnp.where(choice, seen, visible),
    )


def photometry(images: jax.Array, keys: jax.Array, config: AugmentConfig) -> jax.Array:
    """Changes brightness, contrast, gamma, colour gain and greyness of images in 0..255 at random.

    With all of them at zero the images come back as they are, at no cost.
    """
    options = (config.gamma, config.contrast, config.brightness, config.colour, config.grey)
    if not any(options):
        return images

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        u = jax.random.uniform(key, (8,), minval=-1.0)
        image = 255.0 * jnp.power(image / 255.0 + 1e-4, jnp.exp(u[0] * config.gamma))
        mean = image.mean()
        image = mean + (image - mean) * (1.0 + u[1] * config.contrast)
        image = image + u[2] * config.brightness * 255.0
        image = image * (1.0 + u[3:6] * config.colour)
        grey = image @ jnp.asarray([0.299, 0.587, 0.114])
        image = jnp.where((u[6] + 1.0) / 2.0 < config.grey, grey[..., None], image)
        return jnp.clip(image, 0.0, 255.0)

    return jax.vmap(one)(images, keys)


def occlusion(images: jax.Array, keys: jax.Array, config: AugmentConfig) -> jax.Array:
    """Hides a rectangle of one colour, up to two fifths of each side, of some of the images."""
    if not config.occlusion:
        return images
    size = images.shape[1]
    y, x = jnp.mgrid[:size, :size]

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        u = jax.random.uniform(key, (8,))
        inside = (jnp.abs(x - u[0] * size) < 0.2 * u[1] * size) & (
            jnp.abs(y - u[2] * size) < 0.2 * u[3] * size
        )
        return jnp.where((inside & (u[4] < config.occlusion))[..., None], 255.0 * u[5:8], image)

    return jax.vmap(one)(images, keys)


def tight_crop(
    images: jax.Array,
    keys: jax.Array,
    crop_to_frame: jax.Array,
    frame: int,
    context: float,
    config: AugmentConfig,
    points: jax.Array | None = None,
    visible: jax.Array | None = None,
) -> jax.Array:
    """Blackens what is outside the (roughly known) face box of some images, as a tight crop does.

    The box is where the face is in the crop: shifted and scaled with it, and upright. It has the
    face square's area, and an aspect around the 0.87 that annotators draw; where that leaves out a
    visible point, it is as much larger.

    Args:
      images: [B, S, S, 3] in 0..255.
      keys: [B].
      crop_to_frame: [B, 2, 3], with which they were cut; the face is in the frame's middle.
      frame: side of the frames.
      context: S over the face's side, where it is not scaled.
      config: `tight` is the probability.
      points, visible: [B, N, 2] in pixels of the images, and [B, N]; None: no points.
    """
    if not config.tight:
        return images
    size = images.shape[1]
    pixel = jnp.arange(size)
    middles = to_crop(jnp.full((len(images), 1, 2), (frame - 1) / 2), crop_to_frame)
    if points is None or visible is None:
        points, visible = middles, jnp.ones(middles.shape[:2], bool)

    def one(
        image: jax.Array,
        key: jax.Array,
        transform: jax.Array,
        middle: jax.Array,
        found: jax.Array,
        seen: jax.Array,
    ) -> jax.Array:
        u = jax.random.uniform(key, (3,), minval=-1.0)
        (a, b, _), (c, d, _) = transform
        side = size / context / jnp.sqrt(a * d - b * c)
        aspect = jnp.sqrt(0.87 * (1.0 + 0.15 * u[1]))
        half = side / 2.0 * (1.0 + 0.1 * u[0]) * jnp.stack([aspect, 1.0 / aspect])
        # Half a pixel more, so that the pixel which a point is in is seen.
        low = jnp.where(seen[:, None], found - 0.5, middle).min(0)
        high = jnp.where(seen[:, None], found + 0.5, middle).max(0)
        low, high = jnp.minimum(low, middle - half), jnp.maximum(high, middle + half)
        columns, rows = ((pixel >= low[i]) & (pixel <= high[i]) for i in range(2))
        keep = (rows[:, None] & columns[None, :]) | ((u[2] + 1.0) / 2.0 >= config.tight)
        return jnp.where(keep[..., None], image, 0.0)

    return jax.vmap(one)(images, keys, crop_to_frame, middles[:, 0], points, visible)


def random_crop(
    frames: jax.Array, keys: jax.Array, height: int, width: int, mirror: float
) -> jax.Array:
    """Takes a part [height, width] of each frame [B, H, W, C], shifted by whole pixels at random.

    `mirror` is the probability that it is mirrored.
    """
    room = jnp.asarray([frames.shape[1] - height, frames.shape[2] - width])

    def one(key: jax.Array, frame: jax.Array) -> jax.Array:
        shift, flip = jax.random.split(key)
        y, x = jax.random.randint(shift, (2,), 0, room + 1)
        crop = jax.lax.dynamic_slice(frame, (y, x, 0), (height, width, frame.shape[2]))
        return jnp.where(jax.random.bernoulli(flip, mirror), crop[:, ::-1], crop)

    return jax.vmap(one)(keys, frames)
