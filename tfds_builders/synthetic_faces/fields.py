"""Smooth fields over a surface and colours in linear light: what shapes and materials share."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageColor
from scipy.interpolate import PchipInterpolator

Array = np.ndarray


def curve(positions: Sequence[float], values: Sequence[float]) -> Callable[[Array], Array]:
    """Returns the monotone smooth curve through the knots, constant beyond them."""
    spline = PchipInterpolator(positions, values)
    return lambda at: spline(np.clip(at, positions[0], positions[-1])).astype(at.dtype)


def smoothstep(x: Array, low: float, high: float) -> Array:
    """Rises smoothly from 0 below `low` to 1 above `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ridge(x: Array, middle: Array | float, width: Array | float, power: int = 2) -> Array:
    """Computes exp(-((x - middle) / width)^power)."""
    return np.exp(-(((x - middle) / width) ** power))


def bumps(x: Array, r: Array, *rows: Sequence[float]) -> Array:
    """Sums height · exp(-((x - cx) / sx)² - ((r - cr) / sr)²) over rows (height, cx, cr, sx, sr).

    Cheap when `r` is a column: the factor over r is then computed once a row.
    """
    return sum(h * (ridge(x, cx, sx) * ridge(r, cr, sr)) for h, cx, cr, sx, sr in rows)


def spaced(at: Array, density: Array) -> Array:
    """Returns positions, from the first to the last of `at`, of the given density per unit."""
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(at))])
    return np.interp(np.linspace(0, total[-1], round(total[-1]) + 1), total, at)


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Array:
    """Draws smooth noise of unit variance or so, float32 `shape`, from `cells` random values."""
    coarse = rng.standard_normal(np.minimum(cells, shape), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))


def linear(srgb: str | Sequence[float]) -> Array:
    """Converts an sRGB colour, "#rrggbb" or [3] from 0 to 255, to linear light, float32 [3]."""
    value = np.asarray(ImageColor.getrgb(srgb) if isinstance(srgb, str) else srgb) / 255
    return np.float32(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def tint(colour: Array, like: Array) -> Array:
    """Shapes a colour [3] to go with values [...]; colours [3, ...] are left alone."""
    return colour if colour.ndim > 1 else colour.reshape(3, *(1,) * like.ndim)


def mix(a: Array, b: Array, share: Array) -> Array:
    """Mixes colours [3] or [3, ...]: `a` where `share` [...] is 0, `b` where it is 1."""
    a = tint(a, share)
    return a + (tint(b, share) - a) * share
