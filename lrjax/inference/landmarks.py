"""Landmarks of the faces in photographs: from pixels and boxes to points, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from lrjax.data.examples import read_ahead
from lrjax.data.pixels import to_unit
from lrjax.errors import InputError
from lrjax.geometry import heatmaps
from lrjax.geometry.points import SCHEMES, Scheme, convert
from lrjax.inference.crops import Crops, box_crops, cut_crop, gather_faces, refined_crops
from lrjax.inference.images import ImageLike
from lrjax.inference.passes import CPU_BATCH, batch_size, run_passes
from lrjax.models import weights as weights_files
from lrjax.models.s2ld import LandmarkConfig
from lrjax.models.weights import Weights

BATCH, SMALL_BATCH = 32, CPU_BATCH
"""Crops in one forward pass, the former on accelerators alone: one compilation each, and one for a
single crop, when first needed."""

DOUBTFUL = 0.5
"""Below this confidence there may be no face: so unsure is the pretrained network of nine in ten
boxes beside faces, and of hardly a face on which it is right (`lrjax experiment confidence`)."""

FIVE_OF_68 = "five_of_ibug68"
"""Asks for five points read off iBUG's 68 also where a network has learned people's own five."""


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """How a landmark network looks at a face. All of it is beyond the paper.

    Attributes:
      flip: also look at the mirror image, and average.
      passes: how often the crop is centred on the face at most: the first time on the given box,
        then on the points found. A face is looked at again only where that asks for another crop.
      scales: sizes of the crop, relative to the one the network was trained with; averaged.
      upright: turn the crop along with the face from the second pass on.
    """

    flip: bool = True
    passes: int = 2
    scales: tuple[float, ...] = (1.0,)
    upright: bool = False

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise InputError(f"passes is {self.passes}; it must be at least 1.")
        if not self.scales or not all(0.25 <= scale <= 4 for scale in self.scales):
            raise InputError(f"scales is {self.scales}; give factors between 0.25 and 4.")
        if self.upright and self.passes < 2:
            raise InputError("upright needs passes of at least 2: the first one finds the angle.")


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Hold the landmarks of n faces.

    Attributes:
      points: float32 [n, N, 2] (x, y) in pixels of the image given, pixel centres at integers.
      confidence: float32 [n] in [0, 1], the mean of the points'.
      point_confidence: float32 [n, N] in [0, 1]: how high a point's heatmap is, where 1 is as high
        as in training. It orders predictions; it is not a probability.
      boxes: float64 [n, 4] (x, y, w, h), the faces looked at.
      image: int [n], the image that each face is in.
      scheme: what the N points are.
    """

    points: np.ndarray
    confidence: np.ndarray
    point_confidence: np.ndarray
    boxes: np.ndarray
    image: np.ndarray
    scheme: Scheme

    def __len__(self) -> int:
        return len(self.points)

    def take(self, which: ArrayLike) -> Prediction:
        """Select faces by an index or a mask."""
        names = ("points", "confidence", "point_confidence", "boxes", "image")
        return dataclasses.replace(self, **{name: getattr(self, name)[which] for name in names})

    def converted(self, points: str) -> Prediction:
        """Convert the points to another scheme, "native" being this one.

        "five" are the network's own where it has learned them; `FIVE_OF_68` are read off its 68.

        Raises:
          InputError: there is no such scheme, or these points cannot be converted to it.
        """
        if points == FIVE_OF_68:
            return self.converted("ibug68").converted("five")
        target = self.scheme if points == "native" else SCHEMES.get(points)
        if target is None:
            known = ", ".join(("native", *SCHEMES, FIVE_OF_68))
            raise InputError(f"Points {points!r} are unknown; choose {known}.")
        seen = np.ones(self.points.shape[:2], bool)
        # A point made of several is as sure as they are on average.
        doubled = np.repeat(self.point_confidence[..., None], 2, axis=-1)
        try:
            moved, _ = convert(self.points, seen, self.scheme, target)
            sure, _ = convert(doubled, seen, self.scheme, target)
        except ValueError as error:
            raise InputError(
                f"This network cannot give the points asked for: {error}; ask for native, or for "
                "fewer."
            ) from error
        if target.count > self.scheme.count:
            raise InputError(
                "This network cannot give the points asked for: it has learned "
                f"{self.scheme.name} points, and not {target.name}; ask for native, or for fewer."
            )
        return dataclasses.replace(
            self,
            points=moved,
            point_confidence=sure[..., 0],
            confidence=sure[..., 0].mean(-1),
            scheme=target,
        )


