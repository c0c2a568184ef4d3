"""Super-resolution of images with the network of a run, as K&C's settings A1 and A2 need it.

Networks that sharpen what was enlarged (SRCNN, VDSR, DRRN) are given images that were enlarged
here, each by itself: to whole pixels, as in training, whatever the factors are.
"""

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
from lrjax.data.examples import read_ahead
from lrjax.errors import InputError
from lrjax.inference.images import ImageLike, as_rgb, read_rgb
from lrjax.inference.networks import locate_network, shapes
from lrjax.models.super_resolution import LuminanceOnly, PreUpsampled, enlarged_size
from lrjax.models.vdsr import VDSR
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
      config: what was trained; None if others did.
      factors: of the enlargement, in height and width.
      identity: of the weights and the factors, for what is kept of the results.
    """

    def __init__(
        self,
        config: SuperResolutionConfig | None,
        module: nn.Module,
        variables: dict[str, Any],
        factors: tuple[float, float],
        identity: str = "",
    ) -> None:
        self.config, self.factors, self.identity = config, factors, identity
        self._before = isinstance(module, PreUpsampled)  # whether images are enlarged first
        self._forward = partial(_forward, module, variables)

    @classmethod
    def load(
        cls, source: str | Path, which: str | None = None, factor: float | None = None
    ) -> Resolver:
        """The network of a run folder or .safetensors file.

        Args:
          source: the folder or file; also VDSR as `lrjax convert` writes it.
          which: of a run folder, "best" (the default, where there is one) or "last".
          factor: of the enlargement, in height and width; None for those of the training. Only
            networks that sharpen enlarged images can have another one.

        Raises:
          InputError: there is no such network, or it cannot enlarge by the factor, or there is
            neither a factor nor a training.
        """
        path = locate_network(Path(source), "resolver", "super_resolution", which)
        config, module, variables = load_resolver(path)
        factors = None if config is None else config.factors
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()
        if factor is not None and (factor, factor) != factors:
            if not isinstance(module, PreUpsampled):
                raise InputError(
                    f"The network in {path} enlarges {factors[0]:g} times, and not {factor:g} "
                    "times; leave the factor out, or name a network of SRCNN, VDSR or DRRN."
                )
            factors = factor, factor
            identity += f" {factor:g}"
        if factors is None:
            raise InputError(
                f"The network in {path} enlarges by any factor; say by which, as with "
                "`lrjax resolve --factor`."
            )
        return cls(config, module, variables, factors, identity)

    def __call__(self, images: Sequence[ImageLike], side: int | None = None) -> list[np.ndarray]:
        """Enlarged images, uint8 [fy h, fx w, 3] to whole pixels, in the order of `images`.

        Args:
          images: uint8 RGB [h, w, 3] of any sizes, PIL images, or file names.
          side: resize images first so that their longer side has so many pixels. The network has
            learned with whole faces on `config.size`.

        Raises:
          InputError: an image cannot be used.
        """
        given = [_resized(as_rgb(image), side) for image in images]
        sizes = [enlarged_size(image.height, image.width, self.factors) for image in given]
        ready = [
            _enlarged(image, size) if self._before else np.asarray(image)
            for image, size in zip(given, sizes, strict=True)
        ]
        groups: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
        for i, image in enumerate(ready):
            groups[_rounded(image)].append(i)
        found: list[np.ndarray] = [np.zeros(0)] * len(ready)
        for shape, members in groups.items():
            together = max(1, _PIXELS // (shape[0] * shape[1]))
            for chosen in _parts(members, together):
                pixels = np.stack([_continued(ready[i], shape) for i in chosen])
                for i, large in zip(chosen, self.views(pixels), strict=True):
                    found[i] = large[: sizes[i][0], : sizes[i][1]]
        return found

    def views(self, pixels: np.ndarray) -> np.ndarray:
        """Images in 0..255 through the network in one pass: [n, h, w, 3] to uint8, enlarged.

        If it sharpens enlarged images, they are enlarged already.
        """
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

    images = read_ahead(read, files)
    for start in range(0, len(files), _FILES):
        part = list(zip(files[start : start + _FILES], images, strict=False))
        good = iter(resolver([image for _, image in part if isinstance(image, Image.Image)]))
        for path, image in part:
            yield path, image if isinstance(image, InputError) else next(good)


def load_resolver(
    path: Path,
) -> tuple[SuperResolutionConfig | None, nn.Module, dict[str, Any]]:
    """(configuration, module, variables) of a weights file; VDSR of others has no configuration.

    Raises:
      InputError: the file is absent, or does not hold a super-resolution network that fits its own
        configuration.
    """
    variables, metadata = load_variables(path)
    if metadata.get("network") not in ("resolver", "vdsr"):
        raise InputError(
            f"The weights file {path} holds {metadata.get('network', 'no network')!r}; name the "
            "resolver.safetensors of a super-resolution run, or VDSR of `lrjax convert`."
        )
    if metadata["network"] == "vdsr":
        config, module = None, published_vdsr(metadata.get("options", {}))
    else:
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


def published_vdsr(options: dict[str, Any]) -> PreUpsampled:
    """VDSR as `lrjax convert` found it; if it is for luminance, colours stay bicubic."""
    network = VDSR(channels=options.get("channels", 1), use_bias=options.get("use_bias", False))
    return PreUpsampled(network if network.channels == 3 else LuminanceOnly(network), (1.0, 1.0))


@partial(jax.jit, static_argnums=0)
def _forward(module: nn.Module, variables: dict[str, Any], pixels: jax.Array) -> jax.Array:
    images = to_unit(pixels.astype(jnp.float32))
    how = {"method": "sharpen"} if isinstance(module, PreUpsampled) else {}
    return to_bytes(module.apply(variables, images, train=False, **how))


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


def _enlarged(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An image at (height, width), bicubically: float32 [H, W, 3], about in 0..255."""
    bands = [
        band.convert("F").resize(size[::-1], Image.Resampling.BICUBIC) for band in image.split()
    ]
    return np.stack([np.asarray(band) for band in bands], -1)


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
