"""`lrjax export` as a user calls it."""

from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from lrjax.cli.export import export
from lrjax.errors import InputError
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.models import weights


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


def test_what_cannot_be_exported(tiny_weights: Path, tmp_path: Path) -> None:
    for source, out, message in (
        (tiny_weights, tmp_path / "g2.bin", "must be named .safetensors"),
        (tmp_path, tmp_path / "g2.safetensors", "holds no trained g2"),
    ):
        done = CliRunner().invoke(export, [str(source), "--out", str(out)])
        assert isinstance(done.exception, InputError)
        with pytest.raises(InputError, match=message):
            raise done.exception
        assert not out.exists()
