"""A photograph of drawn faces, which a face detector finds."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from lrjax.tfds_builders.synthetic_faces.faces import high_resolution


@cache
def _face(identity: int) -> tuple[np.ndarray, np.ndarray]:
    (picture,) = high_resolution(0, identity, [0], 60)
    return picture.pixels, np.asarray(picture.face_box, np.float64)


def crowd() -> tuple[Image.Image, np.ndarray]:
    """Three people in a row, and their face boxes [3, 4] (x, y, w, h)."""
    faces = [_face(identity) for identity in (1, 2, 3)]
    high, wide = faces[0][0].shape[:2]
    photo = Image.new("RGB", (3 * wide, high + 20), (120, 130, 140))
    for i, (pixels, _) in enumerate(faces):
        photo.paste(Image.fromarray(pixels), (i * wide, 10))
    return photo, np.stack([np.add(box, (i * wide, 10, 0, 0)) for i, (_, box) in enumerate(faces)])
