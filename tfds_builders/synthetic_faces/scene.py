"""A head before a camera: pose, light, background, and the picture with its landmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrjax.geometry.points import IBUG68, face_box
from tfds_builders.synthetic_faces import splat
from tfds_builders.synthetic_faces.background import background
from tfds_builders.synthetic_faces.expression import Expression
from tfds_builders.synthetic_faces.head import Head
from tfds_builders.synthetic_faces.surfels import TRANSPARENT, Surfels, take

Array = np.ndarray
NECK = np.asarray([0.0, 95.0, -15.0], np.float32)
HIDDEN_BEHIND = np.where(np.arange(68) < 17, 20.0, 9.0).astype(np.float32)
"""A landmark is hidden if skin in front of it is nearer by more than this (mm).

More for the jaw, whose points on a frontal face lie where the surface turns away.
"""
_DEPTH_GRID = 96


@dataclass(frozen=True)
class Light:
    """Light in the camera's frame (y down, z towards the camera).

    Attributes:
      direction: [3] unit vector towards the key light; `key` its linear RGB [3].
      above, below: linear RGB [3] of the ambient light from the sky and from the ground.
    """

    direction: Array
    key: Array
    above: Array
    below: Array


@dataclass(frozen=True)
class Shot:
    """One picture of a person: everything but who it is.

    Attributes:
      yaw, pitch, roll: degrees; positive yaw turns the face to the viewer's right, positive pitch
        downwards, positive roll clockwise as seen.
      distance: mm from the camera to the middle of the head.
      gaze: [2] mm by which the irises are off their middle.
      outfit: which of the person's clothes, from 0.
      seed: seeds the background.
    """

    yaw: float
    pitch: float
    roll: float
    distance: float
    expression: Expression
    gaze: tuple[float, float]
    light: Light
    outfit: int
    seed: int


@dataclass(frozen=True)
class Picture:
    """A rendered face.

    Attributes:
      light: float32 [3, size, size], linear.
      points: float32 [68, 2], pixels; `visible` bool [68].
      face_box: float64 [4], in the convention of the networks.
      irises: float32 [2, 2], pixels: the centres of the irises.
    """

    light: Array
    points: Array
    visible: Array
    face_box: Array
    irises: Array


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """The rotation [3, 3] of a pose in degrees: pitch first, then yaw, then roll."""
    (cy, sy), (cp, sp), (cr, sr) = (
        (math.cos(math.radians(v)), math.sin(math.radians(v))) for v in (yaw, pitch, roll)
    )
    about_x = np.asarray([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.asarray([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


def _turn(matrix: Array, vectors: Array) -> Array:
    """matrix [3, 3] applied to [3, n], in a fixed order of operations."""
    x, y, z = vectors
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])


@dataclass(frozen=True)
class _Seen:
    """Surfels that face the camera: focal-length-one image coordinates, depth, area, colour."""

    uv: Array
    depth: Array
    colour: Array
    area: Array


def _see(surfels: Surfels, turn: Array, move: Array, shot: Shot) -> _Seen:
    """Culls, shades and projects surfels placed at `turn` p + `move`."""
    eye = _turn(turn.T, (np.asarray([0, 0, shot.distance], np.float32) - move)[:, None])
    ray = eye - surfels.points
    a = surfels.areas
    facing = a[0] * ray[0] + a[1] * ray[1] + a[2] * ray[2]
    index = np.flatnonzero(((facing > 0) | surfels.two_sided) & (surfels.opacity > TRANSPARENT))
    seen = take(surfels, index)
    facing = facing[index]
    placed = _turn(turn, seen.points) + move[:, None]
    far = np.float32(shot.distance) - placed[2]
    area = np.abs(facing) / far**3 * seen.opacity
    colour = _shade(seen, np.sign(facing), turn, shot.light)
    return _Seen(placed[:2] / far, placed[2], colour, area)


def _shade(surfels: Surfels, sign: Array, turn: Array, light: Light) -> Array:
    """Reflected light, float32 [3, n]: ambient, wrapped diffuse and a highlight."""
    a = surfels.areas
    length = np.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    inverse = sign / np.maximum(length, np.float32(1e-9))
    toward = turn.T @ light.direction.astype(np.float32)
    up = turn.T @ np.asarray([0, -1, 0], np.float32)
    half = light.direction + np.asarray([0, 0, 1])
    half = turn.T @ (half / np.linalg.norm(half)).astype(np.float32)

    def along(v: Array) -> Array:
        return (a[0] * v[0] + a[1] * v[1] + a[2] * v[2]) * inverse

    lambert, sky, shine = along(toward), along(up), np.maximum(along(half), 0)
    for _ in range(4):
        shine = shine * shine
    shine = shine * surfels.gloss * np.float32(2.2)
    out = np.empty_like(surfels.colour)
    # Light that enters skin leaves it elsewhere, red most of all: the terminator is soft and warm.
    for c, wrap in enumerate((0.24, 0.12, 0.08)):
        diffuse = np.maximum(
            lambert * np.float32(1 / (1 + wrap)) + np.float32(wrap / (1 + wrap)), 0
        )
        mean, slope = (light.above[c] + light.below[c]) / 2, (light.above[c] - light.below[c]) / 2
        irradiance = np.float32(mean) + np.float32(slope) * sky + np.float32(light.key[c]) * diffuse
        out[c] = surfels.colour[c] * irradiance + shine * np.float32(light.key[c])
    return out


def _visible(skins: Sequence[_Seen], uv: Array, depth: Array) -> Array:
    """Whether landmarks [68, 2] at `depth` [68] are not behind the skin."""
    low, high = uv.min(0), uv.max(0)
    scale = (_DEPTH_GRID - 7) / float((high - low).max())
    nearest = np.full(_DEPTH_GRID**2, -np.inf, np.float32)
    for skin in skins:
        column, row = (
            (skin.uv[k] * np.float32(scale) + np.float32(3 - low[k] * scale)).astype(np.int32)
            for k in (0, 1)
        )
        inside = (column > 0) & (column < _DEPTH_GRID) & (row > 0) & (row < _DEPTH_GRID)
        np.maximum.at(nearest, (row * _DEPTH_GRID + column)[inside], skin.depth[inside])
    own = np.floor((uv - low) * scale).astype(np.int32) + 3
    # On a steep slope the cell's nearest skin is far from the landmark: the least of nine counts.
    around = [
        nearest[(own[:, 1] + dy) * _DEPTH_GRID + own[:, 0] + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    least = np.where(np.isinf(around), np.inf, around).min(0)
    # Where all skin is under hair, nothing but hair is in front.
    return np.isinf(least) | (depth > least - HIDDEN_BEHIND)


def render(
    head: Head, shot: Shot, side: float, size: int, shift: Sequence[float] = (0.0, 0.0)
) -> Picture:
    """The picture [size, size] whose face box has the side sqrt(w h) = `side`.

    The box lies in the middle of the picture, moved by `shift` = (x, y) pixels.
    """
    rng = np.random.default_rng(shot.seed)
    turn = rotation(shot.yaw, shot.pitch, shot.roll)
    still = np.zeros(3, np.float32)
    glint = 2.4 * _turn(turn.T, shot.light.direction.astype(np.float32)[:, None])[:2, 0]
    gaze = np.asarray(shot.gaze, np.float32)
    skins = [
        _see(part, turn, still, shot)
        for part in (head.rigid_skin, head.skin(shot.expression, gaze, glint))
    ]
    extras = _see(head.extras, turn, still, shot)
    trunk = rotation(0.35 * shot.yaw, 0.1 * shot.pitch, 0.2 * shot.roll)
    step = _turn(turn, NECK[:, None])[:, 0] - _turn(trunk, NECK[:, None])[:, 0]
    torso = _see(head.torso(shot.outfit), trunk, step, shot)

    marks = head.landmarks(shot.expression)
    marks[:2, 68:] = head.iris_centres(gaze)
    placed = _turn(turn, marks)
    uv = (placed[:2] / (shot.distance - placed[2])).T
    visible = _visible(skins, uv[:68], placed[2, :68])
    box = np.asarray(face_box(uv[:68].astype(np.float64), visible, IBUG68))
    scale = side / math.sqrt(box[2] * box[3])
    # A box (x, y, w, h) has its centre at x + (w - 1) / 2.
    offset = (size - 1) / 2 + np.asarray(shift) - (box[:2] + (box[2:] - 1) / 2) * scale
    image = splat.draw(
        _place([*skins, extras], scale, offset, size),
        _place([torso], scale, offset, size),
        background(rng, size),
    )
    points = (uv * scale + offset).astype(np.float32)
    return Picture(
        light=image,
        points=points[:68],
        visible=visible,
        face_box=np.asarray(face_box(points[:68].astype(np.float64), visible, IBUG68)),
        irises=points[68:],
    )


def _place(seen: Sequence[_Seen], scale: float, offset: Array, size: int) -> splat.Splats:
    """Splats of everything that falls into the picture."""
    uv = np.concatenate([part.uv for part in seen], axis=1)
    x = uv[0] * np.float32(scale) + np.float32(offset[0])
    y = uv[1] * np.float32(scale) + np.float32(offset[1])
    depth = np.concatenate([part.depth for part in seen])
    colour = np.concatenate([part.colour for part in seen], axis=1)
    area = np.concatenate([part.area for part in seen]) * np.float32(scale * scale)
    low, high = 1.01 - splat.BORDER, size + splat.BORDER - 2.01
    keep = (x > low) & (x < high) & (y > low) & (y < high)
    if keep.all():
        return splat.Splats(np.stack([x, y]), depth, colour, area)
    keep = np.flatnonzero(keep)
    return splat.Splats(
        np.stack([x[keep], y[keep]]), depth[keep], np.take(colour, keep, axis=1), area[keep]
    )
