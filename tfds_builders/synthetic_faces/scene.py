"""A head before a camera: pose, light, background, and the picture with its landmarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from lrjax.geometry.points import IBUG68, face_box

from . import anatomy, materials, parts, surfels
from .fields import Array, mix, noise
from .people import OUTFITS, Identity, Shot

_NECK = np.float32([0, 95, -15])
# A landmark is hidden if skin in front of it is nearer by more than this (mm): more for the jaw,
# whose points on a frontal face lie where the surface turns away.
_HIDDEN_BEHIND = np.where(np.arange(68) < 17, 20.0, 9.0).astype(np.float32)
_DEPTH_GRID = 96


@dataclass(frozen=True)
class Picture:
    """A picture of a face with its truth; all coordinates are its pixels.

    Attributes:
      pixels: linear light, float32 [3, h, h], as rendered; sRGB, uint8 [size, size, 3], as taken
        by a camera.
      points: float32 [68, 2] iBUG; `visible` bool [68], False where the head itself hides them.
      face_box: float64 [4], in the convention of the networks.
      irises: float32 [2, 2], the centres of the irises.
    """

    pixels: Array
    points: Array
    visible: Array
    face_box: Array
    irises: Array


class Head:
    """A person's head and outfits as surfaces whose vertices are `step` mm apart.

    Attributes:
      scalp: cloud of the skin that no expression moves.
      still: cloud of what hides no landmark: ears, hair and glasses.
      torsos: clouds of neck and shoulders, one an outfit, half as dense.
    """

    def __init__(self, person: Identity, step: float) -> None:
        self._iris = person.iris
        mesh = anatomy.mesh(step)
        self._face, block = anatomy.face(mesh)
        neutral = anatomy.surface(mesh, person.shape)
        covered, hair = parts.hair(mesh, neutral, person)
        masks = materials.masks(mesh)
        albedo = mix(materials.albedo(mesh, person), person.hair * np.float32(0.3), covered)
        albedo *= 1 - masks["occlusion"]
        gloss = (0.035 + 0.07 * masks["oily"] + 0.09 * masks["lips"]) * (1 - masks["brow"])
        # Between curls one sees the head.
        bare = 1 - covered * (person.hair_style != "curly")
        self._neutral, self._albedo = neutral[:, *block], albedo[:, *block]
        self._bare, self._gloss = bare[block].copy(), gloss[block]
        bare[block] = 0
        self.scalp = surfels.from_mesh(neutral, albedo, opacity=bare, gloss=gloss)
        self._marks = anatomy.surface(anatomy.landmarks(), person.shape)
        frames = parts.glasses(person, self._marks[:, 36:48].reshape(3, 2, 6).mean(2), step)
        self.still = np.hstack([parts.ears(person, step), *hair, *frames])
        self.torsos = [parts.torso(person, outfit, step) for outfit in range(OUTFITS)]

    def landmarks(self, expression: Mapping[str, float], gaze: Sequence[float] = (0, 0)) -> Array:
        """Computes the 68 points and the centres of the irises, [3, 70] in mm."""
        moved = anatomy.landmarks().move(self._marks, expression)
        # Irises keep their place between the corners of the eyes, whatever the lids do.
        middle = self._marks[:2, [[36, 39], [42, 45]]].mean(2)
        moved[:2, 68:] = middle + np.float32(gaze)[:, None] + np.float32([[0], [-0.6]])
        return moved

    def face(self, expression: Mapping[str, float], irises: Array, glint: Array) -> Array:
        """Makes the cloud of the face, with irises at x, y [2, 2] in mm and a highlight in them."""
        points, albedo = self._face.move(self._neutral, expression), self._albedo.copy()
        materials.draw_mouth(albedo, self._face, expression.get("jaw", 0.0))
        materials.draw_eyes(albedo, self._face, points, irises, self._iris, glint)
        return surfels.from_mesh(points, albedo, opacity=self._bare, gloss=self._gloss)


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Computes the rotation [3, 3] of a pose in degrees: pitch first, then yaw, then roll."""
    turn = Rotation.from_euler("xyz", [-pitch, yaw, roll], degrees=True)
    return turn.as_matrix().astype(np.float32)


