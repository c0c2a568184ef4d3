"""Networks that enlarge faces, and those that judge the enlarged ones (SRGAN, ESRGAN).

SRResNet and RRDBNet take images [B, h, w, 3] in [-1, 1] and give [B, f h, f w, 3], about in the
same range (nothing bounds it), by a factor f that is a power of two; h and w are free. The networks
in `lrjax.models.refiners` sharpen what was enlarged before. `train` means: normalise by the batch
and move the running statistics, where there are any.

Blocks are unrolled: in a loop, XLA runs convolutions on one core of a CPU.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, convolution, dense, kernel_init, upsample_nearest

# Both papers: LeakyReLU with 0.2, and residual scaling by 0.2.
SLOPE, SCALING = 0.2, 0.2
# Of red, green and blue, as in JFIF.
LUMINANCE = (0.299, 0.587, 0.114)


def doublings(factor: int) -> int:
    """Count how often a network of `factor` doubles height and width.

    Raises:
        ValueError: `factor` is not a power of two from 2 on.
    """
    steps = factor.bit_length() - 1
    if factor < 2 or factor != 2**steps:
        raise ValueError(f"the factor {factor} is not a power of two from 2 on")
    return steps


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """[B, H, W, f² C] → [B, f H, f W, C]: each pixel's channels become a block of f × f pixels.

    Channel c f² + i f + j goes to row i and column j, as PyTorch orders them.
    """
    batch, height, width, channels = x.shape
    out = channels // factor**2
    x = x.reshape(batch, height, width, out, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, height * factor, width * factor, out)


def enlarged(images: jax.Array, height: int, width: int) -> jax.Array:
    """Enlarge images [B, h, w, C] to [B, height, width, C] by bicubic interpolation."""
    batch, low, narrow, channels = images.shape
    if (low, narrow) == (height, width):
        return images
    # As `jax.image.resize` does it, which cannot be exported to ONNX for a batch of any size.
    shape, factors = (batch, height, width, channels), jnp.array([height / low, width / narrow])
    return jax.image.scale_and_translate(images, shape, (1, 2), factors, jnp.zeros(2), "bicubic")


class SRResNet(nn.Module):
    """The generator of SRGAN (Ledig et al. 2017, figure 4).

    9×9 convolution and PReLU; blocks of 3×3 convolution, BatchNorm, PReLU, 3×3 convolution,
    BatchNorm, plus the input; one more 3×3 convolution and BatchNorm, plus the blocks' input; for
    each doubling a 3×3 convolution to four times the channels, pixel shuffle and PReLU; 9×9
    convolution. A PReLU has one slope. Convolutions before a BatchNorm have no bias.

    Attributes:
        width: channels.
        blocks: number of residual blocks.
        factor: of the enlargement.
        residual: beyond the paper: add to the bicubic enlargement, which is where it starts.
        dtype: compute dtype of all but the output layer.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    width: int = 64
    blocks: int = 16
    factor: int = 4
    residual: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, h, w, 3] in [-1, 1] → [B, f h, f w, 3], float32."""

        def conv(x: jax.Array, name: str) -> jax.Array:
            return convolution(self.width, self.dtype, name=name)(x)

        def norm(x: jax.Array, name: str) -> jax.Array:
            axis, dtype = self.axis_name, self.dtype
            return nn.BatchNorm(not train, momentum=0.9, dtype=dtype, axis_name=axis, name=name)(x)

        def prelu(x: jax.Array, name: str) -> jax.Array:
            return nn.PReLU(negative_slope_init=0.25, name=name)(x)

        x = prelu(_wide(self.width, self.dtype, "stem")(images), "stem_prelu")
        start = x
        for index in range(self.blocks):
            block = f"block_{index}"
            y = norm(conv(x, f"{block}_first"), f"{block}_first_norm")
            y = conv(prelu(y, f"{block}_prelu"), f"{block}_second")
            x = x + norm(y, f"{block}_second_norm")
        x = start + norm(conv(x, "trunk"), "trunk_norm")
        for index in range(doublings(self.factor)):
            name = f"double_{index}"
            x = convolution(4 * self.width, self.dtype, use_bias=True, name=name)(x)
            x = prelu(pixel_shuffle(x, 2), f"{name}_prelu")
        if not self.residual:
            return _wide(3, jnp.float32, "image")(x)
        change = _wide(3, jnp.float32, "image", nn.initializers.zeros)(x)
        height, width = (self.factor * side for side in images.shape[1:3])
        return enlarged(images, height, width) + change


class RRDBNet(nn.Module):
    """The generator of ESRGAN (Wang et al. 2018, figure 4): no normalisation anywhere.

    Each residual-in-residual dense block is three dense blocks plus its input, and each of those
    five 3×3 convolutions on all that came before, the fifth linear, plus its input; both sums scale
    the branch by 0.2. Images are enlarged by repeating pixels before a convolution.

    Attributes:
        width: channels outside the dense blocks.
        blocks: number of residual-in-residual dense blocks.
        growth: channels that each convolution inside a dense block adds.
        factor: of the enlargement.
        residual: beyond the paper: add to the bicubic enlargement, which is where it starts.
        dtype: compute dtype of all but the output layer.
    """

    width: int = 64
    blocks: int = 23
    growth: int = 32
    factor: int = 4
    residual: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, h, w, 3] in [-1, 1] → [B, f h, f w, 3], float32; `train` changes nothing."""
        del train

        def conv(x: jax.Array, width: int, name: str, scale: float = 1.0) -> jax.Array:
            def init(*args: Any) -> jax.Array:
                return scale * kernel_init(*args)

            return nn.Conv(width, (3, 3), dtype=self.dtype, kernel_init=init, name=name)(x)

        def dense_block(x: jax.Array, name: str) -> jax.Array:
            seen = x
            for index in range(4):
                # Paper: weights start at a tenth of their usual size.
                y = nn.leaky_relu(conv(seen, self.growth, f"{name}_{index}", 0.1), SLOPE)
                seen = jnp.concatenate([seen, y], axis=-1)
            return x + SCALING * conv(seen, self.width, f"{name}_4", 0.1)

        # Its authors' weights are for images in [0, 1].
        x = conv((images + 1.0) / 2.0, self.width, "stem")
        start = x
        for index in range(self.blocks):
            y = x
            for part in range(3):
                y = dense_block(y, f"block_{index}_{part}")
            x = x + SCALING * y
        x = start + conv(x, self.width, "trunk")
        for index in range(doublings(self.factor)):
            x = nn.leaky_relu(conv(upsample_nearest(x), self.width, f"double_{index}"), SLOPE)
        x = nn.leaky_relu(conv(x, self.width, "last"), SLOPE)
        begin = nn.initializers.zeros if self.residual else kernel_init
        image = nn.Conv(3, (3, 3), dtype=jnp.float32, kernel_init=begin, name="image")(x)
        if self.residual:
            height, width = (self.factor * side for side in images.shape[1:3])
            return enlarged(images, height, width) + 2.0 * image
        return 2.0 * image - 1.0


