"""DeepID2 (Sun et al. 2014): a small face encoder of one face patch.

Paper: the third convolution shares its weights in 2×2 regions only, and the fourth nowhere. Ours:
ordinary convolutions, as in its public ports. Paper: 25 patches of 400 are chosen, and a joint
Bayesian model compares their features. Ours: the whole face, and its feature alone.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, he_init, pool_floor, scaled

# Channels and side of the convolutions' kernels; a pooling follows all but the last.
CONVOLUTIONS = ((20, 4), (40, 3), (60, 3), (80, 2))


class DeepID2(nn.Module):
    """DeepID2: four convolutions, and a linear layer that sees the last two of them.

    Convolutions see no border: 55×47 pixels become 26×22, 12×10, 5×4 and 4×3. The feature is
    linear in both the third pooling and the fourth convolution, and at least 0.

    Attributes:
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate at which the feature is dropped while training (rng "dropout"); the published
            network has none.
        dtype: compute dtype; the feature is float32.
    """

    width: float = 1.0
    embedding: int = 160
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, embedding], float32, from 0 on.

        H and W are 55 and 47, or at least the same at every call: the linear layer's size depends
        on them.
        """
        x, seen = images, []
        for place, (channels, side) in enumerate(CONVOLUTIONS, 1):
            convolution = nn.Conv(
                scaled(channels, self.width),
                (side, side),
                padding="VALID",
                dtype=self.dtype,
                kernel_init=he_init,
                name=f"conv{place}",
            )
            x = nn.relu(convolution(x))
            x = pool_floor(x) if place < len(CONVOLUTIONS) else x
            seen.append(x.reshape(x.shape[0], -1).astype(jnp.float32))
        x = jnp.concatenate(seen[-2:], axis=1)
        x = nn.relu(nn.Dense(self.embedding, kernel_init=he_init, name="deepid2")(x))
        return nn.Dropout(self.dropout, deterministic=not train)(x)
