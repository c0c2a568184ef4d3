"""The convolutions of VGG, and the features of VGG-19 by which SRGAN and ESRGAN compare images.

The weights of those are torchvision's for ImageNet, from a file that `lrjax convert vgg19` has
read.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype, pool
from lrjax.models.vdsr import he_init

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""In each of the five groups, which are separated by poolings."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], which the weights expect to be taken out."""


def halved(x: jax.Array) -> jax.Array:
    """The maximum of 2×2 pixels of [B, H, W, C]; an odd last row or column is left out."""
    height, width = (side - side % 2 for side in x.shape[1:3])
    return pool(x[:, :height, :width], "max")


def groups(
    x: jax.Array,
    counts: tuple[int, ...],
    widths: tuple[int, ...],
    dtype: Dtype,
    activated: bool = True,
) -> jax.Array:
    """VGG up to its last convolution: groups of 3×3 convolutions and ReLU, poolings between them.

    To be called in a compact method, whose module then has the layers "conv1_1", "conv1_2", ...

    Args:
        x: [B, H, W, C].
        counts, widths: of each group the number of convolutions, and their channels.
        dtype: compute dtype.
        activated: False leaves out the last ReLU.

    Returns:
        [B, H', W', C'], halved once less than there are groups, and rounded down.
    """
    for group, (count, width) in enumerate(zip(counts, widths, strict=True), 1):
        x = halved(x) if group > 1 else x
        for index in range(1, count + 1):
            name = f"conv{group}_{index}"
            x = nn.Conv(width, (3, 3), dtype=dtype, kernel_init=he_init, name=name)(x)
            if activated or (group, index) != (len(counts), count):
                x = nn.relu(x)
    return x


class VGG19Features(nn.Module):
    """VGG-19 up to its last convolution, conv5_4.

    Attributes:
        widths: channels of the five groups.
        activated: features after the ReLU (SRGAN: "after activation, before the pooling") or
            before it (ESRGAN).
        dtype: compute dtype.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    activated: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, H/16, W/16, C], rounded down."""
        x = ((images + 1.0) / 2.0 - jnp.asarray(MEAN)) / jnp.asarray(DEVIATION)
        return groups(x, CONVOLUTIONS, self.widths, self.dtype, self.activated)
