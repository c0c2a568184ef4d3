"""Drawing dense surfaces: every vertex is a small splat that carries the area it covers.

A vertex spreads its colour over the four pixels around it, weighted with its projected area, so
the weights that reach a pixel sum to the share of it that is covered: silhouettes come out
antialiased, and the order of drawing does not matter.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

DEPTH_TOLERANCE = 7.0
"""Splats farther than this (mm) behind the front one in their pixel are hidden."""

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


def _front_depth(layers: list[Splats], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The greatest depth of each pixel [stride²], a border of one pixel included; and the holes.

    Holes are the indices of pixels within a surface in whose middle no splat lies.
    """
    buffer = np.full(stride * stride, -np.inf, np.float32)
    for layer in layers:
        column, row = (layer.xy + np.float32(1.5)).astype(np.int32)
        np.maximum.at(buffer, row * stride + column, layer.depth)
    closed = _closed(buffer.reshape(stride, stride)).ravel()
    return closed, np.flatnonzero(np.isinf(buffer) & np.isfinite(closed))


def _closed(depth: np.ndarray) -> np.ndarray:
    """Fills holes of one pixel without moving silhouettes (a morphological closing)."""
    out = depth.copy()
    wide = np.maximum(np.maximum(depth[:, :-2], depth[:, 2:]), depth[:, 1:-1])
    grown = np.maximum(np.maximum(wide[:-2], wide[2:]), wide[1:-1])
    wide = np.minimum(np.minimum(grown[:, :-2], grown[:, 2:]), grown[:, 1:-1])
    closed = np.minimum(np.minimum(wide[:-2], wide[2:]), wide[1:-1])
    # The border has no neighbours beyond it and stays as it is.
    out[2:-2, 2:-2] = closed
    return out


def draw(layers: list[Splats], background: np.ndarray) -> np.ndarray:
    """The layers over a background [size, size, 3] in linear light, float32 [size, size, 3].

    Every splat must lie within (-1, size).
    """
    size = len(background)
    # One pixel of border on every side takes what falls half outside.
    stride = size + 2
    nearest, holes = _front_depth(layers, stride)
    total = np.zeros((stride * stride, 5), np.float32)
    for layer in layers:
        total += _spread(layer, nearest, stride)
    total[holes] += total[holes[:, None] + _around(stride)].sum(1)
    total = total.reshape(stride, stride, 5)[1:-1, 1:-1]
    colour = total[..., :3] / np.maximum(total[..., 3:4], np.float32(1e-6))
    cover = np.clip(total[..., 4:] * COVER_GAIN, 0, 1) * (total[..., 3:4] > 0)
    return background + (colour - background) * cover


def _around(stride: int) -> np.ndarray:
    return np.asarray([-stride, -1, 1, stride])


def _spread(layer: Splats, nearest: np.ndarray, stride: int) -> np.ndarray:
    """Sums over pixels [stride², 5]: visible colour, visible area, and all area."""
    xy = layer.xy + np.float32(1)
    base = xy.astype(np.int32)
    fx, fy = xy - base.astype(np.float32)
    corner = base[1] * stride + base[0]
    own = (xy + np.float32(0.5)).astype(np.int32)
    own = own[1] * stride + own[0]
    shown = (layer.depth > nearest[own] - np.float32(DEPTH_TOLERANCE)) * layer.area
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
    return matrix @ values