def render(
    head: Head,
    shot: Shot,
    side: float,
    size: int,
    shift: Sequence[float] = (0.0, 0.0),
    fineness: int = 1,
    place: Array | None = None,
) -> Picture:
    """Renders the picture [size, size] whose face box has the side sqrt(w h) = `side`.

    The box lies in the middle of the picture, moved by `shift` = (x, y) pixels. The light has
    `fineness` values along each pixel, [3, size * fineness, size * fineness]; so has the `place`
    behind the head, which is otherwise that of the shot.
    """
    turn = rotation(shot.yaw, shot.pitch, shot.roll)
    trunk = rotation(0.35 * shot.yaw, 0.1 * shot.pitch, 0.2 * shot.roll)
    still, view = np.zeros(3, np.float32), (shot.distance, shot.light)
    marks = head.landmarks(shot.expression, shot.gaze)
    glint = 2.4 * (turn.T @ shot.light[0].astype(np.float32))[:2]
    face = head.face(shot.expression, marks[:2, 68:], glint)
    seen = [surfels.see(part, turn, still, *view) for part in (head.scalp, face, head.still)]
    seen += [surfels.see(head.torsos[shot.outfit], trunk, (turn - trunk) @ _NECK, *view)]
    scalp, face, around, _ = (part.shape[1] for part in seen)
    splats = np.hstack(seen)

    marks = surfels.rotate(turn, marks)
    uv = (marks[:2] / (np.float32(shot.distance) - marks[2])).T
    visible = _visible(splats[:, : scalp + face], uv[:68], marks[2, :68])
    box = np.asarray(face_box(uv[:68].astype(np.float64), visible, IBUG68))
    scale = side / math.sqrt(box[2] * box[3])
    # A box (x, y, w, h) has its centre at x + (w - 1) / 2.
    offset = (size - 1) / 2 + np.asarray(shift) - (box[:2] + (box[2:] - 1) / 2) * scale
    corner = np.float32((offset + 0.5) * fineness - 0.5)
    splats[:2] = splats[:2] * np.float32(scale * fineness) + corner[:, None]
    splats[6] *= np.float32((scale * fineness) ** 2)
    if place is None:
        place = background(np.random.default_rng(shot.seed), size * fineness)
    light = surfels.draw(splats, scalp + face + around, place)
    points = (uv * scale + offset).astype(np.float32)
    box = np.asarray(face_box(points[:68].astype(np.float64), visible, IBUG68))
    return Picture(light, points[:68], visible, box, points[68:])


def _visible(skin: Array, uv: Array, depth: Array) -> Array:
    """Whether landmarks [68, 2] at `depth` [68] are not behind the skin's splats."""
    low = uv.min(0)
    scale = (_DEPTH_GRID - 7) / (uv - low).max()
    x, y = (skin[:2] - low[:, None]) * scale + np.float32(2.5)
    near = (x > 0) & (x < _DEPTH_GRID - 1) & (y > 0) & (y < _DEPTH_GRID - 1)
    _, nearest = surfels.front_depth(x[near], y[near], skin[2, near], _DEPTH_GRID)
    # On a steep slope the cell's nearest skin is far from the landmark: the least of nine counts.
    nearest = np.where(np.isinf(nearest), np.inf, nearest).reshape(_DEPTH_GRID, _DEPTH_GRID)
    column, row = np.rint((uv - low) * scale + 2.5).astype(int).T
    least = surfels.over_nine(nearest, np.minimum)[row - 1, column - 1]
    # Where all skin is under hair, nothing but hair is in front.
    return np.isinf(least) | (depth > least - _HIDDEN_BEHIND)


def background(rng: np.random.Generator, size: int) -> Array:
    """Draws a blurred place, float32 [3, size, size] in linear light."""
    base = rng.uniform(25, 225) + rng.normal(0, 9, 3)
    coarse = base + rng.normal(0, 26, (3, 3, 1)) + rng.normal(0, 9, (3, 3, 3))
    image = Image.fromarray(np.clip(coarse, 4, 250).astype(np.uint8))
    image = image.resize((64, 64), Image.Resampling.BICUBIC)
    if rng.random() < 0.75:
        draw = ImageDraw.Draw(image)
        for _ in range(rng.integers(2, 12)):
            x, y, w, h = *rng.uniform(-8, 64, 2), *rng.uniform(3, 34, 2)
            colour = np.clip(base + rng.normal(0, 38) + rng.normal(0, 16, 3), 0, 255)
            kind = draw.ellipse if rng.random() < 0.3 else draw.rectangle
            kind((x, y, x + w, y + h), fill=tuple(colour.astype(int)))
        image = image.resize((int(rng.integers(14, 50)),) * 2, Image.Resampling.BILINEAR)
    half = (size + 1) // 2
    blurred = np.asarray(image.resize((half, half), Image.Resampling.BICUBIC), np.float32)
    grain = noise(rng, (half, half), (half // 2, half // 2)) * np.float32(rng.uniform(0, 5))
    image = Image.fromarray(np.clip(blurred + grain[..., None], 0, 255).astype(np.uint8))
    srgb = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    # The square is near enough to sRGB's curve for a place that nobody knows.
    return (srgb.transpose(2, 0, 1) * np.float32(1 / 255)) ** 2
