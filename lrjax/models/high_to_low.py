"""The degradation networks of Kumar & Chellappa (§3.1): G1 and D1."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import (
    Critic,
    Dtype,
    NormRelu,
    ResidualGroup,
    convolution,
    dense,
    pool,
    upsample,
)


class HighToLowGenerator(nn.Module):
    """G1: a high-resolution face and a noise vector to a face of a quarter of its side.

    The noise is projected to a plane of the image's size and becomes its fourth channel. Stem and
    encoder halve the side once per group and once more (128 → 4 with four groups); the decoder
    doubles it once per group (4 → 32 with three).

    Paper: eight blocks "each followed by" a widening convolution and pooling, six in the decoder.
    Ours: one pooling in the stem and one per group of two blocks, as in its figure 3; eight
    poolings would need 1024 pixels.

    Attributes:
        stem: channels of the first 3×3 convolution.
        encoder: channels of the encoder's groups.
        decoder: channels of the decoder's groups.
        noise: length of the noise vector.
        pooling: "max" (the paper) or "average" (its published relatives).
        dtype: compute dtype of all but the output layer.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    stem: int = 96
    encoder: tuple[int, ...] = (96, 128, 256, 512)
    decoder: tuple[int, ...] = (256, 128, 64)
    noise: int = 64
    pooling: str = "max"
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, noise: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] and noise [B, noise] → [B, S/4, S/4, 3] in [-1, 1].

        S is divisible by 32, and the same at every call: the noise's projection depends on it.
        With other group counts the output's side is S / 2 ** (1 + len(encoder) - len(decoder)).

        Raises:
            ValueError: if S is not divisible, or the noise vector has another length.
        """
        batch, height, width, _ = images.shape
        step = 2 ** (1 + len(self.encoder))
        if height % step or width % step:
            raise ValueError(f"sides {(height, width)} must be divisible by {step}")
        if noise.shape != (batch, self.noise):
            raise ValueError(f"noise must have shape {(batch, self.noise)}, not {noise.shape}")
        plane = dense(height * width, self.dtype, name="noise_plane")(noise)
        plane = plane.reshape(batch, height, width, 1)
        x = jnp.concatenate([images.astype(plane.dtype), plane], axis=-1)
        x = convolution(self.stem, self.dtype, name="stem")(x)
        x = pool(x, self.pooling)
        for index, channels in enumerate(self.encoder):
            group = ResidualGroup(channels, self.dtype, self.axis_name, name=f"encoder_{index}")
            x = pool(group(x, train), self.pooling)
        for index, channels in enumerate(self.decoder):
            group = ResidualGroup(channels, self.dtype, self.axis_name, name=f"decoder_{index}")
            x = group(upsample(x), train)
        x = NormRelu(self.dtype, self.axis_name, name="final")(x, train)
        return jnp.tanh(convolution(3, jnp.float32, use_bias=True, name="image")(x))


class ImageDiscriminator(Critic):
    """D1: tells real from generated low-resolution images (§3.1)."""

    def __call__(self, images: jax.Array, update_stats: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → scores [B], float32, unbounded."""
        return self.score(images, update_stats)