class LuminanceOnly(nn.Module):
    """A network for one channel on colour images: it changes their luminance, and not their hue.

    Attributes:
        inner: `(images [B, H, W, 1] in [-1, 1], train) -> images` of the same size.
    """

    inner: nn.Module

    def setup(self) -> None:
        nn.share_scope(self, self.inner)

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → [B, H, W, 3]."""
        luminance = images @ jnp.asarray(LUMINANCE)[:, None]
        # What is added to all three channels alike leaves Cb and Cr as they are.
        return images + self.inner(luminance, train) - luminance


class SRGANDiscriminator(nn.Module):
    """The discriminator of SRGAN, and of ESRGAN with it: like VGG, it halves and widens by turns.

    Two 3×3 convolutions for each of `widths`, the second with stride 2, each with BatchNorm (but
    the very first) and LeakyReLU 0.2; then a hidden layer with LeakyReLU, and one linear score.

    Attributes:
        widths: channels of the pairs of convolutions.
        hidden: width of the hidden layer.
        dtype: compute dtype of all but the score.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 1024
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → scores [B], float32; S is the same at every call."""
        x = images
        for index, width in enumerate(self.widths):
            for stride in (1, 2):
                first = index == 0 and stride == 1
                name = f"conv_{index}_{stride}"
                x = nn.Conv(
                    width,
                    (3, 3),
                    stride,
                    padding=1,
                    use_bias=first,
                    dtype=self.dtype,
                    kernel_init=kernel_init,
                    name=name,
                )(x)
                if not first:
                    x = nn.BatchNorm(
                        not train,
                        momentum=0.9,
                        dtype=self.dtype,
                        axis_name=self.axis_name,
                        name=f"{name}_norm",
                    )(x)
                x = nn.leaky_relu(x, SLOPE)
        x = x.reshape(len(x), math.prod(x.shape[1:]))
        x = nn.leaky_relu(dense(self.hidden, self.dtype, name="hidden")(x), SLOPE)
        return dense(1, jnp.float32, name="score")(x)[:, 0]


def _wide(
    width: int, dtype: Dtype, name: str, init: Callable[..., jax.Array] = kernel_init
) -> nn.Conv:
    """A 9×9 convolution to `width` channels."""
    return nn.Conv(width, (9, 9), dtype=dtype, kernel_init=init, name=name)
