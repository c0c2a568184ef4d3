"""Super-resolution of images with the network of a run, as K&C's settings A1 and A2 need it.

Refiners (SRCNN, VDSR, DRRN) are given images that were enlarged here, each by itself: to whole
pixels, as in training, whatever the factors are.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from lrjax.data.pixels import to_bytes, to_unit
from lrjax.errors import InputError
from lrjax.geometry.crop import crop
from lrjax.inference.images import ImageLike, as_rgb, decode_in_parts, open_image
from lrjax.models import weights as weights_files
from lrjax.models.weights import Weights

LARGEST = 512
"""The longest side of an image that is enlarged, in pixels."""

# Sides are continued to multiples of this, as every shape is compiled.
_STEP = 32
# Pixels that are enlarged together.
_PIXELS = 64 * _STEP**2


class Upsampler:
    """Enlarge images with a trained network.

    >>> upsampler = Upsampler.load("runs/super_resolution-srgan")
    >>> large, = upsampler([small])  # uint8 [h, w, 3] -> uint8 [4 h, 4 w, 3]

    Attributes:
      weights: the network.
      factors: of the enlargement, in height and width.
      size: height and width of the small faces that it has learned with; None: others trained it.
      context: of their crops, crop side over face side; None: they were the faces' boxes, resized.
      identity: of the weights and the factors, for what is kept of the results.
    """

    def __init__(
        self,
        weights: Weights,
        factors: tuple[float, float],
        size: tuple[int, int] | None = None,
        context: float | None = None,
    ) -> None:
        self.weights, self.factors = weights, factors
        self.size, self.context = size, context
        self.identity = f"{weights.identity} {factors[0]:g} {factors[1]:g}"
        self._refines = weights.network.kind == "refiner"

    @classmethod
    def load(
        cls, source: str | Path, which: str | None = None, factor: float | None = None
    ) -> Upsampler:
        """Load the network of a run folder or .safetensors file.

        Args:
          source: the folder or file; also VDSR as `lrjax convert` writes it.
          which: of a run folder, "best" (the default, where there is one) or "last".
          factor: of the enlargement, in height and width; None for those of the training. Only
            refiners can have another one.

        Raises:
          InputError: there is no such network, or it cannot enlarge by the factor, or there is
            neither a factor nor a training.
        """
        loaded = weights_files.load(source, "upsampler", ("upsampler", "refiner"), which)
        config = loaded.network.config
        trained = "step" in loaded.provenance
        factors = config.factors if trained else None
        if factor is not None and (factor, factor) != factors:
            if loaded.network.kind != "refiner":
                raise InputError(
                    f"The network in {loaded.path} enlarges {config.factors[0]:g} times, and not "
                    f"{factor:g} times; leave the factor out, or name a network of SRCNN, VDSR or "
                    "DRRN."
                )
            factors = factor, factor
        if factors is None:
            raise InputError(
                f"The network in {loaded.path} enlarges by any factor; say by which with `lrjax "
                "upsample --factor`, or name a run of `lrjax train super_resolution`."
            )
        context = loaded.provenance.get("context")
        known = (
            "context" in loaded.provenance or loaded.provenance.get("task") != "super_resolution"
        )
        usable = context is None or (type(context) in (int, float) and 0 < context < math.inf)
        if not (known and usable):
            raise InputError(
                f"The weights file {loaded.path} does not say in its context how much around a "
                "face its network has learned with; train it again."
            )
        return cls(loaded, factors, config.size if trained else None, context)

    def __call__(self, images: Sequence[ImageLike], side: int | None = None) -> list[np.ndarray]:
        """Enlarge images: uint8 [fy h, fx w, 3] to whole pixels, in the order of `images`.

        Args:
          images: uint8 RGB [h, w, 3] of any sizes, PIL images, or file names.
          side: resize images first so that their longer side has so many pixels. The network has
            learned with whole faces on `size`.

        Raises:
          InputError: an image cannot be used.
        """
        given = [_resized(as_rgb(image), side) for image in images]
        fy, fx = self.factors
        sizes = [(round(fy * image.height), round(fx * image.width)) for image in given]
        ready = [
            _enlarged(image, size) if self._refines else np.asarray(image)
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
                for i, large in zip(chosen, self.upsample_crops(pixels), strict=True):
                    found[i] = large[: sizes[i][0], : sizes[i][1]]
        return found

    def faces(
        self, photos: Sequence[Image.Image], boxes: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Enlarge faces that are cut as those that the network has learned with.

        Args:
          photos: n RGB pictures.
          boxes: [n, 4] (x, y, w, h) of the face in each.

        Returns:
          n enlarged crops, uint8 [H, W, 3], and what [n, 4] of the pictures they show: black
          beyond, as in training.

        Raises:
          InputError: others trained the network, so that nobody knows.
        """
        if self.size is None:
            raise InputError(
                f"The network in {self.weights.path} does not say how large the faces are that it "
                "has learned with; name one of `lrjax train super_resolution`."
            )
        shown = np.array(boxes, np.float64).reshape(-1, 4)
        if self.context is not None:
            # A frame is square, and as many pixels high as the longer side of what is cut from it.
            height, width = np.array(self.size) * self.factors
            shape = np.array([width, height]) / max(height, width)
            sides = self.context * np.sqrt(shown[:, 2:].prod(1, keepdims=True)) * shape
            shown = np.concatenate([shown[:, :2] + (shown[:, 2:] - sides) / 2, sides], 1)
        fade = self.context is not None
        small = [
            crop(photo, box, *self.size, fade=fade, repeat=not fade)
            for photo, box in zip(photos, shown, strict=True)
        ]
        return self(small), shown

    def upsample_crops(self, pixels: np.ndarray) -> np.ndarray:
        """Pass images of one size through the network: [n, h, w, 3] in 0..255 to uint8.

        A refiner is given images that are enlarged already.

        Raises:
          InputError: a pixel that the network makes is not finite.
        """
        found = _forward(self.weights.network.module, self.weights.variables, pixels)
        enlarged, finite = jax.device_get(found)
        if not finite:
            raise InputError(
                f"The network in {self.weights.path} makes pixels that are not finite; its weights "
                "are damaged, or its training diverged."
            )
        return np.asarray(enlarged)


