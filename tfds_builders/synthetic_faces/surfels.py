"""Surfaces as clouds of small oriented patches, and how a cloud is lit, projected and drawn.

A cloud is one float32 array [12, n], a column a patch: its place in mm; its outward normal, as long
as the patch is large in mm²; its linear albedo; its opacity, 0 to 1; the strength of its highlight;
and whether it is seen from both sides. Before the camera it becomes *splats* [7, n]: x, y, depth in
mm towards the camera, linear light (three), and the area that it covers in the picture.

A splat spreads its light over the four pixels around it, weighted with its area, so the weights
that reach a pixel sum to the share of it that is covered: silhouettes come out antialiased, and
the order of drawing does not matter.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import sparse

from .fields import Array, tint

PLACE, NORMAL, ALBEDO = slice(0, 3), slice(3, 6), slice(6, 9)
OPACITY, GLOSS, TWO_SIDED = 9, 10, 11

_TOLERANCE = 7.0  # splats farther than this (mm) behind the front one in their pixel are hidden
_BORDER = 3  # pixels around the picture that are drawn too, since splats there reach into it
_COVER_GAIN = 1.4  # closes the surface where splats are more than a pixel apart
# How far red, green and blue light wraps around: what enters skin leaves it elsewhere.
_SCATTER = (0.24, 0.12, 0.08)


def area_vectors(mesh: Array) -> Array:
    """Computes the outward area vectors [3, R, C] of the vertices of a mesh [3, R, C].

    Outward when columns run to the right and rows down as seen from outside.
    """
    across, down = np.gradient(mesh, axis=(2, 1))
    return across[[1, 2, 0]] * down[[2, 0, 1]] - across[[2, 0, 1]] * down[[1, 2, 0]]


def from_mesh(
    mesh: Sequence[Array | float],
    colour: Array,
    *,
    opacity: Array | float = 1.0,
    gloss: Array | float = 0.0,
    two_sided: bool = False,
) -> Array:
    """Makes a cloud of what is not transparent of a mesh x, y, z coloured [3, R, C] or [3]."""
    x, y, z = np.broadcast_arrays(*mesh)
    cloud = np.empty((12, *x.shape), np.float32)
    cloud[PLACE] = x, y, z
    cloud[NORMAL], cloud[ALBEDO] = area_vectors(cloud[PLACE]), tint(colour, x)
    cloud[OPACITY], cloud[GLOSS], cloud[TWO_SIDED] = opacity, gloss, two_sided
    return np.take(cloud.reshape(12, -1), np.flatnonzero(cloud[OPACITY] > 0.02), axis=1)


def rotate(matrix: Array, vectors: Array) -> Array:
    """Applies a matrix [3, 3] to vectors [3, n], in the same order of sums on every machine."""
    x, y, z = vectors
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])


def see(cloud: Array, turn: Array, move: Array, distance: float, light: Array) -> Array:
    """Returns the splats [7, n] of the patches that face a camera of focal length one.

    Patches stand at `turn` p + `move` and the camera `distance` in front of the origin. `light`
    [4, 3] has the direction towards the key light, in the camera's frame, and the linear colours
    of the key light, of the sky and of the ground.
    """
    eye = turn.T @ (np.asarray([0, 0, distance], np.float32) - move)
    facing = ((eye[:, None] - cloud[PLACE]) * cloud[NORMAL]).sum(0)
    index = np.flatnonzero((facing > 0) | (cloud[TWO_SIDED] > 0))
    cloud, facing = np.take(cloud, index, axis=1), facing[index]
    splats = np.empty((7, len(index)), np.float32)
    splats[:3] = rotate(turn, cloud[PLACE]) + move[:, None]
    far = np.float32(distance) - splats[2]
    splats[:2] /= far
    splats[6] = np.abs(facing) / (far * far * far) * cloud[OPACITY]

    toward, key, sky, ground = light.astype(np.float32)
    half = toward + np.asarray([0, 0, 1], np.float32)
    directions = np.stack([toward, half / np.linalg.norm(half), np.asarray([0, -1, 0])])
    inverse = np.sign(facing) / np.maximum(np.sqrt((cloud[NORMAL] ** 2).sum(0)), 1e-9)
    lambert, shine, up = rotate(np.float32(directions @ turn), cloud[NORMAL]) * inverse
    shine = np.maximum(shine, 0)
    for _ in range(4):
        shine *= shine
    shine *= cloud[GLOSS] * np.float32(2.2)
    for c, wrap in enumerate(_SCATTER):
        diffuse = np.maximum((lambert + np.float32(wrap)) * np.float32(1 / (1 + wrap)), 0)
        ambient = (sky[c] + ground[c]) / 2 + (sky[c] - ground[c]) / 2 * up
        splats[3 + c] = cloud[6 + c] * (ambient + key[c] * diffuse) + key[c] * shine
    return splats


def front_depth(x: Array, y: Array, depth: Array, size: int) -> tuple[Array, Array]:
    """Returns each splat's pixel, and the greatest depth in each pixel [size²]; -inf where none.

    All of -0.5 < x, y < size - 0.5.
    """
    pixel = (y + np.float32(0.5)).astype(np.int32) * size + (x + np.float32(0.5)).astype(np.int32)
    nearest = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(nearest, pixel, depth)
    return pixel, nearest


def draw(splats: Array, fine: int, background: Array) -> Array:
    """Draws splats [7, n] over a background, both linear light: float32 [3, size, size].

    The first `fine` may be a pixel apart, the others two: those are drawn at half the resolution.
    """
    size = background.shape[1]
    stride = size + 2 * _BORDER + size % 2
    # What lies beyond the border is swept onto it, where it covers nothing.
    places = splats[:2] + np.float32(_BORDER)
    swept = np.clip(places, 1, np.float32(stride - 2.01))
    (x, y), area = swept, splats[6] * (places == swept).all(0)
    pixel, nearest = front_depth(x, y, splats[2], stride)
    # A morphological closing fills holes of one pixel without moving silhouettes.
    padded = np.pad(nearest.reshape(stride, stride), 3, mode="edge")
    closed = over_nine(over_nine(padded, np.maximum), np.minimum)
    within = np.isfinite(over_nine(closed, np.minimum)).ravel()
    behind = closed[1:-1, 1:-1].ravel()[pixel] - splats[2]
    values = np.empty((len(x), 5), np.float32)
    values[:, 3], values[:, 4] = (behind < _TOLERANCE) * area, area
    np.multiply(splats[3:6].T, values[:, 3:4], out=values[:, :3])
    total = np.ascontiguousarray(_spread(x[:fine], y[:fine], values[:fine], stride).T)
    total = total.reshape(5, stride, stride)
    if fine < len(x):
        x, y = (np.float32(0.5) * v[fine:] - np.float32(0.25) for v in (x, y))
        half = _spread(x, y, values[fine:] / 4, stride // 2)
        first = int(y.min())
        half = np.ascontiguousarray(half.T).reshape(5, stride // 2, -1)[:, first:]
        shape = (stride, 2 * half.shape[1])
        for plane, coarse in zip(total, half, strict=True):
            doubled = Image.fromarray(coarse).resize(shape, Image.Resampling.BILINEAR)
            plane[2 * first :] += np.asarray(doubled)
    total = total.reshape(5, -1)
    bare = np.flatnonzero(within & ((total[4] < 1 / _COVER_GAIN) | (total[3] < 0.05)))
    bare = bare[(bare > stride) & (bare < stride**2 - stride - 1)]
    total[:, bare] += sum(total[:, bare + step] for step in (-stride, -1, 1, stride))
    inside = slice(_BORDER, _BORDER + size)
    planes = total.reshape(5, stride, stride)[:, inside, inside]
    cover = np.minimum(planes[4] * np.float32(_COVER_GAIN), 1) * (planes[3] > 0)
    return background * (1 - cover) + planes[:3] * (cover / np.maximum(planes[3], 1e-6))


def over_nine(values: Array, extreme: np.ufunc) -> Array:
    """Returns the extreme of each pixel and its eight neighbours, [n - 2, n - 2] of [n, n]."""
    wide = extreme(extreme(values[:, :-2], values[:, 2:]), values[:, 1:-1])
    return extreme(extreme(wide[:-2], wide[2:]), wide[1:-1])


def _spread(x: Array, y: Array, values: Array, stride: int) -> Array:
    """The sums [stride², k] of values [n, k] spread bilinearly over the pixels around x, y."""
    column, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - column.astype(np.float32), y - row.astype(np.float32)
    corner = row * stride + column
    weights, pixels = np.empty((len(x), 4), np.float32), np.empty((len(x), 4), np.int32)
    for k, (wx, wy) in enumerate(((1 - fx, 1 - fy), (fx, 1 - fy), (1 - fx, fy), (fx, fy))):
        np.multiply(wx, wy, out=weights[:, k])
        np.add(corner, (0, 1, stride, stride + 1)[k], out=pixels[:, k])
    # A matrix with one column per splat adds in the order of the splats, always.
    starts = np.arange(0, pixels.size + 1, 4, dtype=np.int32)
    return sparse.csc_array((weights.ravel(), pixels.ravel(), starts), (stride**2, len(x))) @ values
