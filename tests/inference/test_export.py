"""Networks as programs for other runtimes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter

from lrjax.errors import InputError
from lrjax.geometry.points import IBUG68
from lrjax.inference import export
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.export import Program
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.inference.upsampler import Upsampler
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import NetworkConfig, build
from lrjax.models.s2ld import LandmarkConfig
from lrjax.models.upsamplers import SRResNetConfig, VDSRConfig
from lrjax.models.weights import Weights

pytestmark = pytest.mark.usefixtures("quick_compile")
every_format = pytest.mark.parametrize("suffix", [".stablehlo", ".onnx"])


def untrained(config: NetworkConfig) -> Weights:
    network = build(config)
    return Weights(network, network.init(jax.random.key(3)), {}, Path("untrained"), "an identity")


def written(suffix: str, program: Program) -> export.Run:
    if suffix == ".onnx":
        pytest.importorskip("jax2onnx", reason="ONNX is an extra")
        pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    return export.WRITERS[suffix](program)[1]


def noise(size: tuple[int, int], count: int = 3) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "flip"), [(".stablehlo", False), (".onnx", True)])
def test_points_and_confidences_are_those_of_predict(suffix: str, flip: bool) -> None:
    weights = untrained(LandmarkConfig(stem=4, widths=(4, 4), decoder="soft"))
    faces = noise((32, 32))
    run = written(suffix, export.landmark_program(weights, flip))
    predictor = LandmarkPredictor(weights, PredictConfig(flip=flip, passes=1))
    for some in (faces, faces[:1]):
        points, sure = run(some)
        expected, confidence = predictor.predict_crops(some)
        np.testing.assert_allclose(points, expected, atol=1e-3)
        np.testing.assert_allclose(sure, confidence, atol=1e-4)


@every_format
def test_features_are_those_of_the_encoder_behind_its_refiner(suffix: str) -> None:
    refiner = untrained(VDSRConfig(width=4, layers=3, size=(20, 16), image_size=(20, 16)))
    found = FaceEncoder(untrained(EncoderConfig("deepid2", width=0.25)), refiner)
    faces = noise((20, 16))
    (features,) = written(suffix, export.encoder_program(found))(faces)
    expected = found.embed(faces, flip="none", batch=4)
    assert np.abs(features - expected).max() < 1e-4 * np.linalg.norm(expected, axis=1).max()


@every_format
def test_enlarged_pictures_round_to_those_of_the_upsampler(suffix: str) -> None:
    weights = untrained(SRResNetConfig(width=4, blocks=1, size=(8, 8), image_size=(16, 16)))
    faces = noise((8, 8))
    (large,) = written(suffix, export.upsampler_program(weights))(faces)
    expected = Upsampler(weights, (2.0, 2.0)).upsample_crops(faces)
    assert large.dtype == np.float32
    assert np.abs(large - expected).max() <= 0.5 + 1e-2


def test_a_description_says_all_that_is_left_to_do() -> None:
    weights = untrained(LandmarkConfig(stem=4, widths=(4,), context=1.5))
    about = export.landmark_program(weights, True).describe()
    assert about["input"]["shape"] == "batch, 32, 32, 3"
    assert about["input"]["colours"] == "RGB"
    assert "1.5 * sqrt(w * h)" in about["input"]["crop"]
    assert about["outputs"]["points"]["names"] == list(IBUG68.names)
    assert about["sha256_of_weights"] == "an identity"
    encoder = export.encoder_program(FaceEncoder(untrained(EncoderConfig("deepid2"))))
    points = encoder.describe()["input"]["template"]["points"]
    assert list(points) == ["left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"]


def test_what_a_description_says_is_what_predict_does() -> None:
    """With Pillow and its words alone, of a face at the edge of a photograph."""
    weights = untrained(LandmarkConfig(stem=4, widths=(4, 4), decoder="soft"))
    program = export.landmark_program(weights, False)
    about = program.describe()
    photo = Image.fromarray(noise((90, 120), 1)[0]).filter(ImageFilter.GaussianBlur(3))
    x, y, w, h = 90.0, -4.0, 41.0, 37.0
    side = about["input"]["context"] * np.sqrt(w * h)
    # "... about the middle of the face's box, black beyond the photograph, resized ..."
    left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
    black = Image.new("RGB", (320, 290))
    black.paste(photo, (100, 100))
    region = (100 + left, 100 + top, 100 + left + side, 100 + top + side)
    size = program.size[0]
    cut = black.resize((size, size), Image.Resampling.BICUBIC, box=region)
    ((crop_points,), _) = program.function(np.asarray(cut)[None])
    names = {"left": np.array([left, top]), "x": crop_points, "side": side, "size": size}
    words = about["outputs"]["points"]["to_photograph"]
    assert "left is that of the square, x + w / 2 - side / 2 of the box" in words
    found = eval(words.split(",")[0], {}, names)
    predictor = LandmarkPredictor(weights, PredictConfig(flip=False, passes=1))
    expected = predictor(photo, np.array([[x, y, w, h]])).points[0]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_onnx_carries_its_description() -> None:
    pytest.importorskip("jax2onnx", reason="ONNX is an extra")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    program = export.landmark_program(untrained(LandmarkConfig(stem=4, widths=(4,))), False)
    session = runtime.InferenceSession(export.to_onnx(program)[0])
    kept = session.get_modelmeta().custom_metadata_map["lrjax"]
    assert json.loads(kept) == program.describe()
    assert session.get_inputs()[0].name == "faces"
    assert session.get_inputs()[0].shape == ["batch", 32, 32, 3]
    assert [output.name for output in session.get_outputs()] == ["points", "confidence"]


def test_many_faces_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven faces, three at a time, and one alone; what is off in the last part is seen."""
    monkeypatch.setattr(export, "CHECKED", 3)
    program = export.landmark_program(untrained(LandmarkConfig(stem=4, widths=(4,))), False)
    exact = jax.jit(program.function)
    faces, seen = noise((32, 32), 7), []

    def last_off(some: np.ndarray) -> list[np.ndarray]:
        seen.append(len(some))
        points, sure = (np.array(part) for part in exact(some))
        points[(some == faces[6]).all((1, 2, 3))] += 3.2
        return [points, sure]

    found = export.differences(program, last_off, faces)
    assert seen == [3, 3, 1, 1]
    assert found["points"] == pytest.approx(0.1, rel=1e-3)


