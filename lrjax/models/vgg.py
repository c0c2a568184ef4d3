"""The features of VGG-19 by which SRGAN and ESRGAN compare images.

The weights are torchvision's for ImageNet, from a file that `lrjax convert vgg19` has read.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype, convolution, pool

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""In each of the five groups, which are separated by poolings."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], which the weights expect to be taken out."""


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
        for group, (count, width) in enumerate(zip(CONVOLUTIONS, self.widths, strict=True), 1):
            if group > 1:
                height, breadth = (side - side % 2 for side in x.shape[1:3])
                x = pool(x[:, :height, :breadth], "max")
            for index in range(1, count + 1):
                name = f"conv{group}_{index}"
                x = convolution(width, self.dtype, use_bias=True, name=name)(x)
                if self.activated or (group, index) != (len(CONVOLUTIONS), count):
                    x = nn.relu(x)
        return x
