"""Faces to be annotated: each is cut out twice, as ALRF keeps it and with its surroundings."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import PurePath

import numpy as np
from PIL import Image

from lrjax.inference.tables import Row
from lrjax.report.draw import encode_png

SURROUNDINGS = 0.35
"""What is shown beyond a box on each side, as a share of it: people need more than the face."""


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """Hold one face. All coordinates are in pixels of its own picture, (0, 0) being the first.

    Attributes:
      file: its name in the table of annotations, and of its picture.
      source: the image it is in, as people know it.
      size: (width, height) of its picture.
      frame: (left, top, width, height) of what is shown, which is more than the picture.
      shown: PNG bytes of the frame.
      picture: PNG bytes of the face alone.
      start: [5, 2] where a network sees the points, if one was asked.
    """

    file: str
    source: str
    size: tuple[int, int]
    frame: tuple[int, int, int, int]
    shown: bytes
    picture: bytes
    start: np.ndarray | None = None


def name_of(row: Row) -> str:
    """Name the picture of a face after its image and its box, whatever other faces there are."""
    path = PurePath(row.file)
    if path.is_absolute() or ".." in path.parts:
        # What leads out of the folder would be left out of the file's name, which another has then.
        outside = hashlib.sha256(row.file.encode(errors="surrogateescape")).hexdigest()[:8]
        path = PurePath(f"{outside}_{path.name}")
    box = "" if row.box is None else "".join(f"_{v:.10g}" for v in row.box)
    return f"{path}{box}.png"


def cut_face(photo: Image.Image, row: Row, points: np.ndarray | None, file: str) -> Face:
    """Cut a face out of an image, in whole pixels, which are not resampled.

    Args:
      photo: RGB.
      row: its box, rounded to whole pixels; None: all of the image.
      points: [5, 2] in pixels of the image, where a network sees them.
      file: its name.

    Returns:
      the face, black where its box is beyond the image; what is shown ends where the image does.
    """
    x, y, w, h = row.box or (0.0, 0.0, float(photo.width), float(photo.height))
    left, top = math.floor(x + 0.5), math.floor(y + 0.5)
    right = max(left + 1, math.floor(x + w + 0.5))
    bottom = max(top + 1, math.floor(y + h + 0.5))
    beyond = math.ceil(SURROUNDINGS * math.sqrt((right - left) * (bottom - top)))
    # The box is all shown, though it may reach beyond the image.
    ends = (
        min(left, max(0, left - beyond)),
        min(top, max(0, top - beyond)),
        max(right, min(photo.width, right + beyond)),
        max(bottom, min(photo.height, bottom + beyond)),
    )
    return Face(
        file=file,
        source=row.file.encode(errors="replace").decode(),
        size=(right - left, bottom - top),
        frame=(ends[0] - left, ends[1] - top, ends[2] - ends[0], ends[3] - ends[1]),
        shown=encode_png(np.asarray(photo.crop(ends))),
        picture=encode_png(np.asarray(photo.crop((left, top, right, bottom)))),
        start=None if points is None else points - (left, top),
    )
