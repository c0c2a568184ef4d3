"""LightCNN-29 (Wu et al.), versions 1 and 2: a face encoder on grey images.

Its activation is the maximum of two halves of a layer's channels (MFM). There is no BatchNorm,
and every layer has a bias.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, pool, pool_ceil, scaled

# Rec. 601, with which the released networks' images were made grey.
LUMA = (0.299, 0.587, 0.114)

# Per stage: residual blocks before its groups, and the channels of block and group at full width.
# The paper pools after the stem and after stages 1, 2 and 4.
STAGES = ((1, 48, 96), (2, 96, 192), (3, 192, 128), (4, 128, 128))


def initialiser(gain: float) -> nn.initializers.Initializer:
    """Normal values of variance gain / (inputs of one output), for kernels [..., outputs]."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        values = jax.random.normal(key, (math.prod(shape),), dtype)
        return values.reshape(shape) * math.sqrt(gain / math.prod(shape[:-1]))

    return init


def grey(images: jax.Array) -> jax.Array:
    """[B, H, W, 3] or [B, H, W, 1] in [-1, 1] → [B, H, W, 1] in [0, 1], as the network wants it.

    Raises:
        ValueError: if the images have another number of channels.
    """
    images = jnp.asarray(images)
    channels = images.shape[-1]
    if channels not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, not {channels}")
    if channels == 3:
        images = images @ jnp.asarray(LUMA, images.dtype)[:, None]
    return (images + 1) / 2


class LightCNN(nn.Module):
    """LightCNN-29: 29 convolutions and one linear layer, whose output is the feature.

    Version 1 halves by the maximum (an odd last row or column is a window of its own) and ends in
    an MFM. Version 2 halves by the sum of maximum and average (an odd last row or column is left
    out) and ends in a plain linear layer.

    The variance of an MFM equals that of its inputs, so kernels start at variance 1 / inputs.
    Inside the residual blocks they start at a third of it (PyTorch's rule, with which the network
    was published): without normalisation ten blocks would multiply the variance by a thousand.

    Attributes:
        version: 1 or 2.
        first_pools: False leaves out the first two poolings: an image of 32 pixels then has the
            parameters of one of 128.
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate at which the feature is dropped while training (rng "dropout").
        dtype: compute dtype; the feature is float32.
    """

    version: int = 1
    first_pools: bool = True
    width: float = 1.0
    embedding: int = 256
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3 or 1] in [-1, 1] → features [B, embedding], float32.

        S is 128 (32 without the first poolings), and the same at every call: the linear layer's
        size depends on it.

        Raises:
            ValueError: if the version is neither 1 nor 2.
        """
        if self.version not in (1, 2):
            raise ValueError(f"version must be 1 or 2, not {self.version}")
        x = self._mfm(grey(images), 48, 5, "conv1")
        x = self._halved(x) if self.first_pools else x
        for stage, (blocks, width, out) in enumerate(STAGES, 1):
            for block in range(blocks):
                name = f"block{stage}_{block}"
                y = self._mfm(x, width, 3, f"{name}_first", gain=1 / 3)
                x = x + self._mfm(y, width, 3, f"{name}_second", gain=1 / 3)
            x = self._mfm(x, width, 1, f"group{stage}_reduce")
            x = self._mfm(x, out, 3, f"group{stage}_expand")
            if stage in (2, 4) or (stage == 1 and self.first_pools):
                x = self._halved(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        outputs = self.embedding * (2 if self.version == 1 else 1)
        x = nn.Dense(outputs, kernel_init=initialiser(1.0), name="fc")(x)
        if self.version == 1:
            x = jnp.maximum(*jnp.split(x, 2, axis=-1))
        return nn.Dropout(self.dropout, deterministic=not train)(x)

    def _mfm(self, x: jax.Array, width: int, side: int, name: str, gain: float = 1.0) -> jax.Array:
        """A convolution of side×side to twice `width` (scaled), and the maximum of its halves."""
        channels = 2 * scaled(width, self.width)
        init = initialiser(gain)
        layer: nn.Dense | nn.Conv
        # A 1×1 convolution is faster on a CPU as a product of matrices.
        if side == 1:
            layer = nn.Dense(channels, dtype=self.dtype, kernel_init=init, name=name)
        else:
            layer = nn.Conv(channels, (side, side), dtype=self.dtype, kernel_init=init, name=name)
        return jnp.maximum(*jnp.split(layer(x), 2, axis=-1))

    def _halved(self, x: jax.Array) -> jax.Array:
        _, height, width, _ = x.shape
        if self.version == 1:
            return pool_ceil(x)
        x = x[:, : height - height % 2, : width - width % 2]
        return pool(x, "max") + pool(x, "average")
