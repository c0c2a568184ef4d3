"""Five points of tiny faces as the authors of AdaFace found them in TinyFace's pictures.

Their recipe (github.com/mk-minchul/AdaFace, issue 92): the picture is made square with black,
resized to 32×32 pixels, padded with black by a tenth on every side, and given to MTCNN, with the
settings of `face_alignment/mtcnn.py` there. The surest face is aligned; where none is found, the
picture is resized instead. A picture's edge is resampled bicubically here, which they do not say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from lrjax.geometry.crop import crop
from lrjax.inference.detector import DetectConfig, FaceDetector

SIDE, RIM = 32, 3
"""Pixels of the square, and of the black on every side of it."""

OPTIONS = DetectConfig(smallest=20.0, enlarge=1.0, thresholds=(0.6, 0.7, 0.9), step=0.85)


@dataclasses.dataclass(frozen=True, eq=False)
class Squares:
    """Make pictures of 38×38 pixels, and find points in them.

    Attributes:
      detector: MTCNN.
    """

    detector: FaceDetector

    @classmethod
    def load(cls) -> Squares:
        """Load the detector that comes along, whose networks are the published ones."""
        return cls(FaceDetector.load(options=OPTIONS))

    @property
    def identity(self) -> str:
        """What tells the detector and the recipe from others."""
        return f"{self.detector.weights.identity} {OPTIONS} {SIDE} {RIM}"

    def faces(
        self, photos: Sequence[Image.Image], boxes: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Cut faces as the recipe has it; see `Upsampler.faces`.

        Args:
          photos: n RGB pictures.
          boxes: [n, 4] (x, y, w, h) of the face in each: of TinyFace, all of it.

        Returns:
          n crops, uint8 [38, 38, 3], and what [n, 4] of the pictures they show.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        side = boxes[:, 2:].max(-1, keepdims=True, initial=0.0)
        corner = boxes[:, :2] + (boxes[:, 2:] - side) / 2
        squares = np.concatenate([corner, side, side], axis=1)
        cut = [
            np.pad(crop(photo, square, SIDE, SIDE, fade=False), ((RIM, RIM), (RIM, RIM), (0, 0)))
            for photo, square in zip(photos, squares, strict=True)
        ]
        rim = side * RIM / SIDE
        return cut, np.concatenate([corner - rim, side + 2 * rim, side + 2 * rim], axis=1)

    def points(self, photos: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        """Find the points [n, 5, 2] of the surest face in each picture, and which are [n, 5]."""
        detection = self.detector.find(photos)
        found, visible = np.zeros((len(photos), 5, 2)), np.zeros((len(photos), 5), bool)
        # The first of each picture is the surest.
        for owner, place in zip(*np.unique(detection.image, return_index=True), strict=True):
            found[owner], visible[owner] = detection.points[place], True
        return found, visible
