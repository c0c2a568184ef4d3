"""From light to stored pixels: a clean camera, and the poor one of small, distant faces.

No network of this project sees the poor camera's model or its parameters: faces taken with it
stand for native low resolution, whose degradation nobody knows.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from tfds_builders.synthetic_faces.texture import film

Array = np.ndarray


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
    motion: tuple[float, float]
    exposure: float
    balance: tuple[float, float, float]
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
        defocus=float(rng.uniform(0.25, 1.0)),
        motion=(float(length * np.cos(angle)), float(length * np.sin(angle))),
        exposure=float(np.exp(rng.normal(-0.05, 0.28))),
        balance=tuple(float(v) for v in balance / balance.mean()),
        shot_noise=float(0.0008 + 0.004 * noisy),
        read_noise=float(0.002 + 0.015 * noisy),
        contrast=float(rng.uniform(0.6, 1.1)),
        haze=float(rng.normal(0, 12)),
        gamma=float(np.exp(rng.normal(0, 0.12))),
        sharpening=float(max(0.0, rng.normal(0.1, 0.4))),
        quality=int(rng.integers(30, 93)),
    )


def take_clean(light: Array, rng: np.random.Generator) -> Array:
    """sRGB uint8 [size, size, 3] by a good camera, of light [3, size, size]."""
    grain = rng.random(light.shape[1:], dtype=np.float32) - np.float32(0.5)
    return _to_bytes(film(light) + grain * np.float32(rng.uniform(2, 8)))


def take_poor(light: Array, factor: int, camera: PoorCamera, rng: np.random.Generator) -> Array:
    """sRGB uint8 [size, size, 3] by a poor camera, of light [3, size * factor, size * factor]."""
    blurred = _motion(light, [v * factor for v in camera.motion])
    for axis in (1, 2):
        blurred = gaussian_filter1d(
            blurred, camera.defocus * factor, axis=axis, mode="nearest", truncate=3
        )
    size = light.shape[1] // factor
    cells = [blurred[:, i::factor, j::factor] for i in range(factor) for j in range(factor)]
    sensed = sum(cells) * np.float32(1 / factor**2)
    sensed = sensed * np.float32(camera.exposure) * np.float32(camera.balance)[:, None, None]
    deviation = np.sqrt(camera.shot_noise * sensed + camera.read_noise**2)
    sensed = sensed + deviation * _sensor_noise(rng, size)
    srgb = film(np.maximum(sensed, 0))
    if camera.sharpening:
        soft = srgb
        for axis in (1, 2):
            soft = gaussian_filter1d(soft, 1.0, axis=axis, mode="nearest")
        srgb = srgb + np.float32(camera.sharpening) * (srgb - soft)
    srgb = 255 * (np.clip(srgb, 0, 255) / 255) ** np.float32(camera.gamma)
    srgb = (srgb - 118) * np.float32(camera.contrast) + np.float32(118 + camera.haze)
    return _through_jpeg(_to_bytes(srgb), camera.quality)


def _motion(light: Array, path: list[float]) -> Array:
    """The mean over positions along a straight path, in pixels of `light`."""
    steps = int(np.ceil(np.hypot(*path))) + 1
    if steps < 2:
        return light
    margin = steps + 1
    padded = np.pad(light, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    size = light.shape[1]
    total = np.zeros_like(light)
    for t in np.linspace(-0.5, 0.5, steps):
        x, y = (margin + round(float(t * v)) for v in path)
        total += padded[:, y : y + size, x : x + size]
    return total / np.float32(steps)


def _sensor_noise(rng: np.random.Generator, size: int) -> Array:
    """Unit noise [3, size, size] as a colour mosaic leaves it: coarser in colour than in grey."""
    grey = rng.standard_normal((size, size), dtype=np.float32)
    colour = rng.standard_normal((3, size, size), dtype=np.float32)
    for axis in (1, 2):
        colour = gaussian_filter1d(colour, 0.7, axis=axis, mode="wrap")
    return 0.8 * grey + 1.2 * colour


def _through_jpeg(image: Array, quality: int) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _to_bytes(srgb: Array) -> Array:
    """Planes [3, size, size] of 0 to 255 as a picture [size, size, 3]."""
    planes = np.clip(srgb + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