class LandmarkPredictor:
    """Find the landmarks of faces with a trained network.

    >>> predictor = LandmarkPredictor.load()
    >>> predictor(photo, [[120, 80, 24, 30]]).points  # [1, 68, 2]

    Attributes:
      weights: the network.
      options: how it looks at faces.
      config: of the network: what it sees, and how its heatmaps are read.
      scheme: of its points.
    """

    def __init__(self, weights: Weights, options: PredictConfig = PredictConfig()) -> None:
        self.weights, self.options = weights, options
        self.config: LandmarkConfig = weights.network.config
        self.scheme = SCHEMES[self.config.points]

    @classmethod
    def load(
        cls,
        source: str | Path = "pretrained",
        options: PredictConfig = PredictConfig(),
        which: str | None = None,
    ) -> LandmarkPredictor:
        """Load a network.

        Args:
          source: a .safetensors file, a run folder, or "pretrained" for the one that comes along.
          options: how faces are looked at.
          which: of a run folder, "best" (the default, where there is one) or "last".

        Raises:
          InputError: there are no such weights, or they are not a landmark network's.
        """
        return cls(weights_files.load(source, "g2", ("landmarks",), which), options)

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        boxes: ArrayLike | Sequence[ArrayLike] | None = None,
        points: str = "native",
    ) -> Prediction:
        """Find the landmarks of faces; for arguments, results and errors see `predict`."""
        photos, rows, owner = gather_faces(images, boxes)
        return self.predict(photos, rows, owner).converted(points)

    def predict(
        self, photos: Sequence[Image.Image], boxes: np.ndarray, owner: np.ndarray
    ) -> Prediction:
        """Do as `__call__` with RGB images, boxes [n, 4] that can be used, and their images [n]."""
        options, context = self.options, self.config.context
        given = box_crops(boxes, context)
        points, sure = self._look(photos, owner, given)
        seen = given
        for _ in range(options.passes - 1):
            crops = refined_crops(given, points, self.scheme, context, options.upright)
            again = np.flatnonzero(~crops.agree(seen))
            if not len(again):
                break
            points[again], sure[again] = self._look(photos, owner[again], crops.take(again))
            seen = crops
        return Prediction(
            points=points.astype(np.float32),
            confidence=sure.mean(-1),
            point_confidence=sure,
            boxes=np.asarray(boxes, np.float64),
            image=np.asarray(owner),
            scheme=self.scheme,
        )

    def scheme_of(self, points: str) -> Scheme:
        """Look up the scheme that `points` stands for.

        Raises:
          InputError: there is none of that name, or this network cannot give it.
        """
        nobody = self.predict([], np.zeros((0, 4)), np.zeros(0, np.int64))
        return nobody.converted(points).scheme

    def predict_crops(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the landmarks of images that are the network's input already.

        Of the options only `flip` applies.

        Args:
          pixels: [n, s, s, 3] in 0..255.

        Returns:
          points [n, N, 2] in their pixels, and confidences [n, N].

        Raises:
          InputError: a point is not finite.
        """
        variables, module = self.weights.variables, self.weights.network.module
        points = np.zeros((len(pixels), self.scheme.count, 2), np.float32)
        sure = np.zeros(points.shape[:2], np.float32)

        def look(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = forward(module, self.config, self.options.flip, variables, batch)
            return cast(tuple[np.ndarray, np.ndarray], jax.device_get(found))

        spans = list(_batches(len(pixels)))
        batches = (_filled(pixels[start:], size) for start, size in spans)
        for (start, _), (there, confidence) in zip(spans, run_passes(look, batches), strict=True):
            if not (np.isfinite(there).all() and np.isfinite(confidence).all()):
                raise InputError(
                    f"The landmark network in {self.weights.path} finds points that are not "
                    "finite; its weights are damaged, or its training diverged."
                )
            rows = slice(start, start + len(there))
            points[rows], sure[rows] = there[: len(points[rows])], confidence[: len(sure[rows])]
        return points, sure

    def _look(
        self, photos: Sequence[Image.Image], owner: np.ndarray, crops: Crops
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points [n, N, 2] in photograph pixels and confidences [n, N], averaged over scales."""
        size, scales = self.config.size, self.options.scales
        scaled = [crops.scaled(scale) for scale in scales]

        def cut(item: tuple[Crops, int]) -> np.ndarray:
            some, i = item
            side, angle = float(some.side[i]), float(some.angle[i])
            return cut_crop(photos[owner[i]], some.centre[i], side, angle, size)

        items = ((some, i) for some in scaled for i in range(len(owner)))
        pixels = np.array(list(read_ahead(cut, items)), np.uint8).reshape(-1, size, size, 3)
        found, sure = self.predict_crops(pixels)
        found, sure = (a.reshape(len(scales), len(owner), *a.shape[1:]) for a in (found, sure))
        there = [crops.to_photo(p, size) for crops, p in zip(scaled, found, strict=True)]
        return np.mean(there, axis=0), sure.mean(0)


def predict(
    images: ImageLike | Sequence[ImageLike],
    boxes: ArrayLike | Sequence[ArrayLike] | None = None,
    points: str = "native",
    weights: str | Path = "pretrained",
    *,
    flip: bool = PredictConfig.flip,
    passes: int = PredictConfig.passes,
    scales: Sequence[float] = PredictConfig.scales,
    upright: bool = PredictConfig.upright,
) -> Prediction:
    """Find the landmarks of the faces in images.

    >>> lrjax.predict("crowd.jpg", [[865, 224, 24, 27], [751, 208, 19, 23]], points="five").points

    The network is loaded and compiled at the first call and kept for the next ones.

    Args:
      images: one image or several: uint8 RGB [H, W, 3], PIL images or file names.
      boxes: (x, y, w, h) in pixels of the image, x and y being the first column and row; they may
        reach beyond it. For one image [n, 4] or [4]; for several images a sequence with one such
        entry for each. None: those of the faces that `lrjax.detect` finds, and none where there are
        none. "whole": each image is one face crop.
      points: "native" for all the network has, or "five" (eyes, nose tip, mouth corners, as people
        place them where the network has learned that), "aflw19", "ibug68", "five_of_ibug68".
      weights: a .safetensors file or run folder; by default the pretrained network.
      flip, passes, scales, upright: see `PredictConfig`.

    Returns:
      points [n, N, 2] in pixels of the images, and confidences: image by image, in the order of the
      boxes.

    Raises:
      InputError: an image, a box or the weights cannot be used; the message names it.
    """
    options = PredictConfig(flip, passes, tuple(scales), upright)
    file = weights_files.locate(weights, "g2")
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _predictor(file, changed, options)(images, boxes, points)


@lru_cache(maxsize=4)
def _predictor(file: Path, changed: int, options: PredictConfig) -> LandmarkPredictor:
    """The predictor with the weights that `file` held at the time `changed`."""
    del changed
    return LandmarkPredictor.load(file, options)


def sizes() -> tuple[int, ...]:
    """Return how many crops forward passes may have: a program each."""
    return tuple(dict.fromkeys((1, SMALL_BATCH, batch_size(BATCH))))


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """(start, size) of forward passes over `count` crops; the last one may reach beyond."""
    start, large = 0, batch_size(BATCH)
    while start < count:
        rest = count - start
        size = 1 if count == 1 else large if rest >= large else SMALL_BATCH
        yield start, size
        start += size


def _filled(pixels: np.ndarray, size: int) -> np.ndarray:
    """The first `size` images; where there are fewer, the first one once more for each."""
    part = pixels[:size]
    return np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])


