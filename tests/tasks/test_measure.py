"""Errors on prepared faces, against truth that is known by construction."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from lrjax.errors import InputError
from lrjax.geometry.points import FIVE, IBUG68
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks import measure
from lrjax.tasks import measure_small as module
from lrjax.tasks.measure import Measured
from lrjax.tasks.measure_small import measure_degraded, measure_small, small_faces


def measured(scheme, predicted, truth) -> Measured:
    return Measured(
        label="a:b",
        data="a:b: 1 face",
        names=("0",),
        predicted=predicted,
        truth=truth,
        visible=np.ones(truth.shape[:2], bool),
        boxes=np.array([[0.0, 0, 16, 25]]),
        confidence=np.ones(1),
        scheme=scheme,
    )


def test_each_normaliser() -> None:
    truth = np.zeros((1, 68, 2))
    truth[0, 36], truth[0, 45] = (0, 0), (10, 0)
    truth[0, 37:42], truth[0, 42:45], truth[0, 46:] = (3, 0), (8, 0), (8, 0)
    truth[0, 48:] = (5, 9)
    found = measured(IBUG68, truth + np.array([0.3, 0.4]), truth)
    assert found.normalisers == ("inter_ocular", "inter_pupil", "face_size")
    np.testing.assert_allclose(found.errors("inter_ocular"), 0.5 / 10)
    left, right = 2.5, (3 * 8 + 10 + 2 * 8) / 6
    np.testing.assert_allclose(found.errors("inter_pupil"), 0.5 / (right - left))
    np.testing.assert_allclose(found.errors("face_size"), 0.5 / 20)


def test_five_points_are_measured_by_the_box() -> None:
    found = measured(FIVE, np.ones((1, 5, 2)), np.zeros((1, 5, 2)))
    assert found.normalisers == ("face_size",)
    np.testing.assert_allclose(found.errors("face_size"), np.sqrt(2) / 20)


NETWORK = LandmarkConfig(size=16, stem=4, widths=(4,), decoder="soft")


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Thirty-five faces of noise stand for every dataset; the last crop size that was wanted."""
    wanted: dict[str, int] = {}

    def load(spec: str, *, crop_size: int, **how: object) -> object:
        wanted["size"] = crop_size
        return tiny.faces(35, crop_size)

    monkeypatch.setattr(module, "load_faces", load)
    for one in (measure, module):
        monkeypatch.setattr(one, "annotated_scheme", lambda spec, data_dir: IBUG68)
    return wanted


def test_faces_of_the_networks_size_are_the_middles_of_frames(noise: dict[str, int]) -> None:
    small, frames = small_faces(NETWORK, "a:b", Path(), "none"), tiny.faces(35, 16)
    np.testing.assert_allclose(small.images, frames.images[:, 4:20, 4:20], atol=1e-3)
    np.testing.assert_allclose(small.points, frames.points - 4, atol=1e-4)
    assert (noise["size"], small.side) == (16, 16 / 1.25)
    assert small.data == "a:b: 35 faces at 16 pixels"


def test_subsampled_faces_come_from_crops_four_times_as_large(noise: dict[str, int]) -> None:
    small, frames = small_faces(NETWORK, "a:b", Path(), "subsample"), tiny.faces(35, 64)
    assert noise["size"] == 64
    assert small.images.shape == (35, 16, 16, 3)
    np.testing.assert_allclose(small.points, (frames.points - 16 + 0.5) / 4 - 0.5, atol=1e-4)
    assert small.label == "a:b, degraded by subsample"


def test_the_generator_is_the_one_beside_the_network(noise: dict[str, int], tmp_path: Path) -> None:
    tiny.network_file(tmp_path / "run" / "last" / "g2.safetensors", NETWORK)
    predictor = LandmarkPredictor.load(tmp_path / "run")
    with pytest.raises(InputError, match=r"has learned without a generator; .* --stage1"):
        measure_degraded(predictor, "a:b", tmp_path, "generator")
    stage1 = tiny.stage1_run(tmp_path / "run")
    found = measure_degraded(predictor, "a:b", tmp_path, "generator")
    assert noise["size"] == 32
    other = measure_small(predictor, small_faces(NETWORK, "a:b", tmp_path, "generator", stage1))
    for name in ("images", "predicted", "truth", "boxes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name))
    assert found.images.std() > 1
    assert found.found.shape == (35, 68, 2)
    np.testing.assert_allclose(found.boxes[0], (1.6, 1.6, 12.8, 12.8))
    with pytest.raises(InputError, match="--stage1 makes 16 pixels of 32, and not 32"):
        small_faces(LandmarkConfig(), "a:b", tmp_path, "generator", stage1)
