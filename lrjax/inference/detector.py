"""Faces in photographs by MTCNN's cascade, compiled once for photographs of all sizes.

P-Net sees the pyramid in tiles of one size, R-Net and O-Net see candidates by fixed numbers: three
programs in all. What is resized is averaged over whole pixels, as by the published code, from one
table of sums per photograph. Within the cascade boxes are that code's, see `candidates`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
from PIL import Image

from lrjax.errors import InputError
from lrjax.inference.candidates import FACTOR, kept, moved, pyramid, squared
from lrjax.inference.images import ImageLike, as_rgb, is_one_image
from lrjax.inference.passes import run_passes
from lrjax.models import weights as weights_files
from lrjax.models.mtcnn import O_NET, P_NET, R_NET
from lrjax.models.weights import Weights

TILE, TILES = 138, 8
"""Side of P-Net's tiles in pixels, which overlap by ten, and how many it sees at once."""
CANDIDATES = {R_NET: 128, O_NET: 32}
"""How many candidates R-Net and O-Net see at once."""
PIXELS = 2**25
"""Of a photograph as the networks see it, enlarged, at most: larger ones are shrunk to that."""

_STEP = TILE - P_NET + 2

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes [n, 4] or places [n, 2], probabilities [n], and moves [n, 4]."""


@dataclasses.dataclass(frozen=True)
class DetectConfig:
    """How faces are looked for.

    Attributes:
      smallest: side of the smallest faces, in pixels of the photograph; half as small takes four
        times as long.
      enlarge: photographs are enlarged so many times first: R-Net and O-Net, which see faces at 24
        and 48 pixels, tell small ones better then.
      thresholds: probabilities above which P-Net, R-Net and O-Net take something for a face.
      step: from one size of faces that P-Net looks for to the next larger one, as a factor below 1.
    """

    smallest: float = 14.0
    enlarge: float = 2.0
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    step: float = FACTOR

    def __post_init__(self) -> None:
        if not 4 <= self.smallest < math.inf:
            raise InputError(
                f"smallest is {self.smallest:g}; give a face's side, 4 pixels or more."
            )
        if not 1 <= self.enlarge <= 8:
            raise InputError(f"enlarge is {self.enlarge:g}; give a factor from 1 to 8.")
        if len(self.thresholds) != 3 or not all(0 < one < 1 for one in self.thresholds):
            raise InputError(
                f"thresholds is {self.thresholds}; give three probabilities between 0 and 1."
            )
        if not 0.5 <= self.step <= 0.95:
            raise InputError(f"step is {self.step:g}; give a factor from 0.5 to 0.95.")


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
    """Hold the faces found in images, image by image, the surest of each first.

    Attributes:
      boxes: float64 [n, 4] (x, y, w, h) in pixels of the image, x and y being the first column and
        row; they may reach beyond it.
      points: float32 [n, 5, 2] (x, y) of the eyes, nose tip and mouth corners, the left ones first;
        pixel centres at integers.
      confidence: float32 [n], O-Net's probability of a face.
      image: int [n], the image that each face is in.
    """

    boxes: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    image: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


class FaceDetector:
    """Find faces with the networks of a weights file.

    >>> FaceDetector.load()(photo).boxes  # [n, 4]

    Attributes:
      weights: of the three networks.
      options: how faces are looked for.
    """

    def __init__(self, weights: Weights, options: DetectConfig = DetectConfig()) -> None:
        self.weights, self.options = weights, options

    @classmethod
    def load(
        cls, source: str | Path = "pretrained", options: DetectConfig = DetectConfig()
    ) -> FaceDetector:
        """Load the networks of a .safetensors file, or those that come along ("pretrained").

        Raises:
          InputError: there are no such weights, or they are not a face detector's.
        """
        return cls(weights_files.load(source, "mtcnn", ("detector",)), options)

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> Detection:
        """Find the faces of images; for arguments, results and errors see `detect`."""
        several: Any = [images] if is_one_image(images) else images
        return self.find([as_rgb(image) for image in several])

    def find(self, photos: Sequence[Image.Image]) -> Detection:
        """Do as `__call__` with RGB images."""
        found = [self._find(photo) for photo in photos]
        empty = np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
        boxes, points, sure = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
        owner = np.repeat(np.arange(len(found)), [len(part[0]) for part in found])
        return Detection(boxes, points.astype(np.float32), sure.astype(np.float32), owner)

    def _find(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes [n, 4] (x, y, w, h), points [n, 5, 2] and probabilities [n]."""
        photo, factors = _seen(photo, self.options.enlarge)
        sums = table_of_sums(np.asarray(photo))
        smallest = self.options.smallest * math.sqrt(factors.prod())
        boxes, points, sure = self.cascade(sums, smallest)
        corners, sides = boxes[:, :2] - 1, boxes[:, 2:] - boxes[:, :2] + 1
        there = np.concatenate([corners, sides], axis=-1) / np.tile(factors, 2)
        return there, (points + 0.5) / factors - 0.5, sure

    def cascade(
        self, sums: np.ndarray, smallest: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find faces from `smallest` pixels on: boxes, points, and O-Net's probabilities.

        Args:
          sums: see `table_of_sums`.
          smallest: P-Net's 12 pixels are this many.
        """
        boxes, _ = self._propose(sums, smallest)
        _, second, third = self.options.thresholds
        boxes, (sure, moves) = self._look("refine", R_NET, sums, boxes)
        chosen = np.flatnonzero(sure > second)
        chosen = chosen[kept(boxes[chosen], sure[chosen], 0.7)]
        boxes = squared(moved(boxes[chosen], moves[chosen], 1))
        boxes, (sure, moves, points) = self._look("output", O_NET, sums, boxes)
        chosen = np.flatnonzero(sure > third)
        boxes, sure, moves, points = (a[chosen] for a in (boxes, sure, moves, points))
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        # From corners of pixels to their centres: that is half a pixel.
        points = boxes[:, None, :2] - 1 + sides[:, None] * points - 0.5
        boxes = moved(boxes, moves, 1)
        chosen = kept(boxes, sure, 0.7, least=True)
        return boxes[chosen], points[chosen], sure[chosen]

    def _propose(self, sums: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
        """P-Net's boxes, moved and made square, and their probabilities."""
        height, width = (n - 1 for n in sums.shape[:2])
        scales = list(pyramid(height, width, smallest, self.options.step))
        parts = []
        for boxes, sure, moves in self._look_at_levels(sums, scales):
            chosen = kept(boxes, sure, 0.5)
            parts.append((boxes[chosen], sure[chosen], moves[chosen]))
        nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        parts.append((*nothing, nothing[0]))
        boxes, sure, moves = (np.concatenate(part) for part in zip(*parts, strict=True))
        chosen = kept(boxes, sure, 0.7)
        return squared(moved(boxes[chosen], moves[chosen], 0)), sure[chosen]

    def _look_at_levels(self, sums: np.ndarray, scales: Sequence[float]) -> Iterator[Found]:
        """What P-Net proposes in each level of the pyramid, boxes that overlap each other, too."""
        height, width = (n - 1 for n in sums.shape[:2])
        sizes = [(int(height * scale + 1), int(width * scale + 1)) for scale in scales]
        jobs = [(n, tiles) for n, s in enumerate(sizes) for tiles in _parts(_tiles(*s), TILES)]

        def propose(job: tuple[int, list[tuple[int, int]]]) -> tuple[int, Found]:
            level, tiles = job
            return level, self._look_at_tiles(sums, sizes[level], tiles)

        found = run_passes(propose, jobs, shape_of=lambda job: ())
        for level, some in itertools.groupby(found, lambda one: one[0]):
            at, sure, moves = (
                np.concatenate(part) for part in zip(*(f for _, f in some), strict=True)
            )
            corners = [np.floor((at + n) / np.float32(scales[level])) for n in (1, P_NET)]
            yield np.concatenate(corners, axis=-1), sure, moves

    def _look_at_tiles(
        self, sums: np.ndarray, level: tuple[int, int], tiles: Sequence[tuple[int, int]]
    ) -> Found:
        """Places (x, y) in a level of (height, width) pixels, probabilities and moves, by P-Net."""
        height, width = (n - 1 for n in sums.shape[:2])
        pixels = np.zeros((TILES, TILE, TILE, 3), np.float32)
        sizes = np.full((TILES, 2), P_NET, np.int32)
        for i, (top, left) in enumerate(tiles):
            h, w = sizes[i] = min(TILE, level[0] - top), min(TILE, level[1] - left)
            rows = _windows(top + np.arange(h), height, level[0])
            columns = _windows(left + np.arange(w), width, level[1])
            pixels[i, :h, :w] = _averages(sums, rows, columns)
        sure, move = self._forward("propose", pixels, sizes)
        places, scores, moves = [], [], []
        for i, (top, left) in enumerate(tiles):
            # As many places as the part has, see `PNet`.
            h, w = -(-(sizes[i] - 2) // 2) - 4
            at = np.argwhere(sure[i, :h, :w] >= self.options.thresholds[0])
            scores.append(sure[i][*at.T])
            moves.append(move[i][*at.T])
            places.append(2 * at[:, ::-1] + (left, top))
        at = np.concatenate(places).astype(np.float32)
        return at, np.concatenate(scores), np.concatenate(moves)

    def _look(
        self, method: str, size: int, sums: np.ndarray, boxes: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The boxes that show something of the photograph, and what a network says of them."""
        height, width = (n - 1 for n in sums.shape[:2])
        low = np.maximum(np.trunc(boxes[:, :2]).astype(np.int64), 1) - 1
        high = np.minimum(np.trunc(boxes[:, 2:]).astype(np.int64), (width, height))
        there = (high > low).all(-1)
        boxes, low, high = boxes[there], low[there], high[there]
        count = CANDIDATES[size]

        def look(start: int) -> list[np.ndarray]:
            part = slice(start, start + count)
            pixels = np.zeros((count, size, size, 3), np.float32)
            ends = np.stack([low[part], high[part]], axis=-1)
            columns, rows = (
                _windows(np.arange(size), e[:, 1:] - e[:, :1], size, e[:, :1])
                for e in ends.swapaxes(0, 1)
            )
            number = len(boxes[part])
            pixels[:number] = _averages(sums, rows, columns)
            return [values[:number] for values in self._forward(method, pixels)]

        # Of no boxes, too, to know what there would be.
        found = run_passes(look, range(0, max(1, len(boxes)), count))
        return boxes, tuple(np.concatenate(values) for values in zip(*found, strict=True))

    def _forward(self, method: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        network = self.weights.network.module
        return jax.device_get(_forward(network, method, self.weights.variables, *arrays))


def detect(
    images: ImageLike | Sequence[ImageLike],
    weights: str | Path = "pretrained",
    *,
    smallest: float = DetectConfig.smallest,
    enlarge: float = DetectConfig.enlarge,
    thresholds: Sequence[float] = DetectConfig.thresholds,
    step: float = DetectConfig.step,
) -> Detection:
    """Find the faces in images.

    >>> lrjax.detect("crowd.jpg").boxes  # [n, 4]

    The networks are loaded and compiled at the first call and kept for the next ones.

    Args:
      images: one image or several: uint8 RGB [H, W, 3], PIL images or file names.
      weights: a .safetensors file; by default the detector that comes along.
      smallest, enlarge, thresholds, step: see `DetectConfig`.

    Returns:
      boxes (x, y, w, h), five points and a probability of each face, image by image; an image
      without faces has none.

    Raises:
      InputError: an image or the weights cannot be used; the message names it.
    """
    three = cast(tuple[float, float, float], tuple(thresholds))
    options = DetectConfig(smallest, enlarge, three, step)
    file = weights_files.locate(weights, "mtcnn")
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _detector(file, changed, options)(images)


@lru_cache(maxsize=4)
def _detector(file: Path, changed: int, options: DetectConfig) -> FaceDetector:
    """The detector with the weights that `file` held at the time `changed`."""
    del changed
    return FaceDetector.load(file, options)


def table_of_sums(pixels: np.ndarray) -> np.ndarray:
    """Sum [H, W, 3] of uint8 over all rows and columns before: uint32 [H + 1, W + 1, 3].

    The sums wrap around; those of windows, which are their differences, are right all the same.
    """
    height, width, _ = pixels.shape
    sums = np.zeros((height + 1, width + 1, 3), np.uint32)
    np.cumsum(pixels, axis=0, dtype=np.uint32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


Windows = tuple[np.ndarray, np.ndarray]


def _windows(
    places: np.ndarray, length: int | np.ndarray, count: int, start: int | np.ndarray = 0
) -> Windows:
    """First pixels, and those after the last, of places where `length` pixels become `count`.

    Each pixel that a place has a part of counts whole, as in PyTorch's adaptive averages.
    """
    return start + places * length // count, start - (-(places + 1) * length // count)


def _averages(sums: np.ndarray, rows: Windows, columns: Windows) -> np.ndarray:
    """Means [..., h, w, 3] over windows, rows [..., h] and columns [..., w] of each."""
    (top, bottom), (left, right) = rows, columns
    top, bottom = top[..., :, None], bottom[..., :, None]
    left, right = left[..., None, :], right[..., None, :]
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    area = (bottom - top) * (right - left)
    return total.astype(np.float32) / area[..., None].astype(np.float32)


def _tiles(height: int, width: int) -> Iterator[tuple[int, int]]:
    """(top, left) of the tiles that together show P-Net every place of a level."""
    for top in range(0, max(1, height - P_NET + 2), _STEP):
        for left in range(0, max(1, width - P_NET + 2), _STEP):
            yield top, left


def _parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    rest = list(items)
    for start in range(0, len(rest), size):
        yield rest[start : start + size]


def _seen(photo: Image.Image, enlarge: float) -> tuple[Image.Image, np.ndarray]:
    """A photograph at the size at which it is looked at, and that size over its own, (x, y)."""
    factor = min(enlarge, math.sqrt(PIXELS / (photo.width * photo.height)))
    size = tuple(max(1, round(factor * side)) for side in photo.size)
    factors = np.divide(size, photo.size)
    if size == photo.size:
        return photo, factors
    return photo.resize((size[0], size[1]), Image.Resampling.BICUBIC), factors


# Compiled once for each network: only the pixels differ.
@partial(jax.jit, static_argnums=(0, 1))
def _forward(
    module: nn.Module, method: str, variables: dict[str, Any], pixels: jax.Array, *rest: jax.Array
) -> tuple[jax.Array, ...]:
    """What a network says of pixels in 0..255."""
    images = (pixels - 127.5) * 0.0078125
    return cast(tuple[jax.Array, ...], module.apply(variables, images, *rest, method=method))
