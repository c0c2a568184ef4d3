"""How sharp faces become low-resolution ones inside the step: a camera, subsampling, down and up.

Everything linear in the camera (defocus and motion blur, the sensor's area sampling, the
enlargement to the network's size) is separable, so one example costs two small matrix products, and
every size is a traced number: one compiled step serves sensors of all sizes. K&C learn the
degradation (G1) and do not use a camera; it serves training beyond the paper.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.config import CameraConfig

# ITU-T T.81 Annex K, Tables K.1 and K.2.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMINANCE = np.full((8, 8), 99, np.float32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# JFIF: full-range Y Cb Cr of R G B (offsets cancel here).
_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)


def blur_matrix(size: int, sigma: jax.Array) -> jax.Array:
    """Builds a Gaussian blur [size, size] of `sigma` pixels; rows sum to one."""
    offset = jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
    weights = jnp.exp(-0.5 * jnp.square(offset / jnp.maximum(sigma, 1e-3)))
    return weights / weights.sum(axis=1, keepdims=True)


def area_matrix(rows: int, columns: int, size: jax.Array) -> jax.Array:
    """Builds the area sampling [rows, columns] of `columns` pixels by `size` <= rows sensor pixels.

    Sensor pixel i averages the pixels from i·columns/size to (i+1)·columns/size; rows from `size`
    on are zero.
    """
    step = columns / size
    low = jnp.arange(rows)[:, None] * step
    left = jnp.arange(columns)[None, :]
    overlap = jnp.clip(jnp.minimum(low + step, left + 1) - jnp.maximum(low, left), 0.0, 1.0)
    overlap = jnp.where(jnp.arange(rows)[:, None] + 0.5 < size, overlap, 0.0)
    # The last pixel of a fractional sensor reaches beyond the crop: what it does see is averaged.
    return overlap / jnp.maximum(overlap.sum(axis=1, keepdims=True), 1e-6)


def resize_matrix(rows: int, columns: int, size: jax.Array) -> jax.Array:
    """Builds the bilinear resize [rows, columns] of the first `size` <= columns pixels to `rows`.

    The triangle is widened by size/rows when that shrinks, as an antialiased resize does.
    """
    ratio = size / rows
    centre = (jnp.arange(rows)[:, None] + 0.5) * ratio - 0.5
    pixel = jnp.arange(columns)[None, :]
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(pixel - centre) / jnp.maximum(ratio, 1.0))
    weights = jnp.where(pixel + 0.5 < size, weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _dct_matrix() -> np.ndarray:
    """Orthonormal DCT-II of eight samples [8 frequencies, 8 samples]."""
    k, n = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    basis = np.cos(np.pi * (2 * n + 1) * k / 16) * np.sqrt(2 / 8)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def jpeg(images: jax.Array, quality: jax.Array) -> jax.Array:
    """Quantises 8×8 blocks as a baseline JPEG without chroma subsampling does.

    Args:
      images: [B, H, W, 3] in 0..255, H and W multiples of 8.
      quality: [B] in 1..100, libjpeg's scale.

    Returns:
      [B, H, W, 3], not rounded.
    """
    b, h, w, _ = images.shape
    scale = jnp.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)[:, None, None, None]
    tables = jnp.stack([jnp.asarray(_LUMINANCE), *2 * [jnp.asarray(_CHROMINANCE)]], axis=-1)
    tables = jnp.clip(jnp.floor((tables * scale + 50.0) / 100.0), 1.0, 255.0)  # [B, 8, 8, 3]
    tables = tables[:, None, :, None, :, :]
    basis = jnp.asarray(_dct_matrix())
    blocks = ((images - 128.0) @ _YCBCR.T).reshape(b, h // 8, 8, w // 8, 8, 3)
    spectrum = jnp.einsum("ui,bhiwjc,vj->bhuwvc", basis, blocks, basis)
    spectrum = jnp.round(spectrum / tables) * tables
    blocks = jnp.einsum("ui,bhuwvc,vj->bhiwjc", basis, spectrum, basis)
    return blocks.reshape(b, h, w, 3) @ np.linalg.inv(_YCBCR).T + 128.0


def _continued(picture: jax.Array, size: jax.Array) -> jax.Array:
    """The first `size` pixels of each axis, then the last of them again, as JPEG fills its blocks.

    Without it the last block of a picture would ring from the black beyond it.
    """
    last = jnp.ceil(size - 0.5).astype(jnp.int32) - 1  # the last row that `area_matrix` fills
    kept = jnp.minimum(jnp.arange(picture.shape[0]), last)
    return picture[kept][:, kept]


def degrade(images: jax.Array, keys: jax.Array, size: int, config: CameraConfig) -> jax.Array:
    """Shows crops as a poor camera would deliver them, each with its own sensor and faults.

    Args:
      images: [B, S, S, 3] in 0..255.
      keys: [B] random keys.
      size: side of the result, which the sensor's picture is resized to.

    Returns:
      float32 [B, size, size, 3] in 0..255; points scale by size/S as under any resize.
    """
    side = images.shape[1]
    rows = -(-int(np.ceil(config.size[1])) // 8) * 8

    def draws(key: jax.Array) -> dict[str, jax.Array]:
        u = jax.random.uniform(key, (8,))
        low, high = np.log(config.size[0]), np.log(config.size[1])
        sensor = jnp.exp(low + u[0] * (high - low))
        sigma = config.blur * side * jnp.square(u[1])
        return {
            "sensor": sensor,
            # Defocus is round, motion is not: the two axes differ by up to a factor of three.
            "sigma": sigma * jnp.exp((u[2:4] - 0.5) * np.log(3.0)),
            "noise": config.noise * jnp.square(u[4]),
            "grey": u[5],
            "jpeg": u[6] < config.jpeg,
            "quality": config.quality[0] + u[7] * (config.quality[1] - config.quality[0]),
        }

    keys = jax.vmap(jax.random.split)(keys)
    d = jax.vmap(draws)(keys[:, 0])
    sample = jax.vmap(lambda s: area_matrix(rows, side, s))(d["sensor"])
    blur = jax.vmap(jax.vmap(lambda s: blur_matrix(side, s)))(d["sigma"])
    down = jnp.einsum("bsv,bavw->basw", sample, blur)
    sensed = jnp.einsum("bsv,bvwc,btw->bstc", down[:, 0], images, down[:, 1])

    def noise(key: jax.Array, strength: jax.Array, grey: jax.Array) -> jax.Array:
        raw = jax.random.normal(key, (rows, rows, 4))
        return strength * (grey * raw[..., 3:] + (1.0 - grey) * raw[..., :3])

    sensed = sensed + jax.vmap(noise)(keys[:, 1], d["noise"], d["grey"])
    sensed = jnp.clip(sensed, 0.0, 255.0)
    sensed = jax.vmap(_continued)(sensed, d["sensor"])
    coded = jnp.clip(jpeg(sensed, d["quality"]), 0.0, 255.0)
    sensed = jnp.where(d["jpeg"][:, None, None, None], coded, sensed)
    shown = jax.vmap(lambda s: resize_matrix(size, rows, s))(d["sensor"])
    return jnp.einsum("brs,bstc,bqt->brqc", shown, sensed, shown)


def subsample(images: jax.Array, factor: int, sigma: float = 1.0) -> jax.Array:
    """Smooths, then averages by `factor` (K&C §4.1, setting S1; Fig. 4, second row).

    Args:
      images: [B, S, S, C].
      factor: of the reduction. Paper: "four average pooling layers"; ours: four times, 128 -> 32.
      sigma: of the Gaussian smoothing in pixels. Paper: not said. Ours: 1.

    Returns:
      [B, S / factor, S / factor, C].
    """
    side = images.shape[1]
    sampling = area_matrix(side // factor, side, jnp.float32(side // factor))
    matrix = sampling @ blur_matrix(side, jnp.float32(sigma))
    return jnp.einsum("sv,bvwc,tw->bstc", matrix, images, matrix)


def down_up(images: jax.Array, height: int, width: int) -> jax.Array:
    """Shrinks images [B, H, W, C] in 0..255 bicubically, and enlarges them again."""
    batch, *sides, channels = images.shape
    small = jax.image.resize(images, (batch, height, width, channels), "bicubic", antialias=True)
    small = jnp.clip(small, 0.0, 255.0)
    large = jax.image.resize(small, (batch, *sides, channels), "bicubic")
    return jnp.clip(large, 0.0, 255.0)
