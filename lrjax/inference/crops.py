"""Crops: the squares of photographs that a network sees, and the way back from their pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lrjax.errors import InputError
from lrjax.geometry.crop import crop, square_box
from lrjax.geometry.points import FIVE, Scheme, box_problem, convert, face_box
from lrjax.inference.detector import detect
from lrjax.inference.images import ImageLike, as_rgb, is_one_image

REACH = 0.5
"""A crop moves at most this share of its side from where the given box put it, ..."""
ZOOM = 1.6
"""... and its side changes at most by this factor: beyond, the points are not believed."""
SLACK = 0.1
"""Crops agree whose middles are at most this share of the side apart, ..."""
SIZE_SLACK = 1.2
"""... whose sides differ at most by this factor, ..."""
TURN_SLACK = 0.1
"""... and whose angles by at most so many radians: a network sees the same in both."""

WHOLE = "whole"
"""Instead of boxes: each image is one face crop."""

LARGE = 256
"""A picture with a longer side than this is likely to be a photograph with faces in it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
    """Describe squares in photographs.

    Attributes:
      centre: [n, 2] (x, y) in the photograph's pixels.
      side: [n], in those pixels.
      angle: [n] radians; the direction of the crop's x axis in the photograph.
    """

    centre: np.ndarray
    side: np.ndarray
    angle: np.ndarray

    def scaled(self, factor: float) -> Crops:
        """Enlarge the squares about their centres."""
        return dataclasses.replace(self, side=self.side * factor)

    def take(self, which: np.ndarray) -> Crops:
        """Select crops by an index or a mask."""
        return Crops(self.centre[which], self.side[which], self.angle[which])

    def agree(self, other: Crops) -> np.ndarray:
        """Tell which crops [n] show what those of `other` show, but for the slack named above."""
        distance = np.linalg.norm(self.centre - other.centre, axis=-1) / other.side
        ratio = np.abs(np.log(self.side / other.side))
        turn = np.abs(self.angle - other.angle)
        return (distance <= SLACK) & (ratio <= math.log(SIZE_SLACK)) & (turn <= TURN_SLACK)

    def to_photo(self, points: np.ndarray, size: int) -> np.ndarray:
        """Carry points [n, N, 2] from pixels of crops of `size` pixels to those of photographs."""
        step = (self.side / size)[:, None]
        x, y = np.moveaxis(np.asarray(points, np.float64) - (size - 1) / 2, -1, 0) * step
        cosine, sine = np.cos(self.angle)[:, None], np.sin(self.angle)[:, None]
        turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
        return self.centre[:, None] + turned


def box_crops(boxes: np.ndarray, context: float) -> Crops:
    """Put squares about face boxes [n, 4]: of `context` times the box's square, at its centre."""
    boxes = np.asarray(boxes, np.float64)
    centre = boxes[:, :2] + (boxes[:, 2:] - 1) / 2
    return Crops(centre, context * np.sqrt(boxes[:, 2] * boxes[:, 3]), np.zeros(len(boxes)))


def refined_crops(
    given: Crops, points: np.ndarray, scheme: Scheme, context: float, upright: bool
) -> Crops:
    """Put squares where predicted points ask for them.

    Args:
      given: those of the boxes at hand.
      points: [n, N, 2] predicted, in photograph pixels.
      scheme: of the points.
      context: crop side over face side.
      upright: turn the crops along with the faces.

    Returns:
      the crops of the points' own face boxes, moved and scaled within `REACH` and `ZOOM`: a face
      that was lost altogether must not take the crop with it.
    """
    visible = np.ones(points.shape[:2], bool)
    angle = face_angles(points, scheme) if upright else np.zeros(len(points))
    middle = given.centre
    level = _turned(points - middle[:, None], -angle)
    found = box_crops(face_box(level, visible, scheme), context)
    moved = _turned(found.centre[:, None], angle)[:, 0]
    distance = np.linalg.norm(moved, axis=-1) / given.side
    moved = moved * np.minimum(1.0, REACH / np.maximum(distance, 1e-9))[:, None]
    side = np.clip(found.side, given.side / ZOOM, given.side * ZOOM)
    return Crops(middle + moved, side, angle)


