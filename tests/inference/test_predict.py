"""`lrjax.predict`, as a user of the package meets it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lrjax
from lrjax.errors import InputError
from lrjax.inference.landmarks import _predictor
from lrjax.models import weights


def test_importing_the_package_does_not_import_jax() -> None:
    code = "import lrjax, sys; assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_call_from_a_file_name(tiny_weights: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    boxes = [[5, 6, 20, 22], [40, 30, 25, 25]]
    found = lrjax.predict(str(tmp_path / "a.png"), boxes, points="five", weights=tiny_weights)
    assert isinstance(found, lrjax.Prediction)
    assert found.points.shape == (2, 5, 2)
    predictor = lrjax.LandmarkPredictor.load(tiny_weights, lrjax.PredictConfig())
    np.testing.assert_array_equal(found.points, predictor(pixels, boxes, "five").points)
    single = lrjax.predict(pixels, boxes, weights=tiny_weights, flip=False, passes=1, scales=[1.1])
    options = lrjax.PredictConfig(False, 1, (1.1,))
    other = lrjax.LandmarkPredictor.load(tiny_weights, options)(pixels, boxes)
    np.testing.assert_array_equal(single.points, other.points)


def test_the_network_is_kept_until_its_file_changes(tiny_weights: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_weights, tmp_path / "run")
    face = np.zeros((24, 24, 3), np.uint8)
    face[8:12, 6:18] = 200
    before = _predictor.cache_info()
    first = lrjax.predict(face, "whole", weights=run).points
    assert (lrjax.predict(face, "whole", weights=run).points == first).all()
    after = _predictor.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)
    file = run / "last" / "g2.safetensors"
    found = weights.load(file, "g2", ("landmarks",))
    variables = found.variables
    variables["params"]["maps"]["kernel"] = 3 - variables["params"]["maps"]["kernel"]
    weights.save(file, found.network.config, variables, {})
    assert np.abs(lrjax.predict(face, "whole", weights=run).points - first).max() > 1e-3


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        lrjax.prediction  # noqa: B018


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    face = np.zeros((24, 24, 3), np.uint8)
    with pytest.raises(InputError, match="There is no weights file"):
        lrjax.predict(face, "whole", weights=tmp_path / "absent.safetensors")
    monkeypatch.setattr(weights, "PRETRAINED", tmp_path / "pretrained.safetensors")
    with pytest.raises(InputError, match=r"no weights file .*pretrained"):
        lrjax.predict(face, "whole")
