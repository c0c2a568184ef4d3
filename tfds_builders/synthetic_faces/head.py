"""One person's head, ready to be posed: what is rigid, and what an expression moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfds_builders.synthetic_faces import anatomy, body, expression, hair, skin
from tfds_builders.synthetic_faces.anatomy import smoothstep
from tfds_builders.synthetic_faces.expression import JAW_DROP, Expression
from tfds_builders.synthetic_faces.grid import grid as make_grid
from tfds_builders.synthetic_faces.identity import Identity
from tfds_builders.synthetic_faces.surfels import Surfels, from_mesh, join, opaque
from tfds_builders.synthetic_faces.texture import linear, mix, tint

Array = np.ndarray
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
OUTFITS = 2
"""How many sets of clothes a person has."""
IRIS_RADIUS, PUPIL_RADIUS = 6.2, 2.5
_SCLERA, _CARUNCLE, _PUPIL = linear(226, 218, 212), linear(190, 120, 110), linear(6, 5, 5)
_TEETH, _TONGUE, _THROAT = linear(228, 220, 202), linear(150, 72, 72), linear(52, 18, 18)


@dataclass(frozen=True)
class _Region:
    """Vertices of the moving part of the mesh (flat indices) and where in the feature they lie.

    `share` is 0 to 1 from the upper to the lower edge; `opacity` how far they belong to it.
    """

    index: Array
    opacity: Array
    share: Array
    x: Array


class Head:
    """The surfaces of a person's head at a given mesh density.

    Attributes:
      person: the identity.
      step: mm between vertices.
    """

    def __init__(self, person: Identity, step: float) -> None:
        self.person, self.step = person, step
        grid = make_grid(step)
        self._landmarks = anatomy.surface(*anatomy.landmark_chart(), person.shape)
        neutral = anatomy.surface(grid.azimuth, grid.row, person.shape)
        colour, masks = skin.albedo(grid, person), skin.masks(grid)
        covered = hair.cover(grid, person)
        rows, columns, self._fields = expression.field(grid)
        gloss = (0.035 + 0.07 * masks.oily + 0.09 * masks.lips) * (1 - masks.brow)
        # Between curls one sees more hair.
        bare = 1 - covered if person.hair_style != "curly" else np.ones_like(covered)
        colour = mix(colour, person.hair * np.float32(0.3), covered)
        rigid = bare.copy()
        rigid[rows, columns] = 0
        occluded = colour * (1 - masks.occlusion)
        self.rigid_skin = opaque(from_mesh(neutral, occluded, opacity=rigid, gloss=gloss))
        self.moving_neutral = neutral[:, rows, columns]
        self._colour = np.ascontiguousarray(occluded[:, rows, columns])
        self._gloss, self._bare = gloss[rows, columns], bare[rows, columns]
        eyes = np.stack([self._landmarks[:, eye].mean(1) for eye in (LEFT_EYE, RIGHT_EYE)], axis=1)
        self.extras = opaque(
            join(
                body.ears(person, step),
                *hair.shell(grid, neutral, covered, person),
                *body.glasses(person, eyes, step),
            )
        )
        x = grid.chart[rows, columns]
        r = np.broadcast_to(grid.row[rows], x.shape)
        _, upper, lower = anatomy.lids(x)
        self._eye = _region(masks.eye[rows, columns], r - upper, lower - upper, x)
        gap = anatomy.slot(x)
        self._mouth = _region(masks.slot[rows, columns], r - anatomy.LIP_LINE + gap, 2 * gap, x)

        self._outfits: dict[int, Surfels] = {}

    def landmarks(self, face: Expression) -> Array:
        """The 68 points and the middles of the eyes, [3, 70] in mm."""
        return expression.move(self._landmarks, expression.landmark_field(), face)

    def iris_centres(self, gaze: Array) -> Array:
        """The x and y, in mm, [2, 2] of the left and the right iris, moved by `gaze` [2]."""
        corners = self._landmarks[:2, [[36, 39], [42, 45]]].mean(2)
        return (corners + np.asarray([[0.0], [-0.6]]) + gaze[:, None]).astype(np.float32)

    def torso(self, outfit: int) -> Surfels:
        """Neck and shoulders in one of the person's `OUTFITS`."""
        if outfit not in self._outfits:
            rng = np.random.default_rng([self.person.texture_seed, 3, outfit])
            self._outfits[outfit] = body.torso(rng, self.person, self.step)
        return self._outfits[outfit]

    def skin(self, face: Expression, gaze: Array, glint: Array) -> Surfels:
        """The moving part of the face; `glint` [2] is the direction of the highlight in the eye."""
        mesh = expression.move(self.moving_neutral, self._fields, face)
        colour = self._colour.copy()
        flat = colour.reshape(3, -1)
        self._draw_mouth(flat, face)
        self._draw_eyes(flat, mesh.reshape(3, -1), gaze, glint)
        return from_mesh(mesh, colour, opacity=self._bare, gloss=self._gloss)

    def _draw_mouth(self, colour: Array, face: Expression) -> None:
        """Teeth, tongue and darkness into colours [3, n]."""
        m = self._mouth
        arch = np.clip(1 - (m.x / anatomy.SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.6
        height = JAW_DROP * face.jaw * arch
        below, above = m.share * height, (1 - m.share) * height
        tooth = 0.86 + 0.14 * np.abs(np.sin(np.pi * m.x / 8.0)) ** 0.35
        teeth = tint(_TEETH, m.x) * (tooth * (1 - 0.025 * np.abs(m.x)))
        tongue = smoothstep(-above, -0.55 * JAW_DROP * max(face.jaw, 0.05), -2.0)
        deep = mix(tint(_THROAT, m.x), _TONGUE * np.float32(0.7), tongue * (np.abs(m.x) < 17))
        upper = smoothstep(8.0 - 0.012 * m.x**2 - below, -0.6, 0.6)
        lower = smoothstep(3.0 - above, -0.6, 0.6) * (face.jaw > 0.45)
        drawn = mix(deep, teeth, np.maximum(upper, 0.8 * lower) * (np.abs(m.x) < 19))
        # Lips shade what lies behind them.
        drawn = drawn * (0.45 + 0.5 * smoothstep(np.minimum(below, above), 0, 3.5))
        # Between closed lips there is only a dark line.
        drawn = drawn * min(1.0, 0.3 + 7 * face.jaw)
        colour[:, m.index] = mix(colour[:, m.index], drawn, m.opacity)

    def _draw_eyes(self, colour: Array, points: Array, gaze: Array, glint: Array) -> None:
        """Eyeballs into colours [3, n], at the points [3, n] where the expression moved them."""
        e = self._eye
        away = points[:2, e.index] - self.iris_centres(gaze)[:, (e.x > 0).astype(int)]
        distance = np.sqrt(away[0] ** 2 + away[1] ** 2)
        u = (np.abs(e.x) - anatomy.EYE_X) / anatomy.EYE_HALF_WIDTH
        white = mix(tint(_SCLERA, u), _CARUNCLE, smoothstep(-u, 0.78, 0.95)) * (1 - 0.22 * u * u)
        rays = 0.8 + 0.35 * smoothstep(distance, 1.5, 5.0)
        iris = tint(self.person.iris, u) * (rays * (1 - 0.55 * smoothstep(distance, 4.6, 6.0)))
        drawn = mix(white, iris, smoothstep(IRIS_RADIUS - distance, -0.45, 0.45))
        drawn = mix(drawn, _PUPIL, smoothstep(PUPIL_RADIUS - distance, -0.45, 0.45))
        # The upper lid and its lashes shade the eyeball.
        drawn = drawn * (0.42 + 0.58 * smoothstep(e.share, 0.0, 0.42))
        spot = (away[0] - glint[0]) ** 2 + (away[1] - glint[1]) ** 2
        drawn = np.minimum(drawn + 0.9 * np.exp(-spot / 1.1**2), 1)
        colour[:, e.index] = mix(colour[:, e.index], drawn, e.opacity)


def _region(mask: Array, depth: Array, height: Array, x: Array) -> _Region:
    index = np.flatnonzero(mask.ravel() > 0.01)
    share = np.clip(depth / np.maximum(height, 1e-6), 0, 1).ravel()[index]
    return _Region(
        index, mask.ravel()[index], share.astype(np.float32), x.ravel()[index].astype(np.float32)
    )
