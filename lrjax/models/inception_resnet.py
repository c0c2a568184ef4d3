"""Inception-ResNet v1 (Szegedy et al.) in the layout of facenet, a face encoder."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, kernel_init, scaled

Layer = tuple[int, int, int]
"""Channels at full width, and the kernel's height and width."""

# The branches of the three kinds of residual block. What they return is concatenated.
BLOCK35 = (((32, 1, 1),), ((32, 1, 1), (32, 3, 3)), ((32, 1, 1), (32, 3, 3), (32, 3, 3)))
BLOCK17 = (((128, 1, 1),), ((128, 1, 1), (128, 1, 7), (128, 7, 1)))
BLOCK8 = (((192, 1, 1),), ((192, 1, 1), (192, 1, 3), (192, 3, 1)))

# The branches of the two reductions, beside a pooling. The last layer of a branch halves.
MIXED_6A = (((384, 3, 3),), ((192, 1, 1), (192, 3, 3), (256, 3, 3)))
MIXED_7A = (
    ((256, 1, 1), (384, 3, 3)),
    ((256, 1, 1), (256, 3, 3)),
    ((256, 1, 1), (256, 3, 3), (256, 3, 3)),
)

# The residual blocks of one kind, in order: name, branches, count, scale.
REPEATS = (
    ("repeat_1", BLOCK35, 5, 0.17),
    ("repeat_2", BLOCK17, 10, 0.10),
    ("repeat_3", BLOCK8, 5, 0.20),
)


def pool3(x: jax.Array) -> jax.Array:
    """The maximum of 3×3 windows, two pixels apart: [B, H, W, C] → [B, (H-1)//2, (W-1)//2, C].

    As maxima of slices: the gradient of a windowed maximum is slow on a CPU.
    """
    for axis in (1, 2):
        last = 2 * ((x.shape[axis] - 1) // 2)
        rows = [
            jax.lax.slice_in_dim(x, start, last - 1 + start, stride=2, axis=axis)
            for start in range(3)
        ]
        x = jnp.maximum(jnp.maximum(rows[0], rows[1]), rows[2])
    return x


class Unit(nn.Module):
    """Convolution without bias, BatchNorm, ReLU.

    Attributes:
        layer: channels (not scaled), and the kernel's height and width.
        stride: 1, or 2 to halve.
        padding: "SAME" or "VALID".
        dtype: compute dtype; statistics are float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    layer: Layer
    stride: int = 1
    padding: str = "SAME"
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        width, *side = self.layer
        options = {
            "use_bias": False,
            "dtype": self.dtype,
            "kernel_init": kernel_init,
            "name": "conv",
        }
        if side == [1, 1]:
            x = nn.Dense(width, **options)(x)
        else:
            strides = (self.stride, self.stride)
            x = nn.Conv(width, tuple(side), strides, padding=self.padding, **options)(x)
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-3,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="norm",
        )
        return nn.relu(norm(x))


class Branches(nn.Module):
    """Chains of units on the same input, side by side; `halving` ones end in a step of two."""

    branches: tuple[tuple[Layer, ...], ...]
    width: float = 1.0
    halving: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    def gather(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """What each branch returns."""
        outputs = []
        for b, branch in enumerate(self.branches):
            y = x
            for place, (channels, height, width) in enumerate(branch):
                last = self.halving and place == len(branch) - 1
                unit = Unit(
                    (scaled(channels, self.width), height, width),
                    stride=2 if last else 1,
                    padding="VALID" if last else "SAME",
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                    name=f"branch{b}_{place}",
                )
                y = unit(y, train)
            outputs.append(y)
        return outputs


class Reduction(Branches):
    """Branches that halve, beside a pooling of their input."""

    halving: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] → [B, (H-1)//2, (W-1)//2, C + the branches' channels]."""
        return jnp.concatenate([*self.gather(x, train), pool3(x)], axis=-1)


class InceptionResidual(Branches):
    """Branches, projected with a bias to the input's channels, scaled and added to it.

    Attributes (beside the branches'):
        scale: factor on the projection.
        rectified: whether a ReLU follows the sum.
    """

    scale: float = 1.0
    rectified: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] → [B, H, W, C]."""
        y = jnp.concatenate(self.gather(x, train), axis=-1)
        project = nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=kernel_init, name="project")
        x = x + self.scale * project(y)
        return nn.relu(x) if self.rectified else x


class InceptionResNetV1(nn.Module):
    """Inception-ResNet v1: 21 residual blocks of three kinds, two reductions, and a linear head.

    Paper (Kumar & Chellappa): "Inception-ResNet" on 112 pixels, version not said. Ours: v1, for
    which public weights exist (at 160 pixels; the network is convolutional up to a global mean).

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate before the head while training (rng "dropout").
        dtype: compute dtype; the head is float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    width: float = 1.0
    embedding: int = 512
    dropout: float = 0.6
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1], S at least 75 → features [B, embedding], float32.

        The feature is not normalised. S is 112 or 160 in what is published.
        """
        common: dict[str, Any] = {"dtype": self.dtype, "axis_name": self.axis_name}

        def unit(x: jax.Array, name: str, layer: Layer, **options: Any) -> jax.Array:
            layer = (scaled(layer[0], self.width), *layer[1:])
            return Unit(layer, **options, **common, name=name)(x, train)

        # The published weights were trained on (pixel - 127.5) / 128.
        x = images * (127.5 / 128)
        x = unit(x, "conv2d_1a", (32, 3, 3), stride=2, padding="VALID")
        x = unit(x, "conv2d_2a", (32, 3, 3), padding="VALID")
        x = unit(x, "conv2d_2b", (64, 3, 3))
        x = pool3(x)
        x = unit(x, "conv2d_3b", (80, 1, 1))
        x = unit(x, "conv2d_4a", (192, 3, 3), padding="VALID")
        x = unit(x, "conv2d_4b", (256, 3, 3), stride=2, padding="VALID")
        reductions = {
            "repeat_2": Reduction(MIXED_6A, self.width, **common, name="mixed_6a"),
            "repeat_3": Reduction(MIXED_7A, self.width, **common, name="mixed_7a"),
        }
        for name, branches, count, scale in REPEATS:
            if name in reductions:
                x = reductions[name](x, train)
            for place in range(count):
                block = InceptionResidual(
                    branches, self.width, scale=scale, **common, name=f"{name}_{place}"
                )
                x = block(x, train)
        last = InceptionResidual(BLOCK8, self.width, rectified=False, **common, name="block8")
        return self._head(last(x, train), train)

    def _head(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding, use_bias=False, kernel_init=kernel_init, name="last_linear")(x)
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-3,
            axis_name=self.axis_name,
            name="last_bn",
        )
        return norm(x)