def test_a_difference_is_measured_in_shares_of_the_range() -> None:
    """By hand: the second face's points are off by 0.32 of 32 pixels, in one of two batches."""
    program = export.landmark_program(untrained(LandmarkConfig(stem=4, widths=(4,))), False)
    exact = jax.jit(program.function)

    def shifted(faces: np.ndarray) -> list[np.ndarray]:
        points, sure = (np.array(part) for part in exact(faces))
        points[1:, 5, 0] += 0.32
        return [points, sure]

    found = export.differences(program, shifted, noise((32, 32)))
    assert found["points"] == pytest.approx(0.01, rel=1e-3)
    assert found["confidence"] == 0
    features = dataclasses.replace(program, function=lambda faces: (faces[:, 0, :2, 0] + 0.0,))
    features = dataclasses.replace(
        features, outputs=(dataclasses.replace(program.outputs[0], name="features", scale=None),)
    )
    faces = np.zeros((2, 32, 32, 3), np.uint8)
    faces[1, 0, :2, 0] = 3, 4  # a feature of length 5
    off = export.differences(features, lambda some: [some[:, 0, :2, 0] + np.float32(0.5)], faces)
    assert off["features"] >= 0.1

    def broken(faces: np.ndarray) -> list[np.ndarray]:
        return [np.full_like(part, np.nan) for part in exact(faces)]

    assert export.differences(program, broken, noise((32, 32)))["points"] == np.inf
    with pytest.raises(InputError, match="points are of shape"):
        export.differences(program, lambda faces: exact(faces[:1])[:2], noise((32, 32)))
