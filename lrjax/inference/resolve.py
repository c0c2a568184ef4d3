"""Super-resolution of faces with the network of a run, as K&C's settings A1 and A2 need it."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lrjax.config import from_dict
from lrjax.errors import InputError
from lrjax.inference.files import ahead
from lrjax.inference.images import ImageLike, as_rgb, read_rgb
from lrjax.inference.networks import locate_network, shapes
from lrjax.tasks.landmark_views import to_unit
from lrjax.tasks.super_resolution import SuperResolutionConfig, resolver_module
from lrjax.tasks.super_resolution_views import to_bytes
from lrjax.training.weights import load_variables

LARGEST = 512
"""The longest side of an image that is enlarged, in pixels."""

# Sides are continued to multiples of this, as every shape is compiled.
_STEP = 32
# Pixels that are enlarged together, and files that are read together.
_PIXELS, _FILES = 64 * _STEP**2, 64


class Resolver:
    """A network that enlarges images.

    >>> resolver = Resolver.load("runs/super_resolution-srgan")
    >>> large, = resolver([small])  # uint8 [h, w, 3] -> uint8 [4 h, 4 w, 3]

    Attributes:
      config: what was trained.
      factor: of the enlargement.
      identity: of the weights, for what is kept of the results.
    """

    def __init__(
        self,
        config: SuperResolutionConfig,
        module: nn.Module,
        variables: dict[str, Any],
        identity: str = "",
    ) -> None:
        self.config, self.factor, self.identity = config, config.factor, identity
        self._forward = partial(_forward, module, variables)

    @classmethod
    def load(cls, source: str | Path, which: str | None = None) -> Resolver:
        """The network of a run folder or .safetensors file.

        Args:
          source: the folder or file.
          which: of a run folder, "best" (the default, where there is one) or "last".

        Raises:
          InputError: there is no such network.
        """
        path = locate_network(Path(source), "resolver", "super_resolution", which)
        config, module, variables = load_resolver(path)
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(config, module, variables, identity)

    def __call__(self, images: Sequence[ImageLike], side: int | None = None) -> list[np.ndarray]:
        """Enlarged images, uint8 [factor h, factor w, 3], in the order of `images`.

        Args:
          images: uint8 RGB [h, w, 3] of any sizes, PIL images, or file names.
          side: resize images first so that their longer side has so many pixels. The network has
            learned with whole faces on `config.size`.

        Raises:
          InputError: an image cannot be used.
        """
        small = [np.asarray(_resized(as_rgb(image), side)) for image in images]
        groups: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
        for i, image in enumerate(small):
            groups[_rounded(image)].append(i)
        found: list[np.ndarray] = [np.zeros(0)] * len(small)
        for shape, members in groups.items():
            together = max(1, _PIXELS // (shape[0] * shape[1]))
            for chosen in _parts(members, together):
                pixels = np.stack([_continued(small[i], shape) for i in chosen])
                for i, large in zip(chosen, self.views(pixels), strict=True):
                    height, width = (self.factor * n for n in small[i].shape[:2])
                    found[i] = large[:height, :width]
        return found

    def views(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, 3] enlarged in one pass: uint8 [n, factor h, factor w, 3]."""
        return np.asarray(self._forward(pixels))


def resolve_files(
    resolver: Resolver, files: Sequence[Path], side: int | None = None
) -> Iterator[tuple[Path, np.ndarray | InputError]]:
    """The enlarged images of files in their order, or why there is none."""

    def read(path: Path) -> Image.Image | InputError:
        try:
            return _resized(read_rgb(path), side)
        except InputError as error:
            return error

    images = ahead(read, files)
    for start in range(0, len(files), _FILES):
        part = list(zip(files[start : start + _FILES], images, strict=False))
        good = iter(resolver([image for _, image in part if isinstance(image, Image.Image)]))
        for path, image in part:
            yield path, image if isinstance(image, InputError) else next(good)


def load_resolver(path: Path) -> tuple[SuperResolutionConfig, nn.Module, dict[str, Any]]:
    """(configuration, module, variables) of a weights file.

    Raises:
      InputError: the file is absent, or does not hold a super-resolution network that fits its own
        configuration.
    """
    variables, metadata = load_variables(path)
    if metadata.get("network") != "resolver":
        raise InputError(
            f"The weights file {path} holds {metadata.get('network', 'no network')!r}; name the "
            "resolver.safetensors of a super-resolution run."
        )
    config = from_dict(SuperResolutionConfig, metadata.get("config", {}))
    module = resolver_module(config, axis_name=None)
    image = jnp.zeros((1, 8, 8, 3))
    wanted = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
    if shapes(wanted) != shapes(variables):
        raise InputError(
            f"The arrays in {path} are not those of the network that its configuration describes; "
            "train it again."
        )
    return config, module, jax.tree.map(jnp.asarray, variables)


@partial(jax.jit, static_argnums=0)
def _forward(module: nn.Module, variables: dict[str, Any], pixels: jax.Array) -> jax.Array:
    images = to_unit(pixels.astype(jnp.float32))
    return to_bytes(module.apply(variables, images, train=False))


def _resized(image: Image.Image, side: int | None) -> Image.Image:
    """`image` as the network sees it, with a longer side of `side` pixels.

    Raises:
      InputError: it is too large to be enlarged.
    """
    if side is not None:
        scale = side / max(image.size)
        size = tuple(max(1, round(scale * length)) for length in image.size)
        image = image.resize(size, Image.Resampling.BICUBIC)
    if max(image.size) > LARGEST:
        raise InputError(
            f"An image of {image.width}x{image.height} pixels is too large to be enlarged; cut the "
            f"faces out, or resize them, to {LARGEST} pixels at most."
        )
    return image


def _rounded(image: np.ndarray) -> tuple[int, int]:
    height, width = (-(-n // _STEP) * _STEP for n in image.shape[:2])
    return height, width


def _continued(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`image` with its last row and column repeated up to a shape."""
    rest = [(0, whole - n) for whole, n in zip(shape, image.shape, strict=False)]
    return np.pad(image, [*rest, (0, 0)], mode="edge")


def _parts(members: Sequence[int], together: int) -> Iterator[Sequence[int]]:
    """`members` in parts of `together`, and the rest in powers of two: few shapes in all."""
    start = 0
    while start < len(members):
        rest = min(together, len(members) - start)
        count = rest if rest == together else 1 << (rest.bit_length() - 1)
        yield members[start : start + count]
        start += count
