"""Kinds of faces whose errors are told apart: how large they are, and how far they are turned."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrjax.geometry.points import FIVE, Scheme, convert

SIDES = (0.0, 16.0, 24.0, 32.0, 48.0, np.inf)
"""Bounds of the sides of face boxes, √(w·h) in pixels."""
YAWS = (0.0, 0.15, 0.35, np.inf)
"""Bounds of what `turned` gives; over an eye it is a half."""

Groups = dict[str, NDArray[np.bool_]]


def by_side(boxes: ArrayLike) -> Groups:
    """Group faces by the side of their boxes [n, 4], (x, y, w, h): label -> bool [n]."""
    return _between(np.sqrt(np.asarray(boxes, np.float64)[:, 2:].prod(-1)), SIDES, "{} px")


def by_yaw(points: ArrayLike, visible: ArrayLike, scheme: Scheme) -> Groups:
    """Group faces by how far they are turned aside: label -> bool [n]; see `turned`."""
    aside = turned(points, visible, scheme)
    return _between(aside, YAWS, "turned {}") | {"turned, not known": np.isnan(aside)}


def turned(points: ArrayLike, visible: ArrayLike, scheme: Scheme) -> NDArray[np.float64]:
    """Tell how far faces are turned aside, from their true points.

    It is the distance of the tip of the nose from the middle of the eyes, along the line through
    both eyes, over their distance: 0 from the front, a half where it is below an eye.

    Args:
      points: [n, N, 2].
      visible: [n, N].
      scheme: what the points are.

    Returns:
      [n] >= 0; NaN where an eye or the nose is hidden, or the eyes coincide.
    """
    points, seen = np.asarray(points, np.float64), np.asarray(visible, bool)
    five, shown = convert(points, seen, scheme, FIVE)
    left, right, nose = np.where(shown[..., None], five, np.nan)[:, :3].swapaxes(0, 1)
    line = right - left
    square = np.square(line).sum(-1)
    along = ((nose - (left + right) / 2) * line).sum(-1)
    return np.abs(along) / np.where(square > 0, square, np.nan)


def _between(values: NDArray[np.float64], bounds: tuple[float, ...], label: str) -> Groups:
    found = {}
    for low, high in pairwise(bounds):
        said = f"below {high:g}" if low == 0 else f"from {low:g}"
        said += f" to {high:g}" if low > 0 and np.isfinite(high) else ""
        found[label.format(said)] = (low <= values) & (values < high)
    return found
