"""The landmark networks of Kumar & Chellappa (§3.2): G2, D2 and D3."""

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


class UNet(nn.Module):
    """The U-Net that G2 and D2 share: 16 residual blocks and N+1 linear outputs.

    Encoder: one group of two blocks per width, each followed by a 2×2 pooling. Decoder: the same
    in reverse, each group preceded by a ×2 upsampling and by the encoder's features of that size.
    Paper: "spatial resolution is halved after each block". Ours: after each group of two, since
    eight halvings would need 256 pixels.

    Attributes:
        num_points: N; the outputs are N point maps and, last, the background.
        widths: channels of the encoder's groups, fine to coarse. Sides of the input must be
            divisible by 2 ** len(widths).
        stem: channels of the first 3×3 convolution.
        pooling: "max" or "average".
        dtype: compute dtype of all but the output layer.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    num_points: int
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    pooling: str = "max"
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def translate(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, S, S, C] → [B, S, S, N+1] float32."""
        step = 2 ** len(self.widths)
        if x.shape[1] % step or x.shape[2] % step:
            raise ValueError(f"sides {x.shape[1:3]} must be divisible by {step}")
        x = convolution(self.stem, self.dtype, name="stem")(x)
        skips = []
        for index, width in enumerate(self.widths):
            group = ResidualGroup(width, self.dtype, self.axis_name, name=f"encoder_{index}")
            x = group(x, train)
            skips.append(x)
            x = pool(x, self.pooling)
        for index, width in reversed(tuple(enumerate(self.widths))):
            x = jnp.concatenate([upsample(x), skips.pop()], axis=-1)
            group = ResidualGroup(width, self.dtype, self.axis_name, name=f"decoder_{index}")
            x = group(x, train)
        x = NormRelu(self.dtype, self.axis_name, name="final")(x, train)
        # A 1×1 convolution, in float32: heatmap values near 0 and 1 decide the decoded point.
        return dense(self.num_points + 1, jnp.float32, name="maps")(x)


class HeatmapGenerator(UNet):
    """G2: an image to one heatmap per point and one of the background (§3.2.1)."""

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → maps [B, S, S, N+1], float32, linear."""
        return self.translate(images, train)


class HeatmapDiscriminator(UNet):
    """D2: an autoencoder of heatmaps that also sees their image (§3.2.2)."""

    def __call__(self, heatmaps: jax.Array, images: jax.Array, train: bool) -> jax.Array:
        """Maps [B, S, S, N+1] and images [B, S, S, 3] → maps [B, S, S, N+1], float32."""
        return self.translate(jnp.concatenate([heatmaps, images], axis=-1), train)


class ConfidenceDiscriminator(Critic):
    """D3: tells true from predicted heatmaps, given their image; built as D1 (§3.2.3)."""

    def __call__(self, heatmaps: jax.Array, images: jax.Array, update_stats: bool) -> jax.Array:
        """Maps [B, S, S, N+1] and images [B, S, S, 3] → scores [B], float32, unbounded."""
        return self.score(jnp.concatenate([heatmaps, images], axis=-1), update_stats)
