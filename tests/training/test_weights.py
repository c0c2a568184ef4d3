"""Weights files: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file

from lrjax.errors import InputError
from lrjax.tasks import degradation, landmarks
from lrjax.training.weights import load_variables, save_variables, write_json

METADATA = {"network": "g2", "step": 7, "config": {"widths": [1, 2], "stage1": None}}


def variables() -> dict:
    """Every kind of variable that the networks have: kernels, statistics, spectral-norm vectors."""
    config = tiny.shrunk(
        landmarks.LandmarksConfig(degradation="subsample", critics=("confidence",))
    )
    shapes = jax.eval_shape(landmarks.make(config, 1).init, jax.random.key(0))
    return {
        "g2": tiny.filled(shapes.nets["g2"].variables),
        "d3": tiny.filled(shapes.nets["d3"].variables),
    }


def test_networks_return_as_they_were(tmp_path: Path) -> None:
    given = variables()
    path = tmp_path / "new" / "net.safetensors"
    save_variables(path, given, METADATA)
    found, metadata = load_variables(path)
    assert jax.tree.structure(found) == jax.tree.structure(given)
    assert tiny.same(found, given)
    assert metadata == METADATA
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_scalars_and_what_is_not_contiguous_keep_their_shapes(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    given = {"params": {"slope": np.float32(0.25), "kernel": turned}}
    save_variables(tmp_path / "net.safetensors", given, {})
    found = load_variables(tmp_path / "net.safetensors")[0]["params"]
    assert found["slope"].shape == ()
    assert found["slope"] == np.float32(0.25)
    np.testing.assert_array_equal(found["kernel"], turned)


def test_half_precision_is_widened_and_integers_are_not(tmp_path: Path) -> None:
    given = {"a": {"half": np.float16([0.1, 3]), "count": np.int32([4])}}
    save_variables(tmp_path / "f", given, {})
    found, _ = load_variables(tmp_path / "f")
    assert found["a"]["half"].dtype == np.float32
    np.testing.assert_array_equal(found["a"]["half"], given["a"]["half"].astype(np.float32))
    assert found["a"]["count"].dtype == np.int32


def junk(path: Path, kind: str) -> None:
    """Files that are not ours."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"params": 1}))
    elif kind == "text":
        path.write_text("not weights")
    elif kind == "cut":
        save_variables(path, {"a": np.ones(100)}, METADATA)
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "header":
        path.write_bytes(b"\xff" * 64)
    elif kind == "stranger":
        save_file({"a": np.ones(2)}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", ["pickle", "text", "cut", "header", "stranger", "empty"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.touch()
    junk(path, kind)
    with pytest.raises(InputError, match=r"net\.safetensors is not a safetensors file that lrjax"):
        load_variables(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no weights file .*none"):
        load_variables(tmp_path / "none")
    with pytest.raises(InputError, match="There is no weights file"):
        load_variables(tmp_path)
    with pytest.raises(InputError, match=r"g1\.safetensors"):
        degradation.load_net(tmp_path, "g1")


def test_json_is_whole_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x" / "f.json", {"b": 1, "a": [2]})
    text = (tmp_path / "x" / "f.json").read_text()
    assert json.loads(text) == {"a": [2], "b": 1}
    assert text.endswith("}\n")
    assert text.index('"a"') < text.index('"b"')
