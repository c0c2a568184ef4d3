"""Colours and noise: everything here is in linear light unless it says sRGB."""

import numpy as np
from PIL import Image

_LEVELS = 4096


def linear(*srgb: float) -> np.ndarray:
    """sRGB values 0 to 255 in linear light, float32."""
    value = np.asarray(srgb, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def _film() -> np.ndarray:
    """sRGB values of linear light 0 to 1.5, with a soft shoulder instead of clipping."""
    x = np.linspace(0, 1.5, _LEVELS)
    x = np.where(x < 0.7, x, 0.7 + 0.3 * np.tanh((x - 0.7) / 0.3))
    curve = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return (255 * curve).astype(np.float32)


_FILM = _film()


def film(light: np.ndarray) -> np.ndarray:
    """sRGB values 0 to 255, float32, of linear light."""
    index = np.clip(light * np.float32((_LEVELS - 1) / 1.5), 0, _LEVELS - 1)
    return _FILM[index.astype(np.int32)]


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise of unit variance or so, float32 `shape`, with `cells` independent values."""
    cells = (min(cells[0], shape[0]), min(cells[1], shape[1]))
    coarse = rng.standard_normal(cells, dtype=np.float32)
    image = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image)


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours [3, ...]: `a` where `share` [...] is 0, `b` (or one colour [3]) where it is 1."""
    return a + (tint(b, share) - a) * share


def tint(colour: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A colour [3] shaped to go with values [...]; colours [3, ...] are left alone."""
    return colour if colour.ndim > 1 else colour.reshape(3, *(1,) * like.ndim)
