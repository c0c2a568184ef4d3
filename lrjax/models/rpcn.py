"""RPCN, a reading of the Robust Partially Coupled Networks of Wang et al. (2016).

Paper: a network learns to enlarge faces before it learns to recognise them; networks for low and
for high resolution share a part of each layer's filters, and a robust distance compares images.
Its sizes, and how much is shared, are not known to us. Ours: SRCNN's three convolutions of 9×9, 5×5
and 5×5 pixels, half of each layer's filters shared, a decoder of one convolution, one pooling and
one linear layer, and Huber's distance (`lrjax.losses.regression.huber_error`).

Ours, too: images of 56×48 pixels, half as high and wide as CentreFace's. They are nearly three
times those of TinyFace, of 20×16 on average, so that the kernels of 9×9 pixels see three of those
in either direction, and the linear layer stays about as large as CentreFace's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.layers import Dtype, he_init, kernel_init, pool_floor, scaled

# Filters and side of the convolutions' kernels.
CONVOLUTIONS = ((64, 9), (32, 5), (20, 5))
DECODER = 5

DOMAINS = ("low", "high")


class CoupledConvolutions(nn.Module):
    """Three convolutions and ReLU, of whose filters a part serves both domains.

    Of each layer's channels the shared ones come first. The filters of either domain, shared or
    not, see all channels of the layer before. All parameters exist, whichever domain is asked for.

    Attributes:
        width: factor on the filters.
        shared: share of each layer's filters that both domains have, from 0 to 1.
        dtype: compute dtype.
    """

    width: float
    shared: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, domain: str) -> jax.Array:
        """[B, H, W, 3] of the domain → [B, H, W, C]."""
        for place, (filters, side) in enumerate(CONVOLUTIONS, 1):
            filters = scaled(filters, self.width)
            common = round(filters * self.shared)
            made = {}
            for part, count in {
                "shared": common,
                **dict.fromkeys(DOMAINS, filters - common),
            }.items():
                if count and (part in ("shared", domain) or self.is_initializing()):
                    convolution = nn.Conv(
                        count,
                        (side, side),
                        dtype=self.dtype,
                        kernel_init=he_init,
                        name=f"conv{place}_{part}",
                    )
                    made[part] = convolution(x)
            used = [made[part] for part in ("shared", domain) if part in made]
            x = nn.relu(jnp.concatenate(used, axis=-1))
        return x


class RPCN(nn.Module):
    """A face encoder whose convolutions, "features", have learned to enlarge faces before.

    Attributes:
        shared: share of each layer's filters that low and high resolution have in common.
        width: factor on all channels but the feature's.
        embedding: length of the feature.
        dropout: rate at which the feature is dropped while training (rng "dropout"); ours: none.
        dtype: compute dtype; the feature and enlarged images are float32.
    """

    shared: float = 0.5
    width: float = 1.0
    embedding: int = 512
    dropout: float = 0.0
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        """What is not a face encoder's alone; "decoder" is for `refine`."""
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared must be from 0 to 1, not {self.shared}")
        self.features = CoupledConvolutions(self.width, self.shared, self.dtype)
        self.decoder = nn.Conv(3, (DECODER, DECODER), dtype=self.dtype, kernel_init=kernel_init)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, domain: str = "low") -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → features [B, embedding], float32, not normalised.

        H and W are 56 and 48, or at least the same at every call: the linear layer's size depends
        on them.

        Args:
            images: enlarged ones in the domain "low", sharp ones in the domain "high".
            train: drops features.
            domain: one of `DOMAINS`.

        Raises:
            ValueError: there is no such domain.
        """
        x = pool_floor(self._coded(images, domain))
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = nn.Dense(self.embedding, kernel_init=kernel_init, name="fc")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)

    def refine(self, images: jax.Array, train: bool, domain: str = "low") -> jax.Array:
        """Enlarged images [B, H, W, 3] in [-1, 1] → sharper ones, float32, not clipped.

        In the domain "high" sharp images are to come out as they were. H and W are free.

        Args:
            images: as for features.
            train: changes nothing.
            domain: one of `DOMAINS`.

        Raises:
            ValueError: there is no such domain.
        """
        return self.decoder(self._coded(images, domain)).astype(jnp.float32)

    def _coded(self, images: jax.Array, domain: str) -> jax.Array:
        if domain not in DOMAINS:
            raise ValueError(f"domain must be one of {DOMAINS}, not {domain!r}")
        return self.features(images, domain)


class RPCNRefiner(nn.Module):
    """RPCN as a network that enlarges faces, which it learns to be before it recognises them.

    Its variables are RPCN's "features" and "decoder".

    Attributes:
        width, shared: see RPCN.
    """

    width: float = 1.0
    shared: float = 0.5

    def setup(self) -> None:
        """The network; not a level of its own among the variables."""
        self.rpcn = RPCN(self.shared, self.width)
        nn.share_scope(self, self.rpcn)

    def __call__(self, images: jax.Array, train: bool, domain: str = "low") -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] → [B, H, W, 3]; see `RPCN.refine`."""
        return self.rpcn.refine(images, train, domain)
