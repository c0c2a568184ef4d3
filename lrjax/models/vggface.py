"""VGGFace (Parkhi et al. 2015): VGG-16, configuration D, as a face recogniser."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models import vgg
from lrjax.models.blocks import Dtype
from lrjax.models.vdsr import he_init

CONVOLUTIONS = (2, 2, 3, 3, 3)
WIDTHS = (64, 128, 256, 512, 512)
"""Of each group: how many convolutions, and their channels."""

MEAN = (129.1863, 104.7624, 93.5940)
"""Of red, green and blue in the 0..255 of its training pictures."""


class VGGFace(nn.Module):
    """VGG-16 without its classifier; the feature is what that sees, the layer fc7 after its ReLU.

    The mean is taken out of the pixels, which stay in units of 127.5: in units of 1, as published,
    an untrained network would start with features a hundred times as large. It is the published
    network with 127.5 times the kernel of conv1_1.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate after either hidden layer, the feature among them, while training (rng
            "dropout").
        dtype: compute dtype of the convolutions; the linear layers are float32.
    """

    width: float = 1.0
    embedding: int = 4096
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → features [B, embedding], float32, from 0 on.

        S is 224, or at least 32 and the same at every call: the size of the first linear layer
        depends on it.
        """
        x = images - (jnp.asarray(MEAN) / 127.5 - 1.0)
        widths = tuple(self._scaled(width) for width in WIDTHS)
        x = vgg.halved(vgg.groups(x, CONVOLUTIONS, widths, self.dtype))
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        for name, width in (("fc6", self._scaled(4096)), ("fc7", self.embedding)):
            x = nn.relu(nn.Dense(width, kernel_init=he_init, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x

    def _scaled(self, channels: int) -> int:
        return max(1, round(channels * self.width))
