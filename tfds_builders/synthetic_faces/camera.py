"""From light to stored pixels: a clean camera, and the poor one of small, distant faces.

No network of this project sees the poor camera's model or its parameters: faces taken with it
stand for native low resolution, whose degradation nobody knows.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from .fields import Array

_LEVELS, _BRIGHTEST = 4096, 1.5


@dataclass(frozen=True)
class PoorCamera:
    """One camera and its circumstances; lengths are pixels of its sensor.

    Attributes:
      defocus: standard deviation of the optical blur.
      motion: [2] how far the face moves during the exposure.
      exposure: factor on the light; `balance` [3] factors on its colours.
      shot_noise, read_noise: variance per unit of light, and standard deviation, in linear light.
      contrast, haze: sRGB values are scaled about the middle, then moved.
      gamma: exponent on sRGB values between 0 and 1.
      sharpening: strength of the halo that a cheap camera adds.
      quality: of the JPEG file.
    """

    defocus: float
    motion: Sequence[float]
    exposure: float
    balance: Sequence[float]
    shot_noise: float
    read_noise: float
    contrast: float
    haze: float
    gamma: float
    sharpening: float
    quality: int


def sample_camera(rng: np.random.Generator) -> PoorCamera:
    """Draws a poor camera."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.exponential(0.8)
    noisy = rng.random() ** 2
    balance = np.exp(rng.normal(0, 0.09, 3))
    return PoorCamera(
        defocus=rng.uniform(0.25, 1.0),
        motion=(length * math.cos(angle), length * math.sin(angle)),
        exposure=math.exp(rng.normal(-0.05, 0.28)),
        balance=balance / balance.mean(),
        shot_noise=0.0008 + 0.004 * noisy,
        read_noise=0.002 + 0.015 * noisy,
        contrast=rng.uniform(0.6, 1.1),
        haze=rng.normal(0, 12),
        gamma=math.exp(rng.normal(0, 0.12)),
        sharpening=max(0.0, rng.normal(0.1, 0.4)),
        quality=int(rng.integers(30, 93)),
    )


def take_clean(light: Array, rng: np.random.Generator) -> Array:
    """Takes a good photograph, sRGB uint8 [size, size, 3], of light [3, size, size]."""
    grain = rng.random(light.shape[1:], dtype=np.float32) - np.float32(0.5)
    return _to_bytes(_film(light) + grain * np.float32(rng.uniform(2, 8)))


def take_poor(light: Array, factor: int, camera: PoorCamera, rng: np.random.Generator) -> Array:
    """Takes a poor one, sRGB uint8 [size, size, 3], of light [3, size * factor, size * factor]."""
    size = light.shape[1] // factor
    cells = _blur(light, camera, factor).reshape(3, size, factor, size, factor)
    sensed = (
        cells.mean((2, 4)) * np.float32(camera.exposure * np.asarray(camera.balance))[:, None, None]
    )
    deviation = np.sqrt(camera.shot_noise * sensed + camera.read_noise**2)
    sensed += deviation * _sensor_noise(rng, size)
    srgb = _film(np.maximum(sensed, 0))
    srgb += camera.sharpening * (srgb - ndimage.gaussian_filter(srgb, (0, 1, 1), mode="nearest"))
    srgb = 255 * (np.clip(srgb, 0, 255) / 255) ** camera.gamma
    srgb = (srgb - 118) * camera.contrast + 118 + camera.haze
    buffer = io.BytesIO()
    Image.fromarray(_to_bytes(srgb)).save(buffer, "JPEG", quality=camera.quality)
    return np.asarray(Image.open(buffer))


def _blur(light: Array, camera: PoorCamera, factor: int) -> Array:
    """Defocus and straight motion, as one product of spectra."""
    n = fft.next_fast_len(light.shape[1] + 24, real=True)
    before = (n - light.shape[1]) // 2
    margin = (before, n - light.shape[1] - before)
    padded = np.pad(light, ((0, 0), margin, margin), mode="edge")
    fy, fx = fft.fftfreq(n, 1 / factor)[:, None], fft.rfftfreq(n, 1 / factor)
    response = np.exp(-2 * (np.pi * camera.defocus) ** 2 * (fx**2 + fy**2))
    response *= np.sinc(fx * camera.motion[0] + fy * camera.motion[1])
    blurred = fft.irfft2(fft.rfft2(padded) * response.astype(np.float32), s=(n, n))
    return np.maximum(blurred[:, before : -margin[1], before : -margin[1]], 0)


def _sensor_noise(rng: np.random.Generator, size: int) -> Array:
    """Unit noise [3, size, size] as a colour mosaic leaves it: coarser in colour than in grey."""
    grey = rng.standard_normal((size, size), dtype=np.float32)
    colour = rng.standard_normal((3, size, size), dtype=np.float32)
    return 0.8 * grey + 1.2 * ndimage.gaussian_filter(colour, (0, 0.7, 0.7), mode="wrap")


def _film_curve() -> Array:
    """sRGB values, 0 to 255, of light from 0 to `_BRIGHTEST`: a soft shoulder, no clipping."""
    x = np.linspace(0, _BRIGHTEST, _LEVELS)
    x = np.where(x < 0.7, x, 0.7 + 0.3 * np.tanh((x - 0.7) / 0.3))
    return np.float32(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


_FILM = _film_curve()


def _film(light: Array) -> Array:
    index = np.clip(light * np.float32((_LEVELS - 1) / _BRIGHTEST), 0, _LEVELS - 1)
    return _FILM[index.astype(np.int32)]


def _to_bytes(srgb: Array) -> Array:
    """Planes [3, size, size] of 0 to 255 as a picture [size, size, 3]."""
    planes = np.clip(srgb + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
