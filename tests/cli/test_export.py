"""`lrjax export` as a user calls it."""

from pathlib import Path

import chex
import drawn
import jax
import jax.export
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import load_file

from lrjax.cli.export import export
from lrjax.errors import InputError
from lrjax.files import read_json
from lrjax.inference import export as programs
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.inference.upsampler import Upsampler
from lrjax.models import weights
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import build
from lrjax.models.upsamplers import SRResNetConfig

pytestmark = pytest.mark.usefixtures("quick_compile")


def exported(*arguments: object) -> str:
    done = CliRunner().invoke(export, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_file_is_the_network(tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "g2.safetensors"
    output = exported(tiny_weights, "--out", out)
    variables, about = weights.read(out)
    original, metadata = weights.read(tiny_weights / "last" / "g2.safetensors")
    chex.assert_trees_all_equal(variables, original)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(original["params"]))
    assert f"{parameters:,} parameters" in output
    assert "step 7 of" in output
    assert about == metadata


def test_half_the_size_and_the_same_points(tiny_weights: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    exported(tiny_weights, "--out", whole)
    exported(tiny_weights, "--out", half, "--half")
    stored = load_file(half)
    assert {v.dtype.name for k, v in stored.items() if k.startswith("params.")} == {"float16"}
    assert {v.dtype.name for k, v in stored.items() if k.startswith("batch")} == {"float32"}
    face = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    points = [LandmarkPredictor.load(file)(face, "whole").points for file in (whole, half)]
    assert 0 < np.abs(points[0] - points[1]).max() < 0.01


def test_a_program_is_checked_and_described(tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "g2.stablehlo"
    output = exported(tiny_weights, "--out", out)
    assert "checked on 8 faces; largest difference: points" in output
    about = read_json(tmp_path / "g2.stablehlo.json", "")
    assert about["input"]["crop"].startswith("the square of side 1.25 * sqrt(w * h)")
    assert max(about["check"]["largest_difference"].values()) < 1e-4
    assert about["check"]["drawn"]
    program = jax.export.deserialize(bytearray(out.read_bytes()))
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    face = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    points, _ = program.call(face)
    expected, _ = LandmarkPredictor.load(tiny_weights).predict_crops(face)
    np.testing.assert_allclose(points, expected, atol=1e-3)


@pytest.fixture
def drawn_faces(tmp_path: Path) -> Path:
    """A folder of three drawn faces of several sizes, one of them a folder deeper."""
    photo, boxes = drawn.crowd()
    for number, (x, y, w, h) in enumerate(np.round(boxes)):
        path = tmp_path / "faces" / ("" if number else "deep") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.crop((x, y, x + w, y + h)).resize((40, 30 + number)).save(path)
    return tmp_path / "faces"


def shown(folder: Path, size: tuple[int, int]) -> np.ndarray:
    """Those faces, (width, height) pixels large."""
    photos = [Image.open(folder / name) for name in ("1.png", "2.png", "deep/0.png")]
    return np.stack([np.asarray(p.resize(size, Image.Resampling.BICUBIC)) for p in photos])


def run_file(path: Path, faces: np.ndarray) -> list[np.ndarray]:
    """What a written program makes of faces, run as its users run it."""
    if path.suffix == ".stablehlo":
        return [*map(np.asarray, jax.export.deserialize(bytearray(path.read_bytes())).call(faces))]
    runtime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    return runtime.InferenceSession(path).run(None, {"faces": faces})


@pytest.mark.parametrize("suffix", [".stablehlo", ".onnx"])
@pytest.mark.parametrize("kind", ["landmarks", "encoder", "upsampler"])
def test_it_is_checked_on_given_pictures(
    tiny_weights: Path, tmp_path: Path, drawn_faces: Path, kind: str, suffix: str
) -> None:
    """What the file holds gives, on those faces, what lrjax does."""
    if suffix == ".onnx":
        pytest.importorskip("jax2onnx", reason="ONNX is an extra")
        pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    source = tiny_weights
    if kind != "landmarks":
        encoder = EncoderConfig("deepid2", width=0.25)
        enlarging = SRResNetConfig(width=4, blocks=1, size=(8, 8), image_size=(16, 16))
        config = encoder if kind == "encoder" else enlarging
        source = tmp_path / f"{kind}.safetensors"
        weights.save(source, config, build(config).init(jax.random.key(2)), {"step": 3})
    out = tmp_path / f"program{suffix}"
    output = exported(source, "--out", out, "--images", drawn_faces)
    assert "checked on 3 faces" in output
    check = read_json(tmp_path / f"{out.name}.json", "")["check"]
    assert (check["faces"], check["drawn"]) == (3, False)
    assert 0 <= max(check["largest_difference"].values()) < 1e-4
    if kind == "landmarks":
        faces = shown(drawn_faces, (32, 32))
        points, sure = run_file(out, faces)
        expected, confidence = LandmarkPredictor.load(source).predict_crops(faces)
        np.testing.assert_allclose(points, expected, atol=32e-4)
        np.testing.assert_allclose(sure, confidence, atol=1e-4)
    elif kind == "encoder":
        found = FaceEncoder.load(source)
        faces = shown(drawn_faces, (found.template.width, found.template.height))
        (features,) = run_file(out, faces)
        expected = found.embed(faces, flip="none", batch=3)
        assert np.abs(features - expected).max() < 1e-4 * np.linalg.norm(expected, axis=1).max()
    else:
        faces = shown(drawn_faces, (8, 8))
        (large,) = run_file(out, faces)
        assert np.abs(large - Upsampler.load(source).upsample_crops(faces)).max() <= 0.5 + 1e-2


def test_what_differs_is_not_written(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(program: programs.Program) -> tuple[bytes, programs.Run]:
        exact = jax.jit(program.function)
        return b"", lambda faces: [np.asarray(part) + 0.01 for part in exact(faces)]

    monkeypatch.setitem(programs.WRITERS, ".stablehlo", wrong)
    out = tmp_path / "g2.stablehlo"
    done = CliRunner().invoke(export, [str(tiny_weights), "--out", str(out)])
    assert "differs from the original on 8 faces" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_holds_is_found(tmp_path: Path) -> None:
    config = EncoderConfig("deepid2", width=0.25)
    network = build(config)
    variables = network.init(jax.random.key(0))
    weights.save(tmp_path / "last" / "encoder.safetensors", config, variables, {"step": 3})
    out = tmp_path / "encoder.safetensors"
    assert "step 3 of" in exported(tmp_path, "--out", out)
    chex.assert_trees_all_equal(weights.read(out)[0], jax.device_get(variables))
    weights.save(
        tmp_path / "last" / "encoder.safetensors", config, variables, {"behind": "upsampler"}
    )
    done = CliRunner().invoke(export, [str(tmp_path), "--out", str(out)])
    assert "one file holds one network" in str(done.exception)


def test_what_cannot_be_exported(tiny_weights: Path, tmp_path: Path) -> None:
    for source, out, more, message in (
        (tiny_weights, tmp_path / "g2.bin", [], "must be named .safetensors, .stablehlo, .onnx"),
        (tmp_path, tmp_path / "g2.safetensors", [], "holds no trained g2"),
        (tiny_weights, tmp_path / "g2.stablehlo", ["--half"], "--half is for a .safetensors"),
    ):
        done = CliRunner().invoke(export, [str(source), "--out", str(out), *more])
        assert isinstance(done.exception, InputError)
        with pytest.raises(InputError, match=message):
            raise done.exception
        assert not out.exists()
