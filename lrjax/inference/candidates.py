"""Candidates for faces: at which scales they are sought, how they are moved, which ones are kept.

Boxes are [n, 4] as (left, top, right, bottom), the first pixel of a photograph being 1 and the last
pixel of a box in it, as in the published code of MTCNN; that code leaves the last pixel out where
P-Net is concerned.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrjax.models.mtcnn import P_NET

FACTOR = 0.709
"""Between the levels of the pyramid, unless told otherwise."""


def kept(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, *, least: bool = False
) -> np.ndarray:
    """Choose boxes, the surest first, none of which overlaps a surer one by more than a threshold.

    Args:
      boxes: [n, 4].
      scores: [n]; of equal ones the first is surer.
      threshold: of the area in common over that of both together.
      least: over that of the smaller one instead, the last pixels included.

    Returns:
      int [k], places in `boxes`.
    """
    rest = 1 if least else 0
    order = np.argsort(-scores, kind="stable")
    low, high = boxes[order, :2], boxes[order, 2:] + rest
    areas = (high - low).prod(-1)
    left = np.arange(len(order))
    chosen = []
    while len(left):
        first, left = left[0], left[1:]
        chosen.append(first)
        sides = np.minimum(high[first], high[left]) - np.maximum(low[first], low[left])
        common = np.maximum(sides, 0).prod(-1)
        both = areas[first] + areas[left] - common
        whole = np.minimum(areas[first], areas[left]) if least else both
        left = left[~(common > threshold * whole)]
    return order[chosen] if chosen else order[:0]


def pyramid(height: int, width: int, smallest: float, factor: float = FACTOR) -> Iterator[float]:
    """Yield the scales at which a face of `smallest` pixels, and larger ones, are P-Net's 12."""
    scale = P_NET / smallest
    side = min(height, width) * scale
    while side >= P_NET:
        yield scale
        scale, side = scale * factor, side * factor


def moved(boxes: np.ndarray, moves: np.ndarray, rest: int) -> np.ndarray:
    """Move the edges of boxes [n, 4] by shares [n, 4] of their sides, right - left + rest."""
    sides = boxes[:, 2:] - boxes[:, :2] + rest
    return boxes + np.tile(sides, 2) * moves


def squared(boxes: np.ndarray) -> np.ndarray:
    """Make boxes [n, 4] squares of their longer side, about their middle."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(-1, keepdims=True, initial=0.0)
    low = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([low, low + longer], axis=-1)