# Compiled once for all networks of one architecture: only the variables differ.
@partial(jax.jit, static_argnums=range(3))
def forward(
    module: nn.Module,
    config: LandmarkConfig,
    flip: bool,
    variables: dict[str, Any],
    pixels: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Points [B, N, 2] in crop pixels and confidences [B, N] of crops [B, s, s, 3] in 0..255."""
    scheme = SCHEMES[config.points]
    size = pixels.shape[1]
    images = to_unit(pixels.astype(jnp.float32))
    if flip:
        # Stacked, not concatenated: halves of a batch of a size not yet known cannot be told apart.
        both = jnp.stack([images, images[:, :, ::-1]])
        images = both.reshape(-1, *images.shape[1:])
    maps = module.apply(variables, images, train=False)
    points, sure = heatmaps.decode(maps, scheme.count, config.decoder)
    if config.decoder == "soft":
        # The peak of a distribution, relative to that of the target's Gaussian.
        sure = sure * 2 * jnp.pi * config.sigma**2
    sure = jnp.clip(sure, 0.0, 1.0)
    if not flip:
        return points, sure
    order = jnp.asarray(scheme.flip)
    points, sure = points.reshape(2, -1, scheme.count, 2), sure.reshape(2, -1, scheme.count)
    back = points[1][:, order] * jnp.asarray([-1.0, 1.0]) + jnp.asarray([size - 1.0, 0.0])
    return (points[0] + back) / 2, (sure[0] + sure[1][:, order]) / 2
