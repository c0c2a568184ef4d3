"""DRRN (Tai et al. 2017): deep recursive residual network for images already enlarged."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype
from lrjax.models.vdsr import he_init


class DRRN(nn.Module):
    """DRRN: recursive blocks, a last convolution, plus the input.

    Every convolution is 3×3, has a bias, and comes after a BatchNorm and a ReLU. A block begins
    with a convolution; then each of its units is two convolutions of what came before plus the
    first convolution's output. All units of a block share their convolutions. They do not share
    their BatchNorms, as in the authors' files: what each of them sees is distributed differently.
    B blocks of U units have (1 + 2 U) B + 1 convolutions one after another: B1U9 20, B1U25 52.

    Inside, pixels are in [0, 1], as published.

    Attributes:
        channels: of images: 1 (luminance) as published, or 3.
        features: channels of the hidden layers.
        blocks: number of recursive blocks, B.
        units: residual units of each, U.
        identity: beyond the paper: start with a last convolution of zeros, which changes nothing.
        dtype: compute dtype; the sum with the input is float32.
        axis_name: device axis over which BatchNorm shares its statistics.
    """

    channels: int = 3
    features: int = 128
    blocks: int = 1
    units: int = 9
    identity: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Enlarged images [B, H, W, channels] in [-1, 1] → sharper ones, float32, not clipped."""

        def conv(width: int, name: str, zero: bool = False) -> nn.Conv:
            init = nn.initializers.zeros if zero else he_init
            return nn.Conv(width, (3, 3), dtype=self.dtype, kernel_init=init, name=name)

        def active(x: jax.Array, name: str) -> jax.Array:
            axis, dtype = self.axis_name, self.dtype
            norm = nn.BatchNorm(not train, momentum=0.9, dtype=dtype, axis_name=axis, name=name)
            return nn.relu(norm(x))

        x = (images + 1) / 2
        for index in range(self.blocks):
            block = f"block_{index}"
            start = conv(self.features, f"{block}_start")(active(x, f"{block}_start_norm"))
            first, second = (conv(self.features, f"{block}_{name}") for name in ("first", "second"))
            x = start
            for unit in range(self.units):
                y = first(active(x, f"{block}_unit_{unit}_first_norm"))
                x = start + second(active(y, f"{block}_unit_{unit}_second_norm"))
        change = conv(self.channels, "image", self.identity)(active(x, "image_norm"))
        return images.astype(jnp.float32) + 2 * change.astype(jnp.float32)
