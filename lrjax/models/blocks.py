"""What the networks of Kumar & Chellappa are made of.

Compute runs in each module's `dtype`, parameters and normalisation statistics are float32.
`train` means: normalise by the batch and update the running statistics. Biases are left out
wherever a BatchNorm that follows would cancel them.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any

POOLINGS = ("max", "average")


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


def upsample(x: jax.Array) -> jax.Array:
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
            y = nn.Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype)(y)
        if x.shape[-1] != self.width:
            # A 1×1 convolution; as a product of matrices it is faster on a CPU.
            x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="shortcut")(x)
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
