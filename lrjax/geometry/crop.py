"""Parts of images, without aliasing: boxes, squares, centres, and any affine transform.

Images are Pillow's in RGB; what is beyond them is black, unless said otherwise. Boxes are
(x, y, w, h) and cover columns x to x + w - 1. Nothing here needs JAX.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from lrjax.geometry.points import Array

# Source pixels about a part that its bicubic kernel reaches, at scale 1; or, of `resample`, also
# the black in which the image ends.
_MARGIN = 3
# Of a window on an image, and of the black about it: a larger one is cut out of a smaller image.
# Pillow refuses to cut out 2.7 times as many pixels.
_LARGEST = 1 << 26
# A transform that shrinks by less than this is taken not to shrink.
_TOLERANCE = 1e-3
# Where nothing shrinks the input is first made so many times as fine; odd, so that the centre of a
# pixel stays the centre of one.
_FINER = 3


def center_crop(images: Array, height: int, width: int) -> Array:
    """Takes the middle [height, width] of images [..., H, W, C]; its border has whole pixels."""
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]


def square_box(centre: np.ndarray, side: float) -> np.ndarray:
    """Gives the box [4] of the square of `side` pixels about `centre` [2] (x, y)."""
    x, y = (float(c) + 0.5 - side / 2 for c in centre)
    return np.array([x, y, side, side])


def square_transform(centre: np.ndarray, side: float, size: int) -> tuple[float, np.ndarray]:
    """Gives (step, offset [2]) of a square that is cropped at `size` pixels.

    image point = step * output point + offset.
    """
    step = side / size
    return step, np.asarray(centre, np.float64) + step / 2 - side / 2


def crop(
    image: Image.Image,
    box: np.ndarray,
    height: int,
    width: int,
    *,
    fade: bool = True,
    repeat: bool = False,
) -> np.ndarray:
    """Takes a box out of an image and resizes it, by antialiased bicubic interpolation.

    Args:
      image: RGB.
      box: [4] (x, y, w, h) in its pixels, at any position and of any size above 0.
      height, width: of the result.
      fade: whether the rim of a box that ends where the image does is mixed with the black beyond.
        If not, a box within the image is simply resized.
      repeat: whether the image's edge is repeated beyond it, instead of black.

    Returns:
      uint8 [height, width, 3].
    """
    left, top, right, bottom = (
        float(v) for v in (box[0], box[1], box[0] + box[2], box[1] + box[3])
    )
    inside = left >= 0 and top >= 0 and right <= image.width and bottom <= image.height
    if inside and not fade:
        corners = (left, top, right, bottom)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=corners))
    scales = (right - left) / width, (bottom - top) / height
    margin = math.ceil(_MARGIN * max(1.0, *scales))
    pixels = (right - left + 2 * margin) * (bottom - top + 2 * margin)
    # To half as many as are allowed, but still twice as fine as the result.
    factor = max(math.sqrt(_LARGEST / 2 / pixels), 2 / min(scales))
    if pixels > _LARGEST and factor < 1:
        small, there = shrink(image, factor), scale_box(np.asarray(box), factor)
        return crop(small, there, height, width, fade=fade, repeat=repeat)
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    x1, y1 = (x0 + math.ceil(right - left), y0 + math.ceil(bottom - top))
    ends = (x0, y0, x1 + 2 * margin + 2, y1 + 2 * margin + 2)
    window = _repeated(image, *ends) if repeat else image.crop(ends)
    corners = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(window.resize((width, height), Image.Resampling.BICUBIC, box=corners))


def _repeated(image: Image.Image, x0: int, y0: int, x1: int, y1: int) -> Image.Image:
    """A window on an image whose edge goes on for ever."""
    rows = np.arange(y0, y1).clip(0, image.height - 1)
    columns = np.arange(x0, x1).clip(0, image.width - 1)
    return Image.fromarray(np.asarray(image)[rows[:, None], columns])


def resample(image: Image.Image, transform: np.ndarray, height: int, width: int) -> np.ndarray:
    """Makes the image in which pixel p shows the input at transform(p).

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
    # Input pixels that an output pixel spans where it spans most.
    span = float(np.linalg.norm(transform[:, :2], ord=2))
    samples = max(1, math.ceil(span - _TOLERANCE))
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


def shrink(photo: Image.Image, factor: float) -> Image.Image:
    """Shrink a photograph to `factor` <= 1, antialiased, to within a pixel at the far edges.

    Point x becomes (x + 0.5) factor - 0.5 exactly: what a whole number of pixels cannot show at
    the right and at the bottom is cut off, not squeezed in.
    """
    width, height = (max(1, int(side * factor)) for side in photo.size)
    box = (0, 0, min(width / factor, photo.width), min(height / factor, photo.height))
    return photo.resize((width, height), Image.Resampling.LANCZOS, box=box)


def scale_box(box: np.ndarray, factor: float) -> np.ndarray:
    """Scale a box [4] with its image: its centre moves as points do, its sides scale."""
    x, y, w, h = box
    centre = (np.array([x + (w - 1) / 2, y + (h - 1) / 2]) + 0.5) * factor - 0.5
    sides = np.array([w, h]) * factor
    return np.concatenate([centre - (sides - 1) / 2, sides])
