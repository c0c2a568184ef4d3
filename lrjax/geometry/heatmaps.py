"""Points as heatmaps, and heatmaps back to points.

A set of maps [..., H, W, N + 1] holds one Gaussian per point and, last, the background. Point
(x, y) is in pixels of the map, whose pixel centres are at integers: value [y, x] belongs to the
point (x, y).

Mean (and largest) error in pixels of `decode(encode(points))`, for points spread evenly over the
map, at least one pixel from its border:

    decoder     32x32, sigma 2   32x32, sigma 1.5   128x128, sigma 2   128x128, sigma 1.5
    gaussian    0.00  (0.00)     0.00  (0.00)       0.00  (0.00)       0.00  (0.00)
    fit         0.00  (0.00)     0.00  (0.00)       0.00  (0.00)       0.00  (0.00)
    window      0.17  (0.70)     0.07  (0.39)       0.13  (0.61)       0.05  (0.39)
    quarter     0.19  (0.35)     0.19  (0.35)       0.19  (0.35)       0.19  (0.35)
    argmax      0.39  (0.70)     0.37  (0.68)       0.38  (0.70)       0.38  (0.70)
    soft        0.14  (0.93)     0.05  (0.43)       0.03  (0.78)       0.01  (0.42)

"soft" reads logits: here the logarithm of the same Gaussians, whose part outside the map it misses.
With maps of peak 0.6 and sigma 2 and white noise of 0.05, the mean errors on 32x32 are: gaussian
0.30, fit 0.10, window 0.25, quarter 0.44, argmax 0.60. With sigma 1, "gaussian" is the better one.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

THRESHOLD = 0.01
"""Values of a Gaussian below this are set to zero, as in SAN."""

WINDOW_RADIUS = 3
"""Radius in pixels of the "window" decoder, as in SAN."""

FIT_RADIUS = 3
"""Radius in pixels of the "fit" decoder's window."""

FIT_FLOOR = 0.05
"""The "fit" decoder leaves out values below this share of the maximum."""

FIT_REACH = 1.5
"""The "fit" decoder moves at most this many pixels from the maximum, in x and in y."""


@partial(jax.jit, static_argnames="size")
def encode(points: ArrayLike, visible: ArrayLike, size: int, sigma: float) -> jax.Array:
    """Draws the target maps of SAN: exp(-|p - point|^2 / (2 sigma^2)) and a background.

    Args:
      points: [..., N, 2] (x, y) in map pixels. A point outside the map leaves what falls inside;
        one with a coordinate that is not finite leaves nothing.
      visible: [..., N] bool. The map of an invisible point is empty (and `channel_mask` takes it
        out of the loss), but its Gaussian still carves the background.
      size: side of the maps.
      sigma: in map pixels. Paper: sigma = 2.

    Returns:
      [..., size, size, N + 1] float32 in [0, 1]; peak 1, values below 0.01 set to 0, background
      1 - max over the points.
    """
    points = jnp.asarray(points, jnp.float32)
    pixel = jnp.arange(size, dtype=jnp.float32)[:, None]
    # The Gaussian is separable: 2 N size exponentials instead of N size^2.
    column = jnp.exp(-((pixel - points[..., None, :, 0]) ** 2) / (2 * sigma**2))
    row = jnp.exp(-((pixel - points[..., None, :, 1]) ** 2) / (2 * sigma**2))
    gaussians = row[..., :, None, :] * column[..., None, :, :]
    gaussians = jnp.where(gaussians >= THRESHOLD, gaussians, 0.0)
    background = 1.0 - gaussians.max(-1, keepdims=True)
    shown = jnp.where(jnp.asarray(visible, bool)[..., None, None, :], gaussians, 0.0)
    return jnp.concatenate([shown, background], -1)


def channel_mask(points: ArrayLike, visible: ArrayLike, size: int) -> jax.Array:
    """Tells which channels of `encode`'s maps a loss may count: [..., N + 1] float32, 0 or 1.

    1 for a point that is visible and whose nearest pixel is in the map; the background always.
    """
    points = jnp.asarray(points, jnp.float32)
    inside = jnp.all((points >= -0.5) & (points <= size - 0.5), -1)
    mask = (inside & jnp.asarray(visible, bool)).astype(jnp.float32)
    return jnp.concatenate([mask, jnp.ones_like(mask[..., :1])], -1)


