"""A photograph with the boxes and the points of its faces, enlarged until they can be seen."""

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lrjax.files import write_atomically
from lrjax.report.draw import GREEN, ORANGE, Colour, Picture, enlarge, overlay_points

FACE_SIDE = 120
"""An enlarged face is to have at least this many pixels, ..."""
LARGEST = 16_000_000
"""... as long as the whole picture has at most these."""


def enlargement(shape: tuple[int, ...], boxes: ArrayLike) -> int:
    """The whole number by which to enlarge an image [H, W, 3] with face boxes [n, 4]."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not len(boxes):
        return 1
    side = float(np.median(np.sqrt(boxes[:, 2] * boxes[:, 3])))
    room = math.isqrt(LARGEST // max(1, shape[0] * shape[1]))
    return max(1, min(math.ceil(FACE_SIDE / side), room))


def photo_overlay(image: Picture, boxes: ArrayLike, points: ArrayLike) -> Picture:
    """Boxes in orange and points in green on an enlarged photograph.

    Args:
      image: uint8 [H, W, 3].
      boxes: [n, 4] (x, y, w, h) in pixels.
      points: [n, N, 2] in pixels.
    """
    scale = enlargement(image.shape, boxes)
    canvas = enlarge(image, scale)
    if scale == 1:
        canvas = canvas.copy()
    for box in np.asarray(boxes, np.float64).reshape(-1, 4):
        _frame(canvas, box, ORANGE, scale)
    for face in np.asarray(points, np.float64):
        _points(canvas, face, scale)
    return canvas


def save_overlay(path: Path, picture: Picture) -> None:
    """Write a large [H, W, 3] picture as a PNG file, atomically.

    Without Pillow's search for the smallest file, which takes ten times as long for a twentieth of
    the size.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _points(canvas: Picture, points: np.ndarray, scale: int) -> None:
    """Draw one face in place, on the part of the canvas that it touches."""
    margin = 8
    low = np.floor(points.min(0)).astype(int) - margin
    high = np.ceil(points.max(0)).astype(int) + margin + 1
    size = np.array(canvas.shape[1::-1]) // scale
    (x0, y0), (x1, y1) = low.clip(0, size), high.clip(0, size)
    if x0 >= x1 or y0 >= y1:
        return
    window = canvas[y0 * scale : y1 * scale, x0 * scale : x1 * scale]
    seen = np.ones(len(points), bool)
    window[:] = overlay_points(window, points - (x0, y0), seen, GREEN, scale)


def _frame(canvas: Picture, box: np.ndarray, colour: Colour, scale: int) -> None:
    """Draw the outline of the pixels that a box covers, in place."""
    x, y, w, h = box * scale
    thick = max(1, scale // 3)
    size = np.array(canvas.shape[1::-1])
    low = np.round([x, y]).astype(int)
    high = np.round([x + w, y + h]).astype(int)
    (left, top), (right, bottom) = low.clip(0, size), high.clip(0, size)
    for a, b in ((low[1], low[1] + thick), (high[1] - thick, high[1])):
        canvas[max(a, 0) : max(b, 0), left:right] = colour
    for a, b in ((low[0], low[0] + thick), (high[0] - thick, high[0])):
        canvas[top:bottom, max(a, 0) : max(b, 0)] = colour
