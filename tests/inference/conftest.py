"""A network that needs no training: it finds coloured dots."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.models.registry import Network
from lrjax.models.s2ld import LandmarkConfig
from lrjax.models.weights import Weights


class DotFinder:
    """Five maps of a crop: red left and right, green, blue left and right.

    With the decoder "soft" their points are the centroids of those colours. What is left or right
    of the middle is found by its place, as by a network that has learned faces.
    """

    def apply(self, variables: dict[str, Any], images: jax.Array, train: bool) -> jax.Array:
        assert not train
        light = jnp.maximum((images + 1) / 2 - variables["floor"], 1e-9)
        left = jnp.arange(images.shape[2]) < images.shape[2] / 2
        red, green, blue = (light[..., i] for i in range(3))
        maps = [
            jnp.where(left, red, 1e-9),
            jnp.where(left, 1e-9, red),
            green,
            jnp.where(left, blue, 1e-9),
            jnp.where(left, 1e-9, blue),
        ]
        return jnp.log(jnp.stack([*maps, green], axis=-1))


@pytest.fixture
def find_dots() -> Callable[..., LandmarkPredictor]:
    """`options -> LandmarkPredictor` around the DotFinder."""

    def make(**options: Any) -> LandmarkPredictor:
        config = LandmarkConfig(points="five", decoder="soft", sigma=1.2)
        network = Network(config, "landmarks", DotFinder(), ((32, 32, 3),))
        weights = Weights(network, {"floor": jnp.float32(0.05)}, {}, Path("dots"), "dots")
        return LandmarkPredictor(weights, PredictConfig(**options))

    return make


@pytest.fixture
def face() -> np.ndarray:
    """Five points about the middle of a box of 32 x 32."""
    return np.array([[-8, -6], [8, -6], [0, 1], [-6, 8], [6, 8]], np.float64)


@pytest.fixture
def draw_dots() -> Callable[..., Image.Image]:
    """`(points [n, 5, 2], sizes [n], shape) -> photograph` with dots in the five colours."""

    def draw(points: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]) -> Image.Image:
        rows, columns = np.indices(shape)
        photo = np.zeros((*shape, 3))
        for face, size in zip(points, sizes, strict=True):
            for (x, y), channel in zip(face, (0, 0, 1, 2, 2), strict=True):
                distance = (columns - x) ** 2 + (rows - y) ** 2
                photo[..., channel] += np.exp(-distance / (2 * (size * 1.6 / 32) ** 2))
        return Image.fromarray((255 * photo.clip(0, 1)).astype(np.uint8))

    return draw