@partial(jax.jit, static_argnames=("num_points", "method"))
def decode(
    maps: jax.Array, num_points: int, method: str = "gaussian"
) -> tuple[jax.Array, jax.Array]:
    """Reads the points of maps [..., H, W, C], C >= num_points; further channels are ignored.

    Methods (`DECODERS`):
      gaussian: fits a paraboloid to the logarithm of the 3x3 pixels about the maximum; exact for
        a Gaussian, also at the border, unless `encode` has cut some of the nine pixels to zero
        (sigma below 1, in a corner below 1.5). Moves at most half a pixel.
      fit: fits a round Gaussian to the 7x7 pixels about the maximum, weighted by the squares of
        their values; also exact for a Gaussian, and steadier on noisy or double peaks.
      window: SAN's mean of the pixels within 3 of the maximum, weighted by their values.
      quarter: a quarter of a pixel from the maximum towards the larger neighbour.
      argmax: the maximum.
      soft: maps are logits; the mean position under their softmax.

    Returns:
      points [..., num_points, 2] float32 (x, y) in map pixels, and confidence [..., num_points]:
      the map's maximum (of the softmax for "soft").

    Raises:
      ValueError: the method is unknown or the maps have fewer than num_points channels.
    """
    if method not in DECODERS:
        raise ValueError(f"unknown decoder {method!r}; there are {', '.join(DECODERS)}")
    if maps.shape[-1] < num_points:
        raise ValueError(f"{num_points} points asked of maps with {maps.shape[-1]} channels")
    maps = jnp.moveaxis(jnp.asarray(maps, jnp.float32)[..., :num_points], -1, -3)
    return _METHODS[method](maps)