def upsample_files(
    upsampler: Upsampler, files: Sequence[Path], side: int | None = None
) -> Iterator[tuple[Path, np.ndarray | InputError]]:
    """Enlarge the images of files in their order, or say why one cannot be."""
    names = iter(files)
    for part in decode_in_parts(partial(_open_small, path, side) for path in files):
        good = iter(upsampler([image for image in part if isinstance(image, Image.Image)], side))
        for image in part:
            yield next(names), image if isinstance(image, InputError) else next(good)


def _open_small(path: Path, side: int | None) -> ImageFile:
    """The image of a file, if it is small enough to be enlarged."""
    image = open_image(path)
    if side is None:
        _check_size(image)
    return image


def _check_size(image: Image.Image) -> None:
    if max(image.size) > LARGEST:
        raise InputError(
            f"An image of {image.width}x{image.height} pixels is too large to be enlarged; cut the "
            f"faces out, or resize them, to {LARGEST} pixels at most."
        )


# Compiled once for all networks of one architecture: only the variables differ.
@partial(jax.jit, static_argnums=0)
def _forward(
    module: nn.Module, variables: dict[str, Any], pixels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The enlarged images as bytes, and whether they were finite before."""
    applied = module.apply(variables, to_unit(pixels.astype(jnp.float32)), train=False)
    enlarged = cast(jax.Array, applied)
    return to_bytes(enlarged), jnp.isfinite(enlarged).all()


def _resized(image: Image.Image, side: int | None) -> Image.Image:
    """`image` as the network sees it, with a longer side of `side` pixels."""
    if side is not None:
        scale = side / max(image.size)
        width, height = (max(1, round(scale * length)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    _check_size(image)
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
