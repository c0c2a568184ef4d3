"""An engine of small networks, and pictures of drawn faces."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import drawn
import numpy as np
import pytest
from PIL import Image

from lrjax.demo import engine as engines
from lrjax.inference.detector import Detection
from lrjax.inference.landmarks import LandmarkPredictor, Prediction


class Detector:
    """Knows where the faces of `drawn.crowd` are, in any picture."""

    def find(self, photos: list[Image.Image]) -> Detection:
        _, boxes = drawn.crowd()
        count = len(photos) * len(boxes)
        owner = np.repeat(np.arange(len(photos)), len(boxes))
        sure = np.linspace(0.9, 0.8, count, dtype=np.float32)
        points = np.zeros((count, 5, 2), np.float32)
        return Detection(np.tile(boxes, (len(photos), 1)), points, sure, owner)


class Predictor(LandmarkPredictor):
    """Notes how many pictures it is shown, and may be held up."""

    shown: list[int]
    go: threading.Event

    def predict(
        self, photos: Sequence[Image.Image], boxes: np.ndarray, owner: np.ndarray
    ) -> Prediction:
        """As its base does."""
        if len(boxes):
            self.go.wait(30)
            self.shown.append(len(photos))
        return super().predict(photos, boxes, owner)


@pytest.fixture(scope="session")
def crowd() -> bytes:
    """A picture of three faces, as PNG."""
    buffer = io.BytesIO()
    drawn.crowd()[0].save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_engine(tiny_weights: Path, crowd: bytes) -> Callable[..., engines.Engine]:
    """`(encoder, example) -> engine`, which does not run yet."""

    def make(encoder=None, example=lambda: crowd) -> engines.Engine:
        predictor = Predictor.load(tiny_weights)
        predictor.shown, predictor.go = [], threading.Event()
        predictor.go.set()
        return engines.Engine(Detector(), predictor, encoder, example)

    return make


@pytest.fixture
def engine(make_engine: Callable[..., engines.Engine]) -> Iterator[engines.Engine]:
    """An engine that is ready."""
    with make_engine() as one:
        yield one.wait()