def _peaks(maps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Column and row of the maximum of maps [..., H, W], int32, and its value."""
    flat = maps.reshape(*maps.shape[:-2], -1)
    index = jnp.argmax(flat, -1)
    value = jnp.take_along_axis(flat, index[..., None], -1)[..., 0]
    row = jax.lax.div(index, jnp.asarray(maps.shape[-1], index.dtype))
    return index - row * maps.shape[-1], row, value


def _windows(maps: jax.Array, x: jax.Array, y: jax.Array, radius: int) -> jax.Array:
    """The (2 radius + 1)^2 pixels of maps [..., H, W] about (x, y), which must be inside."""
    height, width = maps.shape[-2:]
    offset = np.arange(-radius, radius + 1)
    rows = (y[..., None, None] + offset[:, None]) * width
    index = (rows + x[..., None, None] + offset).reshape(*x.shape, -1)
    flat = maps.reshape(*maps.shape[:-2], height * width)
    values = jnp.take_along_axis(flat, index, -1)
    return values.reshape(*x.shape, offset.size, offset.size)


def _gaussian(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    height, width = maps.shape[-2:]
    x, y, peak = _peaks(maps)
    # At the border the 3x3 pixels are those next to it: the fit does not need the peak inside.
    centre_x, centre_y = jnp.clip(x, 1, width - 2), jnp.clip(y, 1, height - 2)
    values = _windows(maps, centre_x, centre_y, 1)
    # The floor, far below a Gaussian's values next to its peak, admits zeros and negatives.
    floor = 1e-3 * jnp.maximum(peak, 1e-6)
    logs = jnp.log(jnp.maximum(values, floor[..., None, None]))

    def vertex(profile: jax.Array) -> jax.Array:
        low, middle, high = profile[..., 0], profile[..., 1], profile[..., 2]
        curvature = 2 * middle - low - high
        return jnp.where(curvature > 1e-6, (high - low) / 2 / jnp.maximum(curvature, 1e-6), 0.0)

    # The least-squares paraboloid's vertex depends only on the sums over rows and over columns.
    fitted_x = centre_x + vertex(logs.sum(-2))
    fitted_y = centre_y + vertex(logs.sum(-1))
    x = jnp.clip(fitted_x, x - 0.5, x + 0.5)
    y = jnp.clip(fitted_y, y - 0.5, y + 0.5)
    return jnp.stack([x, y], -1), peak


def _fit(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, y, peak = _peaks(maps)
    pad = [(0, 0)] * (maps.ndim - 2) + [(FIT_RADIUS, FIT_RADIUS)] * 2
    values = _windows(jnp.pad(maps, pad), x + FIT_RADIUS, y + FIT_RADIUS, FIT_RADIUS)
    values = values / jnp.maximum(peak, 1e-6)[..., None, None]
    # Noise of constant size in a value has size 1 / value in its logarithm: weight by value^2.
    used = values > FIT_FLOOR
    logs = jnp.log(jnp.where(used, values, 1.0))
    weights = jnp.where(used, values**2, 0.0)
    weights = weights / jnp.maximum(weights.sum((-2, -1), keepdims=True), 1e-12)

    # log value = c + bx x + by y - a (x^2 + y^2), weighted least squares about the means.
    def centred(v: ArrayLike) -> jax.Array:
        return jnp.subtract(v, (weights * v).sum((-2, -1), keepdims=True))

    def moment(u: jax.Array, v: jax.Array) -> jax.Array:
        return (weights * u * v).sum((-2, -1))

    offset = np.arange(-FIT_RADIUS, FIT_RADIUS + 1, dtype=np.float32)
    dx, dy = centred(offset), centred(offset[:, None])
    square, logs = centred(offset**2 + offset[:, None] ** 2), centred(logs)
    bx, by, a = _solve_symmetric(
        [moment(dx, dx), moment(dx, dy), moment(dx, square)],
        [moment(dy, dy), moment(dy, square)],
        [moment(square, square)],
        [moment(dx, logs), moment(dy, logs), moment(square, logs)],
    )
    is_peak = a < -1e-3
    shift = jnp.stack([bx, by], -1) / jnp.where(is_peak, -2 * a, 1.0)[..., None]
    shift = jnp.where(is_peak[..., None], jnp.clip(shift, -FIT_REACH, FIT_REACH), 0.0)
    return jnp.stack([x, y], -1) + shift, peak


def _solve_symmetric(
    first: list[jax.Array], second: list[jax.Array], third: list[jax.Array], right: list[jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solves a symmetric 3x3 system, given its upper triangle by rows; 0 where it is singular."""
    (m00, m01, m02), (m11, m12), (m22,), (r0, r1, r2) = first, second, third, right
    c00, c01, c02 = m11 * m22 - m12**2, m02 * m12 - m01 * m22, m01 * m12 - m02 * m11
    c11, c12, c22 = m00 * m22 - m02**2, m01 * m02 - m00 * m12, m00 * m11 - m01**2
    det = m00 * c00 + m01 * c01 + m02 * c02
    inverse = jnp.where(det > 1e-4, 1 / jnp.where(det > 1e-4, det, 1.0), 0.0)
    return (
        (c00 * r0 + c01 * r1 + c02 * r2) * inverse,
        (c01 * r0 + c11 * r1 + c12 * r2) * inverse,
        (c02 * r0 + c12 * r1 + c22 * r2) * inverse,
    )


def _window(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, y, peak = _peaks(maps)
    pad = [(0, 0)] * (maps.ndim - 2) + [(WINDOW_RADIUS, WINDOW_RADIUS)] * 2
    padded = jnp.pad(maps, pad)
    values = _windows(padded, x + WINDOW_RADIUS, y + WINDOW_RADIUS, WINDOW_RADIUS)
    values = jnp.where(values > 1e-6, values, np.finfo(np.float64).eps)
    offset = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1, dtype=np.float32)
    total = values.sum((-2, -1))
    dx = (values.sum(-2) * offset).sum(-1) / total
    dy = (values.sum(-1) * offset).sum(-1) / total
    return jnp.stack([x + dx, y + dy], -1), peak


def _quarter(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, y, peak = _peaks(maps)
    # Repeating the edge makes the missing neighbour of a border pixel equal to that pixel.
    padded = jnp.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1)] * 2, mode="edge")
    values = _windows(padded, x + 1, y + 1, 1)
    dx = jnp.sign(values[..., 1, 2] - values[..., 1, 0])
    dy = jnp.sign(values[..., 2, 1] - values[..., 0, 1])
    return jnp.stack([x + 0.25 * dx, y + 0.25 * dy], -1), peak


def _argmax(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, y, peak = _peaks(maps)
    return jnp.stack([x, y], -1).astype(jnp.float32), peak


def _soft(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    height, width = maps.shape[-2:]
    # Along one axis, as ONNX knows no softmax along two.
    chance = jax.nn.softmax(maps.reshape(*maps.shape[:-2], -1)).reshape(maps.shape)
    x = (chance.sum(-2) * np.arange(width, dtype=np.float32)).sum(-1)
    y = (chance.sum(-1) * np.arange(height, dtype=np.float32)).sum(-1)
    return jnp.stack([x, y], -1), chance.max((-2, -1))


_METHODS: dict[str, Callable[[jax.Array], tuple[jax.Array, jax.Array]]] = {
    "gaussian": _gaussian,
    "fit": _fit,
    "window": _window,
    "quarter": _quarter,
    "argmax": _argmax,
    "soft": _soft,
}
DECODERS = tuple(_METHODS)
