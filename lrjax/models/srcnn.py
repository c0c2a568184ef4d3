"""SRCNN (Dong et al. 2014, 2016): three convolutions that sharpen images already enlarged."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype


def gaussian_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """The paper's: normal values of standard deviation 0.001."""
    return 1e-3 * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


class SRCNN(nn.Module):
    """SRCNN: 9×9 convolution, ReLU, 1×1 or 5×5 convolution, ReLU, 5×5 convolution ("9-1-5").

    Inside, pixels are in [0, 1], as published. Paper: nothing around images, which become smaller
    by that, and luminance alone. Ours: zeros, and any number of channels.

    Attributes:
        channels: of images.
        features: channels after the first convolution; after the second there are half as many.
        middle: side of the second convolution's kernels: 1, or 5 in the larger "9-5-5".
        residual: beyond the paper: add to the input, which is where it starts.
        dtype: compute dtype.
    """

    channels: int = 3
    features: int = 64
    middle: int = 1
    residual: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Enlarged images [B, H, W, channels] in [-1, 1] → sharper ones, float32, not clipped.

        `train` changes nothing.
        """
        del train

        def conv(x: jax.Array, width: int, side: int, name: str) -> jax.Array:
            return nn.Conv(
                width, (side, side), dtype=self.dtype, kernel_init=gaussian_init, name=name
            )(x)

        x = nn.relu(conv((images + 1) / 2, self.features, 9, "conv_0"))
        x = nn.relu(conv(x, self.features // 2, self.middle, "conv_1"))
        if not self.residual:
            return 2 * conv(x, self.channels, 5, "conv_2").astype(jnp.float32) - 1
        # By another name: weights of the one network mean nothing in the other.
        last = nn.Conv(
            self.channels,
            (5, 5),
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="change_2",
        )
        return images.astype(jnp.float32) + 2 * last(x).astype(jnp.float32)
