"""Cutting a square out of an image at a fractional position, resampled without aliasing."""

import math

import numpy as np
from PIL import Image

# Samples of the kernel that reach beyond the square, in source pixels at scale 1.
_KERNEL = 3


def cut_square(image: Image.Image, centre: np.ndarray, side: float, size: int) -> np.ndarray:
    """The square of `side` pixels around `centre`, resized to `size` pixels.

    Antialiased bicubic resampling; black beyond the image. Output pixel p shows the image at
    `centre + (p + 0.5) side / size - side / 2`, all in point coordinates.

    Args:
      image: RGB.
      centre: [2] (x, y), pixel centres at integers.
      side: in pixels of `image`, any positive number.
      size: of the result.

    Returns:
      uint8 [size, size, 3].
    """
    left, top = (float(c) + 0.5 - side / 2 for c in centre)
    margin = math.ceil(_KERNEL * max(1.0, side / size))
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    length = math.ceil(side) + 2 * margin + 2
    window = image.crop((x0, y0, x0 + length, y0 + length))
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    return np.asarray(window.resize((size, size), Image.Resampling.BICUBIC, box=box))


def square_transform(centre: np.ndarray, side: float, size: int) -> tuple[float, np.ndarray]:
    """(step, offset [2]) with `image point = step * output point + offset` for `cut_square`."""
    step = side / size
    return step, np.asarray(centre, np.float64) + step / 2 - side / 2
