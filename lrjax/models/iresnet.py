"""IResNet of 18, 50 and 100 layers: the face encoders of ArcFace, AdaFace and CVLface.

Units of BatchNorm, 3×3 convolution, BatchNorm, PReLU, 3×3 convolution and BatchNorm; the first of
each stage halves the sides by its second convolution. Then BatchNorm, a linear layer on all of 7×7
pixels, and BatchNorm. Public weights come in two layouts, which differ in little:

    "ir18", "ir50", "ir101"               github.com/mk-minchul/AdaFace and CVLface: the input of a
                                          unit is added as it is, or every second pixel of it, where
                                          it has as many channels; the last BatchNorm has neither
                                          scale nor bias
    "iresnet18", "iresnet50",             github.com/deepinsight/insightface (arcface_torch): a 1×1
    "iresnet100"                          convolution and BatchNorm on it wherever sides are halved;
                                          the last BatchNorm has both

The feature is not normalised. Its length tells how well a face can be seen: AdaFace's quality.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.centreface import PReLU
from lrjax.models.layers import Dtype, dense, kernel_init, scaled

WIDTHS = (64, 128, 256, 512)

# Name -> units of the four stages, whether halved inputs are projected and the last norm is affine.
LAYOUTS: dict[str, tuple[tuple[int, ...], bool]] = {
    "ir18": ((2, 2, 2, 2), False),
    "ir50": ((3, 4, 14, 3), False),
    "ir101": ((3, 13, 30, 3), False),
    "iresnet18": ((2, 2, 2, 2), True),
    "iresnet50": ((3, 4, 14, 3), True),
    "iresnet100": ((3, 13, 30, 3), True),
}

Colours = Literal["RGB", "BGR"]


@dataclasses.dataclass(frozen=True)
class Unit:
    """Describe a residual unit.

    Attributes:
        width: channels, unscaled.
        halves: whether it halves the sides.
        projects: whether its input passes a 1×1 convolution before it is added.
    """

    width: int
    halves: bool
    projects: bool


def units(name: str) -> list[Unit]:
    """List the units of a network of `LAYOUTS` in their order."""
    counts, always = LAYOUTS[name]
    found, before = [], WIDTHS[0]
    for width, count in zip(WIDTHS, counts, strict=True):
        found += [
            Unit(width, place == 0, place == 0 and (always or width != before))
            for place in range(count)
        ]
        before = width
    return found


class IResNet(nn.Module):
    """IResNet: a 3×3 convolution, the units of a layout, and a linear layer.

    Attributes:
        layout: a key of `LAYOUTS`.
        colours: the order in which the network has learned to see them.
        mean, deviation: what is taken off pixels in [0, 1], and what they are divided by.
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate before the linear layer while training (rng "dropout").
        dtype: compute dtype; the linear layer is float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    layout: str = "ir50"
    colours: Colours = "RGB"
    mean: float = 0.5
    deviation: float = 0.5
    width: float = 1.0
    embedding: int = 512
    dropout: float = 0.4
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3], RGB in [-1, 1] → features [B, embedding], float32, not normalised.

        S is 112, or at least the same at every call: the linear layer sees all of the last map.
        """
        x = images if self.colours == "RGB" else images[..., ::-1]
        if (self.mean, self.deviation) != (0.5, 0.5):
            x = ((x + 1) / 2 - self.mean) / self.deviation
        x = self._norm(self._convolution(x, WIDTHS[0], "stem"), "stem_norm", train)
        x = PReLU(name="stem_prelu")(x)
        for place, unit in enumerate(units(self.layout)):
            x = self._unit(x, unit, f"unit{place}", train)
        x = self._norm(x, "last_norm", train)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = dense(self.embedding, jnp.float32, name="feature")(x)
        affine = LAYOUTS[self.layout][1]
        return self._norm(x, "feature_norm", train, affine=affine, dtype=jnp.float32)

    def _unit(self, x: jax.Array, unit: Unit, name: str, train: bool) -> jax.Array:
        stride = 2 if unit.halves else 1
        y = self._norm(x, f"{name}_norm", train)
        y = self._norm(
            self._convolution(y, unit.width, f"{name}_first"), f"{name}_first_norm", train
        )
        y = PReLU(name=f"{name}_prelu")(y)
        y = self._convolution(y, unit.width, f"{name}_second", stride)
        y = self._norm(y, f"{name}_second_norm", train)
        x = x[:, ::stride, ::stride]
        if unit.projects:
            channels = scaled(unit.width, self.width)
            x = dense(channels, self.dtype, use_bias=False, name=f"{name}_project")(x)
            x = self._norm(x, f"{name}_project_norm", train)
        return x + y

    def _convolution(self, x: jax.Array, width: int, name: str, stride: int = 1) -> jax.Array:
        """A 3×3 convolution, padded by one pixel on every side, as "SAME" is not at stride 2."""
        layer = nn.Conv(
            scaled(width, self.width),
            (3, 3),
            (stride, stride),
            padding=1,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=kernel_init,
            name=name,
        )
        return layer(x)

    def _norm(
        self,
        x: jax.Array,
        name: str,
        train: bool,
        *,
        affine: bool = True,
        dtype: Dtype | None = None,
    ) -> jax.Array:
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype if dtype is None else dtype,
            use_scale=affine,
            use_bias=affine,
            axis_name=self.axis_name,
            name=name,
        )
        return norm(x)
