"""The faces of the dataset, one after the other: a pure function of seed, identity and number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tfds_builders.synthetic_faces.camera import sample_camera, take_clean, take_poor
from tfds_builders.synthetic_faces.head import Head
from tfds_builders.synthetic_faces.identity import Identity, sample_identity
from tfds_builders.synthetic_faces.sampling import sample_shot
from tfds_builders.synthetic_faces.scene import Picture, render

CONTEXT = 2.4
"""Side of a crop in sides of the face."""
OVERSAMPLING = 2
"""Pixels drawn along one pixel of the poor camera."""
HR_STEP, LR_STEP = 1.6, 2.4
"""Millimetres between the vertices of the head, about one pixel at the sizes drawn."""
_PERSON, _PICTURE = 0, 1


@dataclass(frozen=True)
class FaceImage:
    """A finished picture with its truth; all coordinates are its pixels.

    Attributes:
      pixels: uint8 [size, size, 3], sRGB.
      points: float32 [68, 2] iBUG; `visible` bool [68], False where the head itself hides them.
      face_box: float64 [4], in the convention of the networks.
      irises: float32 [2, 2], the centres of the irises.
    """

    pixels: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    face_box: np.ndarray
    irises: np.ndarray


def person(seed: int, identity: int) -> Identity:
    """The person with this number."""
    return sample_identity(np.random.default_rng([seed, identity, _PERSON]))


def hr_head(seed: int, identity: int) -> Head:
    """The person's head, dense enough for `hr_face`."""
    return Head(person(seed, identity), HR_STEP)


def lr_head(seed: int, identity: int) -> Head:
    """The person's head, dense enough for `lr_face`."""
    return Head(person(seed, identity), LR_STEP)


def hr_face(head: Head, seed: int, identity: int, number: int, side: float) -> FaceImage:
    """A good photograph in which the face has the given side, sqrt(w h) of its face box."""
    rng = np.random.default_rng([seed, identity, _PICTURE, number])
    picture = render(head, sample_shot(rng), side, _crop_size(side))
    return _finish(picture, take_clean(picture.light, rng), 1)


def lr_face(
    head: Head, seed: int, identity: int, number: int, sides: tuple[float, float]
) -> FaceImage:
    """A face whose side is between `sides` pixels, seen by a poor camera of its own."""
    rng = np.random.default_rng([seed, identity, _PICTURE, number])
    side = math.exp(rng.uniform(*np.log(sides)))
    shot, camera = sample_shot(rng), sample_camera(rng)
    size, factor = _crop_size(side), OVERSAMPLING
    phase = rng.uniform(-0.5, 0.5, 2)
    picture = render(head, shot, side * factor, size * factor, phase * factor)
    return _finish(picture, take_poor(picture.light, factor, camera, rng), factor)


def _crop_size(side: float) -> int:
    return math.ceil(CONTEXT * side) + 1


def _finish(picture: Picture, pixels: np.ndarray, factor: int) -> FaceImage:
    """`pixels` are `factor` times coarser than the picture."""
    centre, size = picture.face_box[:2] + (picture.face_box[2:] - 1) / 2, picture.face_box[2:]
    return FaceImage(
        pixels,
        ((picture.points + 0.5) / factor - 0.5).astype(np.float32),
        picture.visible,
        np.concatenate([(centre + 0.5) / factor - 0.5 - (size / factor - 1) / 2, size / factor]),
        ((picture.irises + 0.5) / factor - 0.5).astype(np.float32),
    )
