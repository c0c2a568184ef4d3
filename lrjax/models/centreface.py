"""CentreFace (Wen et al. 2016): a face encoder of plain convolutions and residual units.

The layout is that of the released network, github.com/ydwen/caffe-face. There is no BatchNorm;
every convolution is followed by a PReLU of one slope per channel.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, pool_ceil, scaled

# Per stage: the channels of a convolution that is followed by a pooling, and of the residual units
# behind it; their number.
STAGES = ((64, 1), (128, 2), (256, 5), (512, 3))

# The released networks see (pixel - 127.5) / 128.
SCALE = 127.5 / 128


def xavier(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Caffe's: uniform values of variance 1 / (inputs of one output), for kernels [..., outputs].

    Drawn flat, as `lrjax.models.layers.kernel_init`.
    """
    bound = math.sqrt(3 / math.prod(shape[:-1]))
    values = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
    return values.reshape(shape)


def gaussian(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
    """Normal values of standard deviation 0.01: an untrained unit gives little but its input."""
    return 0.01 * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


class PReLU(nn.Module):
    """x where it is positive, elsewhere x times a slope that is learned for each channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., C] → [..., C]."""
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:])
        return jnp.where(x > 0, x, slope.astype(x.dtype) * x)


class Plain(nn.Module):
    """A 3×3 convolution with a bias, and PReLU.

    Attributes:
        width: channels.
        stride: of the output's pixels in the input.
        padding: pixels of zeros on each side.
        dtype: compute dtype.
    """

    width: int
    stride: int = 1
    padding: int = 0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] → [B, H', W', width]."""
        convolution = nn.Conv(
            self.width,
            (3, 3),
            (self.stride, self.stride),
            padding=self.padding,
            dtype=self.dtype,
            kernel_init=xavier,
            name="conv",
        )
        return PReLU(name="prelu")(convolution(x))


class Unit(nn.Module):
    """Twice a 3×3 convolution and PReLU, plus the input.

    Its convolutions have no bias: in the released networks it starts at 0 and does not learn.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] → [B, H, W, C]."""
        y = x
        for place in ("first", "second"):
            convolution = nn.Conv(
                x.shape[-1],
                (3, 3),
                padding=1,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=gaussian,
                name=place,
            )
            y = PReLU(name=f"{place}_prelu")(convolution(y))
        return x + y


class CentreFace(nn.Module):
    """CentreFace: 27 convolutions and one linear layer, whose output is the feature.

    The plain convolutions see no border, so that 112×96 pixels become 5×4.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate at which the feature is dropped while training (rng "dropout"); the published
            network has none.
        dtype: compute dtype; the feature is float32.
    """

    width: float = 1.0
    embedding: int = 512
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, embedding], float32, not normalised.

        H and W are 112 and 96, or at least 33 and the same at every call: the linear layer's size
        depends on them.
        """
        x = Plain(scaled(32, self.width), dtype=self.dtype, name="conv1a")(images * SCALE)
        for stage, (channels, units) in enumerate(STAGES, 1):
            name = "conv1b" if stage == 1 else f"conv{stage}"
            x = pool_ceil(Plain(scaled(channels, self.width), dtype=self.dtype, name=name)(x))
            for unit in range(units):
                x = Unit(self.dtype, name=f"unit{stage}_{unit}")(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = nn.Dense(self.embedding, kernel_init=xavier, name="fc5")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)


# Per stage: the channels of a convolution that halves, and of the residual units behind it; their
# number.
SPHEREFACE_STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))


class SphereFace(nn.Module):
    """SphereFace-20: 20 convolutions on 56×48 to 7×6 pixels, and a linear layer: the feature.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate at which the feature is dropped while training (rng "dropout"); the published
            network has none.
        dtype: compute dtype; the feature is float32.
    """

    width: float = 1.0
    embedding: int = 512
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, embedding], float32, not normalised.

        H and W are 112 and 96, or at least the same at every call: the linear layer's size depends
        on them.
        """
        x = images * SCALE
        for stage, (channels, units) in enumerate(SPHEREFACE_STAGES, 1):
            # Padded by one pixel on every side: "SAME" would leave out the first where it halves.
            x = Plain(
                scaled(channels, self.width),
                stride=2,
                padding=1,
                dtype=self.dtype,
                name=f"conv{stage}",
            )(x)
            for unit in range(units):
                x = Unit(self.dtype, name=f"unit{stage}_{unit}")(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = nn.Dense(self.embedding, kernel_init=xavier, name="fc5")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)
