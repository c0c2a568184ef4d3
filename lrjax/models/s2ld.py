"""The networks of Kumar & Chellappa: G1, D1 (§3.1), G2, D2 and D3 (§3.2).

`train` means: normalise by the batch and move the running statistics (of D1 and D3, the vectors of
the power iteration).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.geometry.points import SCHEMES
from lrjax.models.layers import (
    Critic,
    Dtype,
    NormRelu,
    ResidualGroup,
    convolution,
    dense,
    pool,
    upsample_nearest,
)
from lrjax.models.registry import Network, NetworkConfig, critic, make_module, register


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
            x = group(upsample_nearest(x), train)
        x = NormRelu(self.dtype, self.axis_name, name="final")(x, train)
        return jnp.tanh(convolution(3, jnp.float32, use_bias=True, name="image")(x))


class ImageDiscriminator(Critic):
    """D1: tells real from generated low-resolution images (§3.1)."""

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → scores [B], float32, unbounded."""
        return self.score(images, train)


class UNet(nn.Module):
    """The U-Net that G2 and D2 share: 16 residual blocks and linear outputs.

    Encoder: one group of two blocks per width, each followed by a 2×2 pooling. Decoder: the same
    in reverse, each group preceded by a ×2 upsampling and by the encoder's features of that size.
    Paper: "spatial resolution is halved after each block". Ours: after each group of two, since
    eight halvings would need 256 pixels.

    Attributes:
        widths: channels of the encoder's groups, fine to coarse. Sides of the input must be
            divisible by 2 ** len(widths).
        stem: channels of the first 3×3 convolution.
        pooling: "max" or "average".
        dtype: compute dtype of all but the output layer.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    pooling: str = "max"
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def translate(self, x: jax.Array, outputs: int, train: bool) -> jax.Array:
        """Map [B, S, S, C] to [B, S, S, outputs], float32, linear."""
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
            x = jnp.concatenate([upsample_nearest(x), skips.pop()], axis=-1)
            group = ResidualGroup(width, self.dtype, self.axis_name, name=f"decoder_{index}")
            x = group(x, train)
        x = NormRelu(self.dtype, self.axis_name, name="final")(x, train)
        # A 1×1 convolution, in float32: heatmap values near 0 and 1 decide the decoded point.
        return dense(outputs, jnp.float32, name="maps")(x)


class HeatmapGenerator(UNet):
    """G2: an image to one heatmap per point and one of the background (§3.2.1).

    Attributes (beside the U-Net's):
        num_points: N; the outputs are N point maps and, last, the background.
    """

    num_points: int = 68

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → maps [B, S, S, N+1], float32, linear."""
        return self.translate(images, self.num_points + 1, train)


class HeatmapDiscriminator(UNet):
    """D2: an autoencoder of heatmaps that also sees their image (§3.2.2)."""

    def __call__(self, heatmaps: jax.Array, images: jax.Array, train: bool) -> jax.Array:
        """Maps [B, S, S, N+1] and images [B, S, S, 3] → maps [B, S, S, N+1], float32."""
        x = jnp.concatenate([heatmaps, images], axis=-1)
        return self.translate(x, heatmaps.shape[-1], train)


class ConfidenceDiscriminator(Critic):
    """D3: tells true from predicted heatmaps, given their image; built as D1 (§3.2.3)."""

    def __call__(self, heatmaps: jax.Array, images: jax.Array, train: bool) -> jax.Array:
        """Maps [B, S, S, N+1] and images [B, S, S, 3] → scores [B], float32, unbounded."""
        return self.score(jnp.concatenate([heatmaps, images], axis=-1), train)


@dataclasses.dataclass(frozen=True)
class DegraderConfig(NetworkConfig):
    """G1 (K&C Fig. 3). Paper: no widths, no length of z. Ours: those of its published ancestor."""

    name: str = "high_to_low_generator"
    image_size: int = 128  # pixels of the sharp face
    stem: int = 96
    encoder: tuple[int, ...] = (96, 128, 256, 512)
    decoder: tuple[int, ...] = (256, 128, 64)
    noise: int = 64
    pooling: Literal["max", "average"] = "max"

    @property
    def size(self) -> int:
        """Pixels of the degraded face."""
        return self.image_size // 2 ** (1 + len(self.encoder) - len(self.decoder))


@dataclasses.dataclass(frozen=True)
class UNetConfig(NetworkConfig):
    """D2: sixteen residual blocks in four groups down and four up (K&C Fig. 5)."""

    name: str = "heatmap_discriminator"
    # Paper: blocks and groups, no widths. Ours: after the usual U-Net, doubled from group to group.
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    pooling: Literal["max", "average"] = "max"


@dataclasses.dataclass(frozen=True)
class LandmarkConfig(UNetConfig):
    """G2: the U-Net, what it sees, and how its heatmaps are read."""

    name: str = "heatmap_generator"
    points: Literal["aflw19", "ibug68", "five", "ibug68_five"] = "ibug68"
    size: int = 32  # pixels of its images
    context: float = 1.25  # side of the square that it sees / side of the face's square
    # Paper: σ = 2 pixels "of a given image", on the 32-pixel and the 128-pixel grid alike.
    sigma: float = 2.0
    decoder: Literal["gaussian", "window", "quarter", "argmax", "soft"] = "gaussian"

    def __post_init__(self) -> None:
        for field in ("context", "sigma"):
            value = getattr(self, field)
            if not 0 < value <= 100:
                raise ValueError(f"{field} is {value}; set it to more than 0, at most 100")


@dataclasses.dataclass(frozen=True)
class CriticConfig(NetworkConfig):
    """D1 and D3: six spectrally normalised residual blocks."""

    name: str = "image_discriminator"
    # Paper: neither their number nor widths. Ours: after G1's published ancestor, whose critic has
    # six such blocks.
    widths: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    hidden: int = 512
    # Paper: pooling in the "last three" layers (text), "last two" (Fig. 3). Ours: three, 32 -> 4.
    pooled_blocks: int = 3
    # Paper: max-pooling. The ancestor pools by the average.
    pooling: Literal["max", "average"] = "max"
    spectral_norm: bool = True


def _degrader(config: DegraderConfig, axis_name: str | None) -> Network:
    side = config.image_size
    module = make_module(HighToLowGenerator, config, axis_name)
    return Network(config, "degrader", module, ((side, side, 3), (config.noise,)))


def _landmarks(config: LandmarkConfig, axis_name: str | None) -> Network:
    points = SCHEMES[config.points].count
    module = make_module(HeatmapGenerator, config, axis_name, num_points=points)
    return Network(config, "landmarks", module, ((config.size, config.size, 3),))


register("high_to_low_generator", DegraderConfig, _degrader)
register("heatmap_generator", LandmarkConfig, _landmarks)
register("heatmap_discriminator", UNetConfig, critic(HeatmapDiscriminator))
register("image_discriminator", CriticConfig, critic(ImageDiscriminator))
register("confidence_discriminator", CriticConfig, critic(ConfidenceDiscriminator))
