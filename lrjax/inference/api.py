"""`lrjax.predict`: landmarks in one call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from numpy.typing import ArrayLike

from lrjax.inference.images import ImageLike
from lrjax.inference.landmarks import Detector, Inference, Prediction
from lrjax.inference.networks import locate


def predict(
    images: ImageLike | Sequence[ImageLike],
    boxes: ArrayLike | Sequence[ArrayLike] | None = None,
    points: str = "native",
    weights: str | Path | None = None,
    *,
    flip: bool = Inference.flip,
    passes: int = Inference.passes,
    scales: Sequence[float] = Inference.scales,
    upright: bool = Inference.upright,
) -> Prediction:
    """The landmarks of the faces in images.

    >>> lrjax.predict("crowd.jpg", [[865, 224, 24, 27], [751, 208, 19, 23]], points="five").points

    The network is loaded and compiled at the first call and kept for the next ones.

    Args:
      images: one image or several: uint8 RGB [H, W, 3], PIL images or file names.
      boxes: (x, y, w, h) in pixels of the image. For one image [n, 4] or [4]; for several images a
        sequence with one such entry for each. None: each image is one face crop.
      points: "native" for all the network has, or "five" (eyes, nose tip, mouth corners).
      weights: a .safetensors file or run folder; by default the shipped weights.
      flip, passes, scales, upright: see `Inference`.

    Returns:
      `Prediction` with points [n, N, 2] in pixels of the images and confidences.

    Raises:
      InputError: an image, a box or the weights cannot be used; the message names it.
    """
    options = Inference(flip, passes, tuple(scales), upright)
    file = locate(weights)
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _detector(file, changed, options)(images, boxes, points)


@lru_cache(maxsize=4)
def _detector(file: Path, changed: int, options: Inference) -> Detector:
    """The detector with the weights that `file` held at the time `changed`."""
    del changed
    return Detector.load(file, options)
