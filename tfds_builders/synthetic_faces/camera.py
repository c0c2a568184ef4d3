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
from scipy import ndimage

from .fields import Array

# sRGB values, 0 to 255, of light from 0 to 1.5: a film's soft shoulder instead of clipping.
_LIGHT = np.linspace(0, 1.5, 4096)
_SOFT = np.where(_LIGHT < 0.7, _LIGHT, 0.7 + 0.3 * np.tanh((_LIGHT - 0.7) / 0.3))
_FILM = 255 * np.where(_SOFT <= 0.0031308, 12.92 * _SOFT, 1.055 * _SOFT ** (1 / 2.4) - 0.055)
_FILM = _FILM.astype(np.float32)


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
    noisy, balance = rng.random() ** 2, np.exp(rng.normal(0, 0.09, 3))
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
    blurred = _blur(light, camera, factor)
    starts = [(i, j) for i in range(factor) for j in range(factor)]
    sensed = sum(blurred[:, i::factor, j::factor] for i, j in starts) / factor**2
    sensed *= np.float32(camera.exposure * np.asarray(camera.balance)).reshape(3, 1, 1)
    # A colour mosaic leaves noise that is coarser in colour than in grey.
    grey = rng.standard_normal(sensed.shape[1:], dtype=np.float32)
    colour = rng.standard_normal(sensed.shape, dtype=np.float32)
    noise = 0.8 * grey + 1.2 * ndimage.gaussian_filter(colour, (0, 0.7, 0.7), mode="wrap")
    srgb = _film(sensed + np.sqrt(camera.shot_noise * sensed + camera.read_noise**2) * noise)
    if camera.sharpening:
        soft = ndimage.gaussian_filter(srgb, (0, 1, 1), mode="nearest")
        srgb += camera.sharpening * (srgb - soft)
    srgb = 255 * (np.clip(srgb, 0, 255) / 255) ** camera.gamma
    pixels = _to_bytes((srgb - 118) * camera.contrast + 118 + camera.haze)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=camera.quality)
    return np.asarray(Image.open(buffer))


def _blur(light: Array, camera: PoorCamera, factor: int) -> Array:
    """Defocus, and the mean over places along a straight path."""
    sigma, path = camera.defocus * factor, np.asarray(camera.motion) * factor
    blurred = ndimage.gaussian_filter(light, (0, sigma, sigma), mode="nearest", truncate=3)
    count, size = math.ceil(math.hypot(*path)) + 1, light.shape[1]
    padded = np.pad(blurred, ((0, 0), (count, count), (count, count)), mode="edge")
    total = np.zeros_like(light)
    for x, y in count + np.rint(np.linspace(-0.5, 0.5, count)[:, None] * path).astype(int):
        total += padded[:, y : y + size, x : x + size]
    return total / count


def _film(light: Array) -> Array:
    index = np.clip(light * np.float32(len(_FILM) / _LIGHT[-1]), 0, len(_FILM) - 1)
    return _FILM[index.astype(np.int32)]


def _to_bytes(srgb: Array) -> Array:
    """Planes [3, size, size] of 0 to 255 as a picture [size, size, 3]."""
    planes = np.clip(srgb + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
