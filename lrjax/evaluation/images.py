"""How near an upsampled image comes to the true one: PSNR and SSIM.

Images are [B, H, W, C] in [-1, 1], clipped here to that range. All channels and all pixels count:
the papers on super-resolution often take luminance alone and leave out a border, which gives
other numbers.
"""

import jax
import jax.numpy as jnp

RANGE = 2.0
"""From black to white."""

# Wang et al. 2004: a Gaussian window of 11 pixels with standard deviation 1.5.
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def mean_squared_errors(images: jax.Array, truth: jax.Array) -> jax.Array:
    """Average the squared errors [B] over pixels and channels."""
    return jnp.mean(jnp.square(_clip(images) - _clip(truth)), axis=(1, 2, 3))


def psnr(images: jax.Array, truth: jax.Array) -> jax.Array:
    """Compute peak signal-to-noise ratios [B] in decibels; at most 100, for equal images."""
    errors = mean_squared_errors(images, truth)
    return 10.0 * jnp.log10(RANGE**2 / jnp.maximum(errors, RANGE**2 * 1e-10))


def ssim(images: jax.Array, truth: jax.Array) -> jax.Array:
    """Compute structural similarities [B] (Wang et al. 2004), averaged over the channels.

    Windows lie inside the image, which must be at least 11 pixels high and wide.

    Raises:
      ValueError: it is smaller.
    """
    if min(images.shape[1:3]) < _WINDOW:
        raise ValueError(f"images of {images.shape[1:3]} pixels are smaller than {_WINDOW}")
    x, y = _clip(images), _clip(truth)
    mean_x, mean_y = _smooth(x), _smooth(y)
    variances = _smooth(x * x) - mean_x**2 + _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * RANGE) ** 2, (_K2 * RANGE) ** 2
    # The measure is for light, which is not negative: shift [-1, 1] to [0, 2].
    mean_x, mean_y = mean_x + 1.0, mean_y + 1.0
    light = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2.0 * covariance + c2) / (variances + c2)
    return jnp.mean(light * structure, axis=(1, 2, 3))


def _clip(images: jax.Array) -> jax.Array:
    return jnp.clip(images.astype(jnp.float32), -1.0, 1.0)


def _smooth(x: jax.Array) -> jax.Array:
    offset = jnp.arange(_WINDOW) - (_WINDOW - 1) / 2
    weights = jnp.exp(-jnp.square(offset) / (2 * _SIGMA**2))
    weights = weights / weights.sum()

    def along(x: jax.Array, axis: int) -> jax.Array:
        length = x.shape[axis] - _WINDOW + 1
        shifted = (jax.lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(_WINDOW))
        return sum(weight * part for weight, part in zip(weights, shifted, strict=True))

    return along(along(x, 1), 2)