def face_angles(points: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Measure the in-plane rotations [n] in radians of faces with points [n, N, 2]; 0 is upright.

    The direction of the eyes' line and that of the line from the eyes to the mouth, turned by a
    right angle, each weighted by its length: in a profile, whose eyes are close to each other, the
    second one decides.
    """
    five, _ = convert(points, np.ones(points.shape[:2], bool), scheme, FIVE)
    across = five[:, 1] - five[:, 0]
    down = five[:, 3:].mean(1) - five[:, :2].mean(1)
    return np.arctan2(across[:, 1] - down[:, 0], across[:, 0] + down[:, 1])


def cut_crop(
    photo: Image.Image, centre: np.ndarray, side: float, angle: float, size: int
) -> np.ndarray:
    """Cut one crop as uint8 [size, size, 3], antialiased, black beyond the photograph.

    An upright one is cut exactly as the frames of the training data are. A turned one is cut
    upright at twice the density and with room to turn, turned there, and then halved: turning at
    the final density would blur it.
    """
    if angle == 0:
        return crop(photo, square_box(centre, side), size, size)
    around = Image.fromarray(crop(photo, square_box(centre, 1.5 * side), 3 * size, 3 * size))
    cosine, sine = math.cos(angle), math.sin(angle)
    # Pillow's coordinates have their origin at the corner of the first pixel.
    middle_in, middle_out = 1.5 * size, float(size)
    shift_x = middle_in - (cosine - sine) * middle_out
    shift_y = middle_in - (sine + cosine) * middle_out
    turned = around.transform(
        (2 * size, 2 * size),
        Image.Transform.AFFINE,
        (cosine, -sine, shift_x, sine, cosine, shift_y),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(turned.resize((size, size), Image.Resampling.BICUBIC))


def is_most(box: np.ndarray, photo_size: tuple[int, int]) -> bool:
    """Tell whether a box (x, y, w, h) is most of a large picture of (width, height) pixels."""
    inside = np.minimum(box[:2] + box[2:], photo_size) - np.maximum(box[:2], 0)
    share = float(inside.prod()) / (photo_size[0] * photo_size[1])
    return max(photo_size) > LARGE and share > 0.5


def _turned(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def gather_faces(
    images: ImageLike | Sequence[ImageLike], boxes: ArrayLike | Sequence[ArrayLike] | None
) -> tuple[list[Image.Image], np.ndarray, np.ndarray]:
    """Check images and their boxes: (RGB images, boxes [n, 4], the image [n] of each box).

    Args:
      images: one or several.
      boxes: of their faces; `WHOLE`, or None for those that `detect` finds.

    Raises:
      InputError: an image or a box cannot be used, or there are not as many boxes as images.
    """
    one = is_one_image(images)
    several = cast(Sequence[ImageLike], [images] if one else images)
    photos = [as_rgb(image) for image in several]
    given: Sequence[ArrayLike]
    if boxes is None:
        found = detect(photos)
        given = [found.boxes[found.image == i] for i in range(len(photos))]
    elif isinstance(boxes, str):
        if boxes != WHOLE:
            raise InputError(f"Boxes are {boxes!r}; give [n, 4] as x, y, w, h, or {WHOLE!r}.")
        given = [(0, 0, *photo.size) for photo in photos]
    else:
        given = cast(Sequence[ArrayLike], [boxes] if one else boxes)
    if len(given) != len(photos):
        raise InputError(
            f"There are boxes for {len(given)} images and {len(photos)} images; give each image "
            "its own boxes."
        )
    parts = [_box_array(part) for part in given]
    for number, (photo, part) in enumerate(zip(photos, parts, strict=True)):
        for box in part:
            if problem := box_problem(box, photo.size):
                raise InputError(
                    f"Image {number} of {photo.width}x{photo.height} pixels: {problem} "
                    f"({', '.join(f'{v:g}' for v in box)}); give x, y, w, h in its pixels."
                )
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return photos, np.concatenate([np.zeros((0, 4)), *parts]), owner


def _box_array(boxes: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:  # text, or rows of different lengths
        raise InputError("Boxes are not an array of numbers; give [n, 4] as x, y, w, h.") from error
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim not in (1, 2) or array.shape[-1] != 4:
        raise InputError(f"Boxes have shape {array.shape}; give [n, 4] as x, y, w, h.")
    return array.reshape(-1, 4)
