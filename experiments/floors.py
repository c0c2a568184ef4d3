"""What recognition must beat: features of faces that nothing has been learned for."""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax

from lrjax.config import to_dict
from lrjax.data.cache import key_of
from lrjax.inference.encoder import FaceEncoder
from lrjax.models.registry import Network, NetworkConfig
from lrjax.models.weights import Weights

Floor = Literal["raw pixels", "untrained network"]
FLOORS: tuple[Floor, ...] = ("raw pixels", "untrained network")

# Pixels of height that raw faces keep, as many as the largest of TinyFace have.
LARGEST = 32


class RawPixels(nn.Module):
    """Average over squares of `step` pixels, and put what is left in a row."""

    step: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Map images [B, H, W, 3] to features [B, ⌊H / step⌋ · ⌊W / step⌋ · 3]."""
        window = (self.step, self.step)
        return nn.avg_pool(images, window, window).reshape(len(images), -1)


def floor_of(encoder: FaceEncoder, floor: Floor, seed: int = 0) -> FaceEncoder:
    """Make an encoder that has learned nothing, and sees the faces of another one.

    Args:
      encoder: whose template and size of images are taken, and whose network; a refiner before it
        is left out.
      floor: the pixels themselves, or the network as it is drawn at random.
      seed: of the draw.
    """
    network: Network = encoder.weights.network
    variables = {}
    if floor == "raw pixels":
        height, width = network.size
        step = -(-height // LARGEST)
        network = dataclasses.replace(
            network,
            config=NetworkConfig(floor),
            module=RawPixels(step),
            embedding=(height // step) * (width // step) * 3,
        )
    else:
        variables = network.init(jax.random.key(seed))
    identity = key_of(floor, to_dict(encoder.weights.network.config), network.size, seed)
    return FaceEncoder(
        Weights(network, variables, {"floor": floor}, encoder.weights.path, identity)
    )
