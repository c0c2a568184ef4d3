"""Resampling an image under any affine transform, with as many samples as shrinking asks for."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

# Source pixels around the samples: the kernel's reach, and the black in which the image ends.
_MARGIN = 3
# A transform that shrinks by less than this is taken not to shrink.
_TOLERANCE = 1e-3
# Where nothing shrinks the input is first made so many times as fine; odd, so that the centre of a
# pixel stays the centre of one.
_FINER = 3


def stretches(transforms: np.ndarray) -> np.ndarray:
    """How many input pixels an output pixel spans, along its two principal axes.

    Args:
      transforms: [..., 2, 3].

    Returns:
      [..., 2], the singular values of the linear parts, larger first.
    """
    (a, b), (c, d) = np.moveaxis(np.asarray(transforms, np.float64)[..., :2], (-2, -1), (0, 1))
    both = np.hypot(a + d, c - b), np.hypot(a - d, c + b)
    return np.stack([(both[0] + both[1]) / 2, np.abs(both[0] - both[1]) / 2], axis=-1)


def resample(image: Image.Image, transform: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image in which pixel p shows the input at transform(p); black beyond the input.

    Where the transform shrinks, each pixel is the mean of k x k bilinear samples spread evenly over
    its area, with k the least number at which they are no further apart than input pixels, so that
    nothing is skipped. Where it does not, the interpolation is bicubic, to within rounding.

    Args:
      image: RGB.
      transform: [2, 3], from output points to input points, pixel centres at integers.
      height, width: of the result.

    Returns:
      uint8 [height, width, 3].
    """
    transform = np.asarray(transform, np.float64)
    samples = max(1, math.ceil(stretches(transform)[0] - _TOLERANCE))
    # Pillow's coordinates have their origin at the corner of the first pixel.
    linear, corner = transform[:, :2], transform[:, 2] + 0.5 - transform[:, :2].sum(1) / 2
    ends = np.array([(0, 0), (width, 0), (0, height), (width, height)]) @ linear.T + corner
    low = np.maximum(np.floor(ends.min(0)), 0).astype(int) - _MARGIN
    high = np.minimum(np.ceil(ends.max(0)), image.size).astype(int) + _MARGIN
    if (high - low <= 2 * _MARGIN).any():
        return np.zeros((height, width, 3), np.uint8)
    window = image.crop((*low.tolist(), *high.tolist()))
    finer = _FINER if samples == 1 else 1
    # Pillow's own bicubic transform does not even keep a slope, and on bytes it rounds down.
    coefficients = np.column_stack([linear / samples, corner - low]) * finer
    bands = [
        band.convert("F")
        .resize((window.width * finer, window.height * finer), Image.Resampling.BICUBIC)
        .transform(
            (width * samples, height * samples),
            Image.Transform.AFFINE,
            coefficients.ravel().tolist(),
            Image.Resampling.BILINEAR,
        )
        .reduce(samples)
        for band in window.split()
    ]
    return np.stack([np.asarray(band) for band in bands], -1).round().clip(0, 255).astype(np.uint8)
