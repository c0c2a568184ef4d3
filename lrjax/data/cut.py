"""Cutting a square or a box out of an image at a fractional position, without aliasing."""

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
    return _cut(image, (left, top, left + side, top + side), size, size)


def cut_box(image: Image.Image, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """A box stretched to `height` x `width` pixels.

    Antialiased bicubic resampling; black beyond the image. A box that ends where the image does is
    simply resized: its rim is not mixed with the black, as that of `cut_square` is.

    Args:
      image: RGB.
      box: [4] (x, y, w, h) in pixels, covering columns x to x + w - 1.
      height, width: of the result.

    Returns:
      uint8 [height, width, 3].
    """
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    corners = tuple(float(v) for v in (left, top, right, bottom))
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=corners))
    return _cut(image, corners, height, width)


def _cut(
    image: Image.Image, corners: tuple[float, float, float, float], height: int, width: int
) -> np.ndarray:
    """What lies between two corners in an image that goes on in black."""
    left, top, right, bottom = corners
    scale = max((right - left) / width, (bottom - top) / height)
    margin = math.ceil(_KERNEL * max(1.0, scale))
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    x1, y1 = (x0 + math.ceil(right - left), y0 + math.ceil(bottom - top))
    window = image.crop((x0, y0, x1 + 2 * margin + 2, y1 + 2 * margin + 2))
    box = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(window.resize((width, height), Image.Resampling.BICUBIC, box=box))


def square_transform(centre: np.ndarray, side: float, size: int) -> tuple[float, np.ndarray]:
    """(step, offset [2]) with `image point = step * output point + offset` for `cut_square`."""
    step = side / size
    return step, np.asarray(centre, np.float64) + step / 2 - side / 2
