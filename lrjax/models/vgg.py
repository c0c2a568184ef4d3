"""The convolutions of VGG, and the features of VGG-19 by which SRGAN and ESRGAN compare images.

The weights of those are torchvision's for ImageNet, from a file that `lrjax convert vgg19` has
read.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, he_init, pool_floor, scaled

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""In each of the five groups, which are separated by poolings."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], which the weights expect to be taken out."""


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
        x = pool_floor(x) if group > 1 else x
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
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, H/16, W/16, C], rounded down.

        `train` changes nothing.
        """
        del train
        x = ((images + 1.0) / 2.0 - jnp.asarray(MEAN)) / jnp.asarray(DEVIATION)
        return groups(x, CONVOLUTIONS, self.widths, self.dtype, self.activated)


VGGFACE_CONVOLUTIONS = (2, 2, 3, 3, 3)
VGGFACE_WIDTHS = (64, 128, 256, 512, 512)
"""Of each group: how many convolutions, and their channels."""

VGGFACE_MEAN = (129.1863, 104.7624, 93.5940)
"""Of red, green and blue in the 0..255 of its training pictures."""


class VGGFace(nn.Module):
    """VGG-16 without its classifier; the feature is what that sees, the layer fc7 after its ReLU.

    The mean is taken out of the pixels, which stay in units of 127.5: in units of 1, as published,
    an untrained network would start with features a hundred times as large. It is the published
    network with 127.5 times the kernel of conv1_1.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate after either hidden layer, the feature among them, while training (rng
            "dropout").
        dtype: compute dtype of the convolutions; the linear layers are float32.
    """

    width: float = 1.0
    embedding: int = 4096
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, S, S, 3] in [-1, 1] → features [B, embedding], float32, from 0 on.

        S is 224, or at least 32 and the same at every call: the size of the first linear layer
        depends on it.
        """
        x = images - (jnp.asarray(VGGFACE_MEAN) / 127.5 - 1.0)
        widths = tuple(scaled(width, self.width) for width in VGGFACE_WIDTHS)
        x = pool_floor(groups(x, VGGFACE_CONVOLUTIONS, widths, self.dtype))
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        for name, width in (("fc6", scaled(4096, self.width)), ("fc7", self.embedding)):
            x = nn.relu(nn.Dense(width, kernel_init=he_init, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x
