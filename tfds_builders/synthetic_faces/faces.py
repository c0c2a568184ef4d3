"""The faces of the datasets, one after the other: functions of seed, identity and number alone."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..common.crops import CONTEXT
from .camera import sample_camera, take_clean, take_poor
from .people import Identity, sample_identity, sample_shot
from .scene import Head, Picture, render

_OVERSAMPLING = 2  # pixels drawn along one pixel of the poor camera
_HR_STEP, _LR_STEP = 1.6, 2.4  # mm between vertices of the head, about one pixel at the sizes drawn
_PERSON, _PICTURE = 0, 1


def person(seed: int, identity: int) -> Identity:
    """Draws the person with this number."""
    return sample_identity(np.random.default_rng([seed, identity, _PERSON]))


def high_resolution(
    seed: int, identity: int, numbers: Iterable[int], side: float
) -> Iterator[Picture]:
    """Draws good photographs of a person in which the face box has the given side, sqrt(w h)."""
    head = Head(person(seed, identity), _HR_STEP)
    for number in numbers:
        rng = np.random.default_rng([seed, identity, _PICTURE, number])
        picture = render(head, sample_shot(rng), side, _size(side))
        yield dataclasses.replace(picture, pixels=take_clean(picture.pixels, rng))


def low_resolution(
    seed: int, identity: int, numbers: Iterable[int], sides: tuple[float, float]
) -> Iterator[Picture]:
    """Draws faces whose side is between `sides` pixels, each seen by a poor camera of its own."""
    head = Head(person(seed, identity), _LR_STEP)
    for number in numbers:
        rng = np.random.default_rng([seed, identity, _PICTURE, number])
        side = math.exp(rng.uniform(*np.log(sides)))
        shot, camera = sample_shot(rng), sample_camera(rng)
        shift = rng.uniform(-0.5, 0.5, 2)
        picture = render(head, shot, side, _size(side), shift, _OVERSAMPLING)
        pixels = take_poor(picture.pixels, _OVERSAMPLING, camera, rng)
        yield dataclasses.replace(picture, pixels=pixels)


def _size(side: float) -> int:
    """The side of a picture that holds `CONTEXT` sides of the face."""
    return math.ceil(CONTEXT * side) + 1
