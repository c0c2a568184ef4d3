"""MTCNN (Zhang et al. 2016): three networks that find faces one after the other.

P-Net proposes boxes at every second pixel of a pyramid, R-Net looks at the proposals, O-Net at what
is left, and gives five points. `lrjax.inference.detector` puts them into a cascade. The layers are
those of facenet-pytorch, whose weights `lrjax convert mtcnn` reads.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.models.registry import Network, NetworkConfig, register

P_NET, R_NET, O_NET = 12, 24, 48
"""Sides of the images that the networks decide about, in pixels."""

NAMES = ("pnet", "rnet", "onet")
"""Of the networks in the weights."""

Found = tuple[jax.Array, jax.Array]


class PReLU(nn.Module):
    """max(x, 0) + slope · min(x, 0), with a slope for each channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., C] → [..., C]."""
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:])
        return jnp.maximum(x, 0) + slope * jnp.minimum(x, 0)


def _convolved(x: jax.Array, width: int, side: int, place: int) -> jax.Array:
    """A convolution without padding, and PReLU; to be called in a compact method."""
    x = nn.Conv(width, (side, side), padding="VALID", name=f"conv{place}")(x)
    return PReLU(name=f"prelu{place}")(x)


def _pooled(x: jax.Array, side: int) -> jax.Array:
    """Maxima of windows of `side` pixels, two apart; those at the end may reach beyond, as Caffe's.

    No window lies beyond altogether.
    """
    rest = [(0, -(-(n - side) // 2) * 2 + side - n) for n in x.shape[1:3]]
    return nn.max_pool(x, (side, side), (2, 2), padding=rest)


def _flat(x: jax.Array, width: int, place: int) -> jax.Array:
    """A linear layer on the whole map, and PReLU; to be called in a compact method."""
    # The published kernels expect columns first.
    x = x.swapaxes(1, 2).reshape(len(x), -1)
    return PReLU(name=f"prelu{place}")(nn.Dense(width, name=f"dense{place}")(x))


class PNet(nn.Module):
    """Proposes faces of 12 pixels."""

    @nn.compact
    def __call__(self, images: jax.Array, sizes: jax.Array | None = None) -> Found:
        """Look at every second place of images, as if they were padded by nothing.

        Args:
            images: [B, H, W, 3], (pixel − 127.5) / 128.
            sizes: int [B, 2] (height, width) of the part at the top left that is the image: what is
                found there depends on nothing else. None: all of it.

        Returns:
            probabilities [B, h, w] of a face, and [B, h, w, 4] by which shares of its sides its
            left, top, right and bottom edge are moved; h = ⌈(H − 2) / 2⌉ − 4, w alike, and as many
            for a part. Place (i, j) is the square of 12 pixels at (2i, 2j). What is found beyond a
            part need not be a number.
        """
        x = _convolved(images, 10, 3, 1)
        if sizes is not None:
            # Where a side is odd, the last window of the pooling has but one row or column.
            x = jnp.where(_within(x, sizes - 2), x, -jnp.inf)
        x = _pooled(x, 2)
        x = _convolved(_convolved(x, 16, 3, 2), 32, 3, 3)
        scores, moves = (
            nn.Conv(n, (1, 1), name=f"conv4_{i}")(x) for i, n in enumerate((2, 4), start=1)
        )
        return nn.softmax(scores)[..., 1], moves


def _within(x: jax.Array, sizes: jax.Array) -> jax.Array:
    """[B, H, W, 1], whether a place of [B, H, W, C] is in the first rows and columns of it."""
    rows, columns = (jnp.arange(n) < sizes[:, i, None] for i, n in enumerate(x.shape[1:3]))
    return (rows[:, :, None] & columns[:, None])[..., None]


class RNet(nn.Module):
    """Tells faces of 24 pixels from what P-Net took for some."""

    @nn.compact
    def __call__(self, images: jax.Array) -> Found:
        """Images [B, 24, 24, 3] → probabilities [B], moves [B, 4]; see `PNet`."""
        x = _pooled(_convolved(images, 28, 3, 1), 3)
        x = _pooled(_convolved(x, 48, 3, 2), 3)
        x = _flat(_convolved(x, 64, 2, 3), 128, 4)
        scores, moves = (nn.Dense(n, name=f"dense5_{i}")(x) for i, n in enumerate((2, 4), start=1))
        return nn.softmax(scores)[..., 1], moves


class ONet(nn.Module):
    """Tells faces of 48 pixels from what R-Net took for some, and finds five points."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Images [B, 48, 48, 3] → probabilities [B], moves [B, 4], points [B, 5, 2].

        The points are (x, y) as shares of the box, whose corners are 0 and 1: eyes, nose tip and
        mouth corners, the left ones first.
        """
        x = _pooled(_convolved(images, 32, 3, 1), 3)
        x = _pooled(_convolved(x, 64, 3, 2), 3)
        x = _pooled(_convolved(x, 64, 3, 3), 2)
        x = _flat(_convolved(x, 128, 2, 4), 256, 5)
        scores, moves, points = (
            nn.Dense(n, name=f"dense6_{i}")(x) for i, n in enumerate((2, 4, 10), start=1)
        )
        # All x come before all y.
        return nn.softmax(scores)[..., 1], moves, points.reshape(-1, 2, 5).swapaxes(1, 2)


class MTCNN(nn.Module):
    """The three networks, which share nothing."""

    def setup(self) -> None:
        """The networks, by `NAMES`."""
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    def propose(self, images: jax.Array, sizes: jax.Array | None = None) -> Found:
        """Look with P-Net."""
        return self.pnet(images, sizes)

    def refine(self, images: jax.Array) -> Found:
        """Look with R-Net."""
        return self.rnet(images)

    def output(self, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Look with O-Net."""
        return self.onet(images)

    def __call__(
        self, small: jax.Array, middle: jax.Array, large: jax.Array, train: bool
    ) -> tuple[Found, Found, tuple[jax.Array, jax.Array, jax.Array]]:
        """Look with each network at images of its size, 12, 24 and 48; `train` changes nothing."""
        del train
        return self.propose(small), self.refine(middle), self.output(large)


@dataclasses.dataclass(frozen=True)
class MTCNNConfig(NetworkConfig):
    """P-Net, R-Net and O-Net, as published: 495,850 parameters."""

    name: str = "mtcnn"


def _build(config: MTCNNConfig, axis_name: str | None) -> Network[MTCNNConfig]:
    del axis_name  # there is no BatchNorm
    sides = (P_NET, R_NET, O_NET)
    return Network(config, "detector", MTCNN(), tuple((side, side, 3) for side in sides))


register("mtcnn", MTCNNConfig, _build)
