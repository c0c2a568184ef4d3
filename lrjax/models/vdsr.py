"""VDSR (Kim et al.): very deep super-resolution of images already enlarged."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype

LAYERS = 20


def he_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Normal values of variance 2 / (inputs of one output), for kernels [..., outputs]."""
    values = jax.random.normal(key, (math.prod(shape),), dtype)
    return values.reshape(shape) * math.sqrt(2 / math.prod(shape[:-1]))


class VDSR(nn.Module):
    """VDSR: twenty 3×3 convolutions, with a ReLU after all but the last, plus the input.

    Inside, pixels are in [0, 1], as in the published weights.

    Attributes:
        channels: of images: 1 (luminance) as published, or 3.
        features: channels of the hidden layers.
        layers: number of convolutions.
        use_bias: False as in the published PyTorch weights; the paper has biases.
        identity: beyond the paper: start with a last convolution of zeros, which changes nothing.
        dtype: compute dtype; the sum with the input is float32.
    """

    channels: int = 1
    features: int = 64
    layers: int = LAYERS
    use_bias: bool = False
    identity: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Enlarged images [B, H, W, channels] in [-1, 1] → sharper ones, float32, not clipped.

        `train` changes nothing.

        Raises:
            ValueError: if the images have another number of channels.
        """
        del train
        if images.shape[-1] != self.channels:
            raise ValueError(f"images must have {self.channels} channels, not {images.shape[-1]}")
        x = (images + 1) / 2
        for layer in range(self.layers):
            last = layer == self.layers - 1
            convolution = nn.Conv(
                self.channels if last else self.features,
                (3, 3),
                use_bias=self.use_bias,
                dtype=self.dtype,
                kernel_init=nn.initializers.zeros if last and self.identity else he_init,
                name=f"conv_{layer}",
            )
            x = convolution(x) if last else nn.relu(convolution(x))
        return images.astype(jnp.float32) + 2 * x.astype(jnp.float32)
