"""Drawing dense surfaces: every vertex is a small splat that carries the area it covers.

A vertex spreads its colour over the four pixels around it, weighted with its projected area, so
the weights that reach a pixel sum to the share of it that is covered: silhouettes come out
antialiased, and the order of drawing does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

DEPTH_TOLERANCE = 7.0
"""Splats farther than this (mm) behind the front one in their pixel are hidden."""

BORDER = 3
"""Pixels around the picture that are drawn too, since splats there reach into it."""
COVER_GAIN = np.float32(1.4)
"""Closes the surface where splats are more than a pixel apart."""


@dataclass(frozen=True)
class Splats:
    """Visible-side vertices of a surface.

    Attributes:
      xy: float32 [2, n], pixels.
      depth: float32 [n], mm towards the camera.
      colour: float32 [3, n], linear light.
      area: float32 [n], pixels², zero for what is transparent.
    """

    xy: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    area: np.ndarray


def _front_depth(layers: Sequence[Splats], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The greatest depth of each pixel [stride²], and which lie within a surface, not on its edge.

    The border is included.
    """
    buffer = np.full(stride * stride, -np.inf, np.float32)
    for layer in layers:
        column, row = (layer.xy + np.float32(BORDER + 0.5)).astype(np.int32)
        np.maximum.at(buffer, row * stride + column, layer.depth)
    padded = np.pad(buffer.reshape(stride, stride), 3, mode="edge")
    # A morphological closing: fills holes of one pixel without moving silhouettes.
    closed = _over_nine(_over_nine(padded, np.maximum), np.minimum)
    within = np.isfinite(_over_nine(closed, np.minimum))
    return closed[1:-1, 1:-1].ravel(), within.ravel()


def _over_nine(values: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The extreme of each pixel and its eight neighbours, [n - 2, n - 2] of [n, n]."""
    wide = extreme(extreme(values[:, :-2], values[:, 2:]), values[:, 1:-1])
    return extreme(extreme(wide[:-2], wide[2:]), wide[1:-1])


def draw(fine: Splats, coarse: Splats, background: np.ndarray) -> np.ndarray:
    """Splats over a background [3, size, size] in linear light, float32 [3, size, size].

    The fine ones may be a pixel apart, the coarse ones two: those are drawn at half the resolution.
    Every splat must lie within (-BORDER + 1, size + BORDER - 2).
    """
    size = background.shape[1]
    stride = size + 2 * BORDER + size % 2
    nearest, within = _front_depth((fine, coarse), stride)
    total = _spread(fine, nearest, stride, 1)
    half = _spread(coarse, nearest, stride, 2)
    first = int(coarse.xy[1].min()) // 2 if coarse.xy.size else 0
    total[2 * first :] += _doubled(half[first:])
    total = total.reshape(-1, 5)
    bare = np.flatnonzero(within & ((total[:, 4] < 1 / COVER_GAIN) | (total[:, 3] < 0.05)))
    bare = bare[(bare > stride) & (bare < stride**2 - stride - 1)]
    total[bare] += total[bare[:, None] + _around(stride)].sum(1)
    planes = np.ascontiguousarray(
        total.reshape(stride, stride, 5)[BORDER : BORDER + size, BORDER : BORDER + size].transpose(
            2, 0, 1
        )
    )
    cover = np.minimum(planes[4] * COVER_GAIN, 1) * (planes[3] > 0)
    share = cover / np.maximum(planes[3], np.float32(1e-6))
    return background * (1 - cover) + planes[:3] * share


def _doubled(total: np.ndarray) -> np.ndarray:
    """Sums over cells of two by two pixels [m, n, 5] as sums over pixels [2m, 2n, 5]."""
    m, n, k = total.shape
    near, far = total * np.float32(0.375), total * np.float32(0.125)
    tall = np.empty((m, 2, n, k), np.float32)
    tall[:, 0], tall[:, 1] = near, near
    tall[1:, 0] += far[:-1]
    tall[:-1, 1] += far[1:]
    near = tall.reshape(2 * m, n, k)
    near, far = near * np.float32(0.375), near * np.float32(0.125)
    wide = np.empty((2 * m, n, 2, k), np.float32)
    wide[:, :, 0], wide[:, :, 1] = near, near
    wide[:, 1:, 0] += far[:, :-1]
    wide[:, :-1, 1] += far[:, 1:]
    return wide.reshape(2 * m, 2 * n, k)


def _around(stride: int) -> np.ndarray:
    return np.asarray([-stride, -1, 1, stride])


def _spread(layer: Splats, nearest: np.ndarray, stride: int, cell: int) -> np.ndarray:
    """Visible colour, visible area, and all area, [stride / cell, stride / cell, 5].

    Summed over square cells of `cell` pixels. Cell k's middle lies at pixel cell (k + 0.5) - 0.5.
    """
    xy = layer.xy + np.float32(BORDER)
    own = (xy + np.float32(0.5)).astype(np.int32)
    own = own[1] * stride + own[0]
    shown = (layer.depth > nearest[own] - np.float32(DEPTH_TOLERANCE)) * layer.area
    if cell > 1:
        xy = np.maximum((xy + np.float32(0.5)) * np.float32(1 / cell) - np.float32(0.5), 0)
        stride = stride // cell
    base = np.minimum(xy.astype(np.int32), stride - 2)
    fx, fy = xy - base.astype(np.float32)
    corner = base[1] * stride + base[0]
    count = len(shown)
    values = np.empty((count, 5), np.float32)
    for c in range(3):
        np.multiply(layer.colour[c], shown, out=values[:, c])
    values[:, 3], values[:, 4] = shown, layer.area
    weights, pixels = np.empty((count, 4), np.float32), np.empty((count, 4), np.int32)
    gx, gy = 1 - fx, 1 - fy
    corners = ((gx, gy, 0), (fx, gy, 1), (gx, fy, stride), (fx, fy, stride + 1))
    for k, (wx, wy, step) in enumerate(corners):
        np.multiply(wx, wy, out=weights[:, k])
        np.add(corner, step, out=pixels[:, k])
    starts = np.arange(0, 4 * count + 1, 4, dtype=np.int32)
    # A matrix with one column per splat adds in the order of the splats, always.
    matrix = sparse.csc_array((weights.ravel(), pixels.ravel(), starts), shape=(stride**2, count))
    return (matrix @ values).reshape(stride, stride, 5)
