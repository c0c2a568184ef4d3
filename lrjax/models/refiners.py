"""Refiners: SRCNN, VDSR and DRRN sharpen images that were enlarged before; sizes stay.

Inside, pixels are in [0, 1], as published. `train` means: normalise by the batch and move the
running statistics, where there are any.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, he_init


def gaussian_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """The paper's: normal values of standard deviation 0.001."""
    return 1e-3 * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


class SRCNN(nn.Module):
    """SRCNN: 9×9 convolution, ReLU, 1×1 or 5×5 convolution, ReLU, 5×5 convolution ("9-1-5").

    Inside, pixels are in [0, 1], as published. Paper: nothing around images, which become smaller
    by that, and luminance alone. Ours: zeros, and any number of channels.

    Attributes:
        channels: of images.
        width: channels after the first convolution; after the second there are half as many.
        middle: side of the second convolution's kernels: 1, or 5 in the larger "9-5-5".
        residual: beyond the paper: add to the input, which is where it starts.
        dtype: compute dtype.
    """

    channels: int = 3
    width: int = 64
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

        x = nn.relu(conv((images + 1) / 2, self.width, 9, "conv_0"))
        x = nn.relu(conv(x, self.width // 2, self.middle, "conv_1"))
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


class VDSR(nn.Module):
    """VDSR: twenty 3×3 convolutions, with a ReLU after all but the last, plus the input.

    Inside, pixels are in [0, 1], as in the published weights.

    Attributes:
        channels: of images: 1 (luminance) as published, or 3.
        width: channels of the hidden layers.
        layers: number of convolutions.
        use_bias: False as in the published PyTorch weights; the paper has biases.
        residual: beyond the paper: start with a last convolution of zeros, which changes nothing.
        dtype: compute dtype; the sum with the input is float32.
    """

    channels: int = 1
    width: int = 64
    layers: int = 20
    use_bias: bool = False
    residual: bool = False
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
                self.channels if last else self.width,
                (3, 3),
                use_bias=self.use_bias,
                dtype=self.dtype,
                kernel_init=nn.initializers.zeros if last and self.residual else he_init,
                name=f"conv_{layer}",
            )
            x = convolution(x) if last else nn.relu(convolution(x))
        return images.astype(jnp.float32) + 2 * x.astype(jnp.float32)


class DRRN(nn.Module):
    """DRRN: recursive blocks, a last convolution, plus the input.

    Every convolution is 3×3, has a bias, and comes after a BatchNorm and a ReLU. A block begins
    with a convolution; then each of its units is two convolutions of what came before plus the
    first convolution's output. All units of a block share their convolutions. They do not share
    their BatchNorms, as in the authors' files: what each of them sees is distributed differently.
    B blocks of U units have (1 + 2 U) B + 1 convolutions one after another: B1U9 20, B1U25 52.

    Inside, pixels are in [0, 1], as published.

    Attributes:
        channels: of images: 1 (luminance) as published, or 3.
        width: channels of the hidden layers.
        blocks: number of recursive blocks, B.
        units: residual units of each, U.
        residual: beyond the paper: start with a last convolution of zeros, which changes nothing.
        dtype: compute dtype; the sum with the input is float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    channels: int = 3
    width: int = 128
    blocks: int = 1
    units: int = 9
    residual: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Enlarged images [B, H, W, channels] in [-1, 1] → sharper ones, float32, not clipped."""

        def conv(width: int, name: str, zero: bool = False) -> nn.Conv:
            init = nn.initializers.zeros if zero else he_init
            return nn.Conv(width, (3, 3), dtype=self.dtype, kernel_init=init, name=name)

        def active(x: jax.Array, name: str) -> jax.Array:
            axis, dtype = self.axis_name, self.dtype
            norm = nn.BatchNorm(not train, momentum=0.9, dtype=dtype, axis_name=axis, name=name)
            return nn.relu(norm(x))

        x = (images + 1) / 2
        for index in range(self.blocks):
            block = f"block_{index}"
            start = conv(self.width, f"{block}_start")(active(x, f"{block}_start_norm"))
            first, second = (conv(self.width, f"{block}_{name}") for name in ("first", "second"))
            x = start
            for unit in range(self.units):
                y = first(active(x, f"{block}_unit_{unit}_first_norm"))
                x = start + second(active(y, f"{block}_unit_{unit}_second_norm"))
        change = conv(self.channels, "image", self.residual)(active(x, "image_norm"))
        return images.astype(jnp.float32) + 2 * change.astype(jnp.float32)
