"""Facial expressions: smooth displacements of the surface, linear in a few coefficients."""

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np

from tfds_builders.synthetic_faces import anatomy
from tfds_builders.synthetic_faces.anatomy import LIP_LINE, bump, lids, slot, smoothstep
from tfds_builders.synthetic_faces.grid import Grid

JAW_DROP = 24.0
"""How far, in mm, `jaw` = 1 lowers the middle of the lower lip."""


@dataclass(frozen=True)
class Expression:
    """Coefficients, 0 for a neutral face.

    Attributes:
      jaw: 0 to 1, the mouth opens.
      smile: -0.5 to 1, the corners of the mouth rise and widen.
      pucker: 0 to 1, the lips move forward and together.
      brow_raise: -0.5 to 1.
      frown: 0 to 1, the inner brows approach.
      blink: -0.3 (wide open) to 1 (closed), both eyes.
      wink: -0.3 to 1, added to the viewer's left eye.
    """

    jaw: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    brow_raise: float = 0.0
    frown: float = 0.0
    blink: float = 0.0
    wink: float = 0.0


def displacements(a: np.ndarray, r: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The displacement, in mm, of each coefficient of `Expression`: float32 [7, 3, ...].

    Takes azimuths, rows and chart coordinates X that broadcast together.
    """
    a, r, x = np.broadcast_arrays(a, r, x)
    side, sign = np.abs(x), np.sign(x)
    zero = np.zeros_like(x)
    jaw = _jaw(a, r, x)
    lips = np.exp(-(((r - LIP_LINE) / 11) ** 2))
    corner = bump(side, r, 26, LIP_LINE, 12, 10)
    cheek = bump(side, r, 42, 36, 14, 12)
    stretch = x / 26 * np.exp(-((side / 36) ** 4)) * lips
    smile = (
        6.0 * stretch + sign * cheek,
        -5.5 * corner + 1.0 * bump(x, r, 0, LIP_LINE, 12, 8) - 3.0 * cheek
        - 1.4 * bump(side, r, 32, 8, 13, 6),
        -3.5 * corner + 4.0 * cheek,
    )  # fmt: skip
    pucker = (-8.0 * stretch, zero, 6.0 * bump(x, r, 0, LIP_LINE, 20, 12))
    raised = bump(side, r, 36, -27, 24, 13)
    inner = bump(side, r, 16, -23, 11, 9)
    closing = _blink(x, r) * (np.cos(a) > 0)
    left = closing * (x < 0)
    fields = (
        (zero, JAW_DROP * jaw, -0.3 * JAW_DROP * jaw),
        smile,
        pucker,
        (zero, -7.0 * raised, 1.0 * raised),
        (-3.0 * sign * inner, 3.5 * inner, 1.5 * inner),
        (zero, closing, 0.06 * closing),
        (zero, left, 0.06 * left),
    )
    return np.asarray([np.stack(field) for field in fields], np.float32)


def _jaw(a: np.ndarray, r: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The share of the jaw's drop: 1 at the chin, 0 above the mouth, torn between the lips."""
    gap = slot(x)
    above, below = LIP_LINE - gap - r, r - LIP_LINE - gap

    def whole(row: np.ndarray) -> np.ndarray:
        return smoothstep(row, 44, 92)

    opening = np.clip(1 - (x / anatomy.SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.6
    upper = -whole(np.minimum(r, LIP_LINE - gap)) * np.exp(-((np.maximum(above, 0) / 12) ** 2))
    lower = 1 - whole(np.maximum(r, LIP_LINE + gap))
    lower = lower * np.exp(-((np.maximum(below, 0) / 20) ** 2))
    # Above the opening `part` is 0, below it 1.
    part = np.clip((r - LIP_LINE + gap) / np.maximum(2 * gap, 1e-6), 0, 1)
    torn = opening * (upper + (lower - upper) * part)
    return (whole(r) + torn) * np.clip(np.cos(a), 0, 1) ** 0.7


def _blink(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """How far, in mm, each point sinks when the upper lid closes onto the lower."""
    u, upper, lower = lids(x)
    lid = smoothstep(r, upper - 12, upper)
    within = np.clip((lower - r) / np.maximum(lower - upper, 1e-6), 0, 1)
    share = np.where(r < upper, lid, within)
    return np.where(np.abs(u) < 1, 0.96 * (lower - upper) * share, 0)


@lru_cache
def field(grid: Grid) -> tuple[slice, slice, np.ndarray]:
    """(rows, columns, displacements [7, 3, R', C']): the part of the mesh that expressions move."""
    rows = slice(*np.searchsorted(grid.row[:, 0], [-58, anatomy.THROAT + 1]))
    columns = slice(*np.searchsorted(grid.azimuth[0], np.radians([-89, 89])))
    return rows, columns, displacements(
        grid.azimuth[:, columns], grid.row[rows], grid.chart[rows, columns]
    )  # fmt: skip


@lru_cache
def landmark_field() -> np.ndarray:
    """The displacements [7, 3, 70] of the landmarks."""
    a, r = anatomy.landmark_chart()
    return displacements(a, r, anatomy.chart(a, r))


def move(points: np.ndarray, fields: np.ndarray, expression: Expression) -> np.ndarray:
    """`points` [3, ...] displaced by the expression; zero coefficients cost nothing."""
    moved = points.copy()
    for weight, displacement in zip(astuple(expression), fields, strict=True):
        if weight:
            moved += np.float32(weight) * displacement
    return moved
