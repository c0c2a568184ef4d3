"""Layers that the networks share.

Compute runs in each module's `dtype`, parameters and normalisation statistics are float32.
`train` means: normalise by the batch and update the running statistics. Biases are left out
wherever a BatchNorm that follows would cancel them.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any

POOLINGS = ("max", "average")


def kernel_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Normal values of variance 1 / (inputs of one output), for kernels [..., outputs].

    Drawn flat: XLA takes seconds on a CPU to compile a draw of four axes, per layer, and a tenth
    of that for the same numbers on one axis.
    """
    values = jax.random.normal(key, (math.prod(shape),), dtype)
    return values.reshape(shape) / math.sqrt(math.prod(shape[:-1]))


def he_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Draw normal values of variance 2 / (inputs of one output), for kernels [..., outputs]."""
    values = jax.random.normal(key, (math.prod(shape),), dtype)
    return values.reshape(shape) * math.sqrt(2 / math.prod(shape[:-1]))


def convolution(
    width: int, dtype: Dtype, *, use_bias: bool = False, name: str | None = None
) -> nn.Conv:
    """A 3×3 convolution to `width` channels."""
    return nn.Conv(
        width, (3, 3), use_bias=use_bias, dtype=dtype, kernel_init=kernel_init, name=name
    )


def dense(width: int, dtype: Dtype, *, use_bias: bool = True, name: str | None = None) -> nn.Dense:
    """A linear layer to `width` channels.

    On [B, H, W, C] it is a 1×1 convolution, which is faster on a CPU as a product of matrices.
    """
    return nn.Dense(width, use_bias=use_bias, dtype=dtype, kernel_init=kernel_init, name=name)


def pool(x: jax.Array, kind: str) -> jax.Array:
    """Halves height and width of [B, H, W, C] by the maximum or the average of 2×2 pixels.

    Written as a reshape and a reduction: the gradient of a windowed maximum is a scatter, which
    is many times slower on a CPU. Equal maxima share their gradient.

    Raises:
        ValueError: if `kind` is not in `POOLINGS`, or height or width is odd.
    """
    if kind not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}, not {kind!r}")
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve {height}×{width} pixels; both must be even")
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return windows.max(axis=(2, 4)) if kind == "max" else windows.mean(axis=(2, 4))


def pool_floor(x: jax.Array) -> jax.Array:
    """Take the maximum of 2×2 pixels of [B, H, W, C]; an odd last row or column is left out."""
    height, width = (side - side % 2 for side in x.shape[1:3])
    return pool(x[:, :height, :width], "max")


def pool_ceil(x: jax.Array) -> jax.Array:
    """Take the maximum of 2×2 pixels, as Caffe: an odd last row or column is its own window."""
    for axis in (1, 2):
        if x.shape[axis] % 2:  # repeating the edge does not change a maximum
            edge = jax.lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
            x = jnp.concatenate([x, edge], axis)
    return pool(x, "max")


def scaled(channels: int, width: float) -> int:
    """Return `channels` times the factor `width`, at least 1."""
    return max(1, round(channels * width))


def upsample_nearest(x: jax.Array) -> jax.Array:
    """Doubles height and width of [B, H, W, C] by repeating pixels (nearest neighbour)."""
    batch, height, width, channels = x.shape
    shape = (batch, height, 2, width, 2, channels)
    repeated = jnp.broadcast_to(x[:, :, None, :, None, :], shape)
    return repeated.reshape(batch, 2 * height, 2 * width, channels)


class NormRelu(nn.Module):
    """BatchNorm, then ReLU.

    Attributes:
        dtype: compute dtype; the statistics are float32 always.
        axis_name: device axis over which the batch statistics are shared (not while
            initialising, where no such axis exists).
    """

    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        return nn.relu(norm(x))


class ResidualBlock(nn.Module):
    """Pre-activation residual block: twice (BatchNorm, ReLU, 3×3 convolution), plus the input.

    A 1×1 convolution takes the input to `width` channels where it has others. The paper draws
    "two residual blocks followed by a convolution layer to increase dimensionality"; as in the
    published relatives of its figure, the first block of a group does the widening.
    """

    width: int
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] → [B, H, W, width]."""
        y = x
        for _ in range(2):
            y = NormRelu(self.dtype, self.axis_name)(y, train)
            y = convolution(self.width, self.dtype)(y)
        if x.shape[-1] != self.width:
            x = dense(self.width, self.dtype, use_bias=False, name="shortcut")(x)
        return x.astype(y.dtype) + y


class ResidualGroup(nn.Module):
    """Two residual blocks of one width: an arrow in the paper's figures 3 and 5."""

    width: int
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] → [B, H, W, width]."""
        for _ in range(2):
            x = ResidualBlock(self.width, self.dtype, self.axis_name)(x, train)
        return x


class Critic(nn.Module):
    """The scalar discriminator that D1 and D3 share: residual blocks without BatchNorm.

    Each block is ReLU, 3×3 convolution, ReLU, 3×3 convolution plus the input (through a 1×1
    convolution where widths differ); the first ReLU of the first block is left out, as it would
    discard the dark half of the image. Then a hidden layer and one linear score. Every weight is
    divided by its spectral norm (equation 3), estimated by one step of power iteration per call
    from vectors kept in `batch_stats`.

    Paper: BatchNorm after every convolution. Ours: none, since it undoes the Lipschitz bound that
    spectral normalisation is there for. Paper's figure 3: pooling in the last two blocks, its
    text: in the last three. Ours: three, which takes 32 pixels to 4.

    Attributes:
        widths: channels of the blocks.
        pooled_blocks: how many of the last blocks end in a 2×2 pooling.
        hidden: width of the hidden layer.
        pooling: "max" (the paper) or "average" (its published relatives).
        spectral_norm: False leaves the weights as they are, and `batch_stats` empty.
        dtype: compute dtype of all but the score.
    """

    widths: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    pooled_blocks: int = 3
    hidden: int = 512
    pooling: str = "max"
    spectral_norm: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def score(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] → [B] float32; `train` moves the power iteration on by one step."""

        def normalised(layer: nn.Module, x: jax.Array) -> jax.Array:
            if self.spectral_norm:
                return nn.SpectralNorm(layer, n_steps=1)(x, update_stats=train)
            return layer(x)

        for index, width in enumerate(self.widths):
            block = f"block_{index}"
            y = x if index == 0 else nn.relu(x)
            first = convolution(width, self.dtype, use_bias=True, name=f"{block}_first")
            y = nn.relu(normalised(first, y))
            second = convolution(width, self.dtype, use_bias=True, name=f"{block}_second")
            y = normalised(second, y)
            if x.shape[-1] != width:
                shortcut = dense(width, self.dtype, use_bias=False, name=f"{block}_shortcut")
                x = normalised(shortcut, x)
            x = x + y
            if index >= len(self.widths) - self.pooled_blocks:
                x = pool(x, self.pooling)
        x = nn.relu(x).reshape(x.shape[0], -1)
        x = nn.relu(normalised(dense(self.hidden, self.dtype, name="hidden"), x))
        return normalised(dense(1, jnp.float32, name="score"), x)[:, 0]
