"""A picture to try: portraits of drawn people on a wall, large and small."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from lrjax.report.draw import encode_png
from lrjax.tfds_builders.synthetic_faces.faces import high_resolution

SIZE = (840, 520)
SIDES = (34, 54, 26, 42, 20, 54, 30)
"""Sides of the faces in each column of portraits, in pixels."""

PEOPLE = 15
"""So many are there; once all are, each is there again in another picture."""

_WALL, _FRAME, _MOUNT = (206, 200, 190), (70, 57, 46), (242, 240, 234)
_GAP = 16
_drawing = threading.Lock()


def example() -> bytes:
    """Draw the picture, as PNG, once; it is the same each time."""
    with _drawing:
        return _drawn()


@cache
def _drawn() -> bytes:
    rng = np.random.default_rng(0)
    shade = np.linspace(1.06, 0.84, SIZE[0])[:, None] + rng.normal(0, 0.006, (SIZE[1], SIZE[0], 1))
    wall = Image.fromarray(np.clip(_WALL * shade, 0, 255).astype(np.uint8))
    columns: list[list[Image.Image]] = []
    number = 0
    for side in SIDES:
        column: list[Image.Image] = []
        while not column or (len(column) + 1) * (column[0].height + _GAP) <= SIZE[1]:
            column.append(_framed(number, side))
            number += 1
        columns.append(column)
    across = sum(column[0].width for column in columns)
    gap = (SIZE[0] - across) // (len(columns) + 1)
    left = gap
    for column in columns:
        down = sum(portrait.height for portrait in column)
        step = (SIZE[1] - down) // (len(column) + 1)
        for i, portrait in enumerate(column):
            _hang(wall, portrait, left, step + i * (portrait.height + step))
        left += column[0].width + gap
    return encode_png(np.asarray(wall))


def _framed(number: int, side: float) -> Image.Image:
    """A portrait, whose face has this side, with mount and frame."""
    again, person = divmod(number, PEOPLE)
    (picture,) = high_resolution(0, 1 + person, [again], side)
    mounted = ImageOps.expand(Image.fromarray(picture.pixels), max(2, round(0.14 * side)), _MOUNT)
    return ImageOps.expand(mounted, max(1, round(0.06 * side)), _FRAME)


def _hang(wall: Image.Image, portrait: Image.Image, left: int, top: int) -> None:
    """Put a portrait on the wall, with its shadow."""
    mask = Image.new("L", wall.size)
    mask.paste(110, (left + 3, top + 5, left + portrait.width + 3, top + portrait.height + 5))
    wall.paste((40, 34, 28), mask=mask.filter(ImageFilter.GaussianBlur(4)))
    wall.paste(portrait, (left, top))
