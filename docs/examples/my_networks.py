"""A landmark network of one convolution."""

import flax.linen as nn
import jax


class TinyNet(nn.Module):
    """Maps images [B, S, S, 3] to maps [B, S, S, outputs]."""

    outputs: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        return nn.Conv(self.outputs, (3, 3))(images)
