"""MobileFaceNet (Chen et al.): a face encoder of a million parameters.

The layout is that of github.com/foamliu/MobileFaceNet, for which public weights exist: inverted
residual blocks as in MobileNet v2 (ReLU up to 6), then one global depthwise convolution.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, dense, kernel_init, scaled

# ImageNet's mean and standard deviation of red, green and blue in [0, 1].
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)

# Groups of inverted residual blocks: expansion, channels, count, step of the first of them.
BLOCKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def relu6(x: jax.Array) -> jax.Array:
    """Between 0 and 6."""
    return jnp.clip(x, 0, 6)


def depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A 3×3 convolution of each channel by itself, padded by one pixel on every side.

    As a sum of nine shifted images: XLA's grouped convolution is some ten times slower on a CPU.

    Args:
        x: [B, H, W, C].
        kernel: [3, 3, C].
        stride: of the output's pixels in the input.

    Returns:
        [B, (H - 1) // stride + 1, (W - 1) // stride + 1, C].
    """
    batch, height, width, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    bottom, right = ((side - 1) // stride * stride + 1 for side in (height, width))

    def shifted(row: int, column: int) -> jax.Array:
        stop = (batch, row + bottom, column + right, channels)
        return jax.lax.slice(padded, (0, row, column, 0), stop, (1, stride, stride, 1))

    return jnp.asarray(sum(kernel[i, j] * shifted(i, j) for i in range(3) for j in range(3)))


class MobileFaceNet(nn.Module):
    """MobileFaceNet: 15 inverted residual blocks on 56 to 7 pixels, and a linear head.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate before the head while training (rng "dropout"); the published one has none.
        dtype: compute dtype; the head is float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    width: float = 1.0
    embedding: int = 128
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → features [B, embedding], float32, not normalised.

        S is 112, or at least the same at every call: the last depthwise kernel covers the map.
        """
        mean, deviation = jnp.asarray(MEAN), jnp.asarray(DEVIATION)
        x = ((images + 1) / 2 - mean) / deviation
        # Padded by one pixel on every side: "SAME" would leave out the first where it halves.
        stem = nn.Conv(
            scaled(64, self.width),
            (3, 3),
            (2, 2),
            padding=1,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=kernel_init,
            name="conv1",
        )
        x = relu6(self._norm(stem(x), "conv1_norm", train, self.dtype))
        x = nn.relu(self._depthwise(x, "depthwise", train))
        x = nn.relu(self._pointwise(x, "pointwise", scaled(64, self.width), train))
        place = 0
        for expansion, channels, count, stride in BLOCKS:
            for index in range(count):
                step = stride if index == 0 else 1
                x = self._block(x, f"features_{place}", expansion, channels, step, train)
                place += 1
        x = relu6(self._pointwise(x, "conv2", scaled(512, self.width), train))
        return self._head(x.astype(jnp.float32), train)

    def _block(
        self, x: jax.Array, name: str, expansion: int, channels: int, stride: int, train: bool
    ) -> jax.Array:
        """Wider by `expansion`, depthwise, linearly back, and the input where it fits."""
        y = relu6(self._pointwise(x, f"{name}_expand", expansion * x.shape[-1], train))
        y = relu6(self._depthwise(y, f"{name}_depthwise", train, stride))
        y = self._pointwise(y, f"{name}_project", scaled(channels, self.width), train)
        return x + y if x.shape == y.shape else y

    def _head(self, x: jax.Array, train: bool) -> jax.Array:
        """A weighted mean over all pixels per channel, BatchNorm, linear, BatchNorm."""
        weights = self.param("global", kernel_init, x.shape[1:])
        x = self._norm(jnp.einsum("bhwc,hwc->bc", x, weights), "global_norm", train, jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = dense(self.embedding, jnp.float32, name="conv3")(x)
        return self._norm(x, "norm", train, jnp.float32)

    def _depthwise(self, x: jax.Array, name: str, train: bool, stride: int = 1) -> jax.Array:
        """A 3×3 convolution of each channel by itself, with BatchNorm."""
        kernel = self.param(name, kernel_init, (3, 3, x.shape[-1]))
        x = depthwise(x.astype(self.dtype), kernel.astype(self.dtype), stride)
        return self._norm(x, f"{name}_norm", train, self.dtype)

    def _pointwise(self, x: jax.Array, name: str, channels: int, train: bool) -> jax.Array:
        """A 1×1 convolution with BatchNorm."""
        x = dense(channels, self.dtype, use_bias=False, name=name)(x)
        return self._norm(x, f"{name}_norm", train, self.dtype)

    def _norm(self, x: jax.Array, name: str, train: bool, dtype: Dtype) -> jax.Array:
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            dtype=dtype,
            axis_name=self.axis_name,
            name=name,
        )
        return norm(x)
