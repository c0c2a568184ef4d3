"""What lies behind a person: gradients, blurred things, texture."""

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.synthetic_faces.texture import noise


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A blurred place, float32 [3, size, size] in linear light."""
    base = rng.uniform(25, 225) + rng.normal(0, 9, 3)
    coarse = base + rng.normal(0, 26, (3, 3, 1)) + rng.normal(0, 9, (3, 3, 3))
    coarse = np.clip(coarse, 4, 250).astype(np.uint8)
    image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
    if rng.random() < 0.75:
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 12))):
            x, y = rng.uniform(-8, 64, 2)
            w, h = rng.uniform(3, 34, 2)
            colour = base + rng.normal(0, 38) + rng.normal(0, 16, 3)
            kind = draw.ellipse if rng.random() < 0.3 else draw.rectangle
            kind((x, y, x + w, y + h), fill=tuple(int(v) for v in np.clip(colour, 0, 255)))
        image = image.resize((int(rng.integers(14, 50)),) * 2, Image.Resampling.BILINEAR)
    half = (size + 1) // 2
    image = np.asarray(image.resize((half, half), Image.Resampling.BICUBIC), np.float32)
    image += noise(rng, (half, half), (half // 2, half // 2))[..., None] * np.float32(
        rng.uniform(0, 5)
    )
    srgb = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    srgb = np.asarray(srgb.resize((size, size), Image.Resampling.BILINEAR))
    light = srgb.astype(np.float32) * np.float32(1 / 255)
    # The square is near enough to sRGB's curve for a place that nobody knows.
    return np.ascontiguousarray((light * light).transpose(2, 0, 1))
