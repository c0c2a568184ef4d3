"""SphereFace-20 (Liu et al. 2017): a face recogniser of twenty convolutions, for A-Softmax.

The layout is that of the released network, github.com/wy1iu/sphereface, with CentreFace's units and
initialisation. Its head is `lrjax.losses.identity.sphereface_logits`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.blocks import Dtype
from lrjax.models.centreface import SCALE, Plain, Unit, xavier

# Per stage: the channels of a convolution that halves, and of the residual units behind it; their
# number.
STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))


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
        for stage, (channels, units) in enumerate(STAGES, 1):
            scaled = max(1, round(channels * self.width))
            # Padded by one pixel on every side: "SAME" would leave out the first where it halves.
            x = Plain(scaled, stride=2, padding=1, dtype=self.dtype, name=f"conv{stage}")(x)
            for unit in range(units):
                x = Unit(self.dtype, name=f"unit{stage}_{unit}")(x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = nn.Dense(self.embedding, kernel_init=xavier, name="fc5")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)
