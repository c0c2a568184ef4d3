"""A photograph of a crowd: people on stands, whose faces are small."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from .camera import take_clean
from .faces import person
from .fields import Array
from .people import Shot, sample_shot
from .scene import Head, background, render

WIDTH, HEIGHT = 960, 424

# Of each row of the stands, from the back: the side sqrt(w h) of its faces, and how many there are.
_ROWS = ((16, 17), (19, 15), (23, 13), (28, 11), (35, 9), (45, 7))
_FIRST = 96  # row of pixels of the middles of the hindmost faces
_STEP = 2.4  # mm between vertices of the head
_FACES, _SCENE = 4_000_000, 5_000_000
_ROOM, _LOWER = 3.4, 0.5  # sides of a face that are drawn of a person, and of these more below it
_MOST_YAW = 35.0


@dataclass(frozen=True)
class Crowd:
    """A photograph and its truth, in its pixels.

    Attributes:
      pixels: sRGB, uint8 [HEIGHT, WIDTH, 3].
      boxes: float64 [n, 4] (x, y, w, h) of the faces, from the back to the front.
      points: float32 [n, 68, 2], iBUG's.
    """

    pixels: Array
    boxes: Array
    points: Array


def crowd(seed: int = 0) -> Crowd:
    """Draws a crowd; it depends on the seed alone."""
    rng = np.random.default_rng([seed, _SCENE])
    light = background(rng, max(WIDTH, HEIGHT))[:, :HEIGHT, :WIDTH].copy()
    sun = sample_shot(rng).light
    boxes, points = [], []
    number, wall = 0, _FIRST - 14
    for side, count in _ROWS:
        size = round(_ROOM * side)
        middle = wall + 0.85 * side
        for k in range(count):
            number += 1
            x = (k + 0.5 + rng.uniform(-0.14, 0.14)) * WIDTH / count
            y = middle + rng.uniform(-0.12, 0.12) * side
            left, top = round(x - size / 2), round(y - (0.5 - _LOWER / _ROOM) * size)
            patch = _window(light, left, top, size)
            shot = dataclasses.replace(_shot(rng), light=sun)
            head = Head(person(seed, _FACES + number), _STEP)
            seen = render(head, shot, side, size, (0.0, -_LOWER * side), place=patch)
            _put(light, seen.pixels, left, top)
            corner = np.array([left, top])
            boxes.append(seen.face_box + np.concatenate([corner, np.zeros(2)]))
            points.append(seen.points + corner)
        wall = round(middle + 1.15 * side)
        if side != _ROWS[-1][0]:
            _draw_wall(light, wall, side, rng)
    pixels = take_clean(light, rng)
    return Crowd(pixels, np.array(boxes), np.array(points, np.float32))


def _shot(rng: np.random.Generator) -> Shot:
    """Draws how a person looks: about towards the camera."""
    shot = sample_shot(rng)
    while abs(shot.yaw) > _MOST_YAW:
        shot = sample_shot(rng)
    return shot


def _draw_wall(light: Array, top: int, side: int, rng: np.random.Generator) -> None:
    """Draws the wall in front of a row, in place: it hides where people end."""
    colour = np.float32(rng.uniform(0.12, 0.3) * (1 + rng.normal(0, 0.06, 3))).reshape(3, 1, 1)
    edge = max(1, side // 12)
    light[:, top : top + edge] = 1.8 * colour
    light[:, top + edge :] = colour


def _window(light: Array, left: int, top: int, size: int) -> Array:
    """A square of the light [3, size, size]; beyond the border that of the border."""
    rows = np.arange(top, top + size).clip(0, light.shape[1] - 1)
    columns = np.arange(left, left + size).clip(0, light.shape[2] - 1)
    return light[:, rows[:, None], columns]


def _put(light: Array, patch: Array, left: int, top: int) -> None:
    """Puts a square back, as far as it is within."""
    low_x, low_y = max(left, 0), max(top, 0)
    part = patch[:, low_y - top :, low_x - left :]
    target = light[:, low_y : low_y + part.shape[1], low_x : low_x + part.shape[2]]
    target[:] = part[:, : target.shape[1], : target.shape[2]]
