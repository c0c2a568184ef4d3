"""From a photograph to the square around a face, with exact coordinates."""

import dataclasses
import io
import math

import numpy as np
from PIL import Image

from lrjax.geometry.points import box_problem

from .faces import box_centre, box_side
from .files import AnnotationError

# A record holds this many face sides, enough for a view of 1.25 sides with room to rotate and move.
CONTEXT = 2.4
# Larger crops are shrunk to this side: more pixels than any network here sees.
LARGEST = 480
# Smaller crops are stored without loss: JPEG would add its own noise to native low resolution.
LOSSLESS_BELOW = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """A square crop of a photograph, encoded.

    A crop pixel p lies at `origin + (p + 0.5) / scale - 0.5` in the photograph.
    """

    image: bytes
    origin: np.ndarray
    scale: float

    def from_photo(self, points: np.ndarray) -> np.ndarray:
        """Return photograph points [..., 2] in crop pixels."""
        return (np.asarray(points, np.float64) - self.origin + 0.5) * self.scale - 0.5

    def box_from_photo(self, box: np.ndarray) -> np.ndarray:
        """Return a photograph box [4] in crop pixels: its centre moves, its size scales."""
        size = np.asarray(box, np.float64)[2:] * self.scale
        return np.concatenate([self.from_photo(box_centre(box)) - (size - 1) / 2, size])


def check_box(box: np.ndarray, photo_size: tuple[int, int] | None = None) -> None:
    """Raise AnnotationError unless `box` has an area and lies on a photograph of that size."""
    problem = box_problem(box, photo_size)
    if problem is not None:
        raise AnnotationError(problem)


def crop_face(photo: Image.Image, face_box: np.ndarray) -> Crop:
    """Cut the square of `CONTEXT` face sides around a face; black beyond the photograph.

    The square starts at a whole pixel, so a crop that is not shrunk copies the photograph's pixels.

    Raises:
      AnnotationError: if the box has no area or lies outside the photograph.
    """
    check_box(face_box, photo.size)
    length = math.ceil(CONTEXT * float(box_side(face_box))) + 1
    origin = np.round(box_centre(face_box) + 0.5 - length / 2)
    left, top = (int(v) for v in origin)
    square = photo.crop((left, top, left + length, top + length))
    side = min(length, LARGEST)
    if side < length:
        square = square.resize((side, side), Image.Resampling.LANCZOS)
    return Crop(_encode(square), origin, side / length)


def _encode(square: Image.Image) -> bytes:
    buffer = io.BytesIO()
    if square.width < LOSSLESS_BELOW:
        square.save(buffer, "PNG")
    else:
        square.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
