"""Whether made faces can be told from native ones: a critic that can see a difference finds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrjax.config import TrainConfig
from lrjax.data.faces import Faces
from lrjax.models.s2ld import CriticConfig, LandmarkConfig
from lrjax.tasks import realism
from lrjax.tasks.degradation import DegradationConfig

TINY = CriticConfig(widths=(8,), hidden=8, pooled_blocks=1)
TRAIN = TrainConfig(batch_size=16, samples=0)


def noise(count: int, mean: float, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(mean, 20, (count, 8, 8, 3))
    return drawn.clip(0, 255).astype(np.uint8)


def test_a_difference_is_seen_and_none_is_not() -> None:
    """Faces of two means are told apart; two halves of one set are told by chance, as tails are."""
    native = noise(400, 128, 0)
    seen = realism.told_apart(native, noise(500, 150, 1), TINY, steps=40, train=TRAIN)
    assert seen.shape == (400,)  # half of 400 of either kind
    assert seen.mean() > 0.9
    alike = realism.told_apart(native, noise(400, 128, 2), TINY, steps=40, train=TRAIN)
    # Four standard deviations of 400 coins.
    assert abs(alike.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)


def test_views_are_what_d1_sees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Subsampled faces are smoother than native ones by as much as averaging takes away."""
    asked = []

    def load(spec: tuple[str, ...], *, crop_size: int, **_: object) -> Faces:
        asked.append((spec, crop_size))
        size = round(1.5 * crop_size)
        images = np.random.default_rng(0).integers(0, 256, (70, size, size, 3), dtype=np.uint8)
        return Faces(
            images=images,
            points=np.zeros((70, 5, 2), np.float32),
            visible=np.zeros((70, 5), bool),
            face_side=np.ones(70, np.float32),
            names=tuple(map(str, range(70))),
            fingerprint="",
            scheme=None,
            transform=np.zeros((70, 2, 3), np.float32),
        )

    monkeypatch.setattr(realism, "load_faces", load)
    config = DegradationConfig(labelled=("a:b",), real=("c:d",))
    native = realism.views(config, None, "none", tmp_path)
    made = realism.views(config, None, "subsample", tmp_path)
    assert asked == [(("c:d",), 32), (("a:b",), 128)]
    assert native.shape == made.shape == (70, 32, 32, 3)
    assert native.dtype == made.dtype == np.uint8
    inner = slice(12, 20)  # away from what is beyond a frame
    spread = [images[:, inner, inner].astype(float).std() for images in (native, made)]
    assert spread[0] > 60  # of uniform noise: 74
    assert spread[1] < 15  # of the mean of 16 smoothed pixels
    assert LandmarkConfig().size == config.size
