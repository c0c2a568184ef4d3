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
    images: jax.Array, keys: jax.Array, context: float, config: AugmentConfig
) -> jax.Array:
    """Blackens what is outside the (roughly known) face box of some images, as a tight crop does.

    The box is the face square's, with an aspect around the 0.87 that annotators draw.
    """
    if not config.tight:
        return images
    size = images.shape[1]
    offset = jnp.abs(jnp.arange(size) - (size - 1) / 2)

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        u = jax.random.uniform(key, (3,), minval=-1.0)
        half = size / (2.0 * context) * (1.0 + 0.1 * u[0])
        aspect = jnp.sqrt(0.87 * (1.0 + 0.15 * u[1]))
        inside = (offset[:, None] < half / aspect) & (offset[None, :] < half * aspect)
        keep = inside | ((u[2] + 1.0) / 2.0 >= config.tight)
        return jnp.where(keep[..., None], image, 0.0)

    return jax.vmap(one)(images, keys)


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
