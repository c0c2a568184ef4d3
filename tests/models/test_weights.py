"""Weights files: what is written is read, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny
from safetensors import safe_open
from safetensors.numpy import save_file

from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import build
from lrjax.models.s2ld import CriticConfig, DegraderConfig, LandmarkConfig

G2 = LandmarkConfig(stem=4, widths=(4,), size=16)
PROVENANCE = {"step": 7, "task": "landmarks", "of": ["a", None]}


def variables(config: Any = G2) -> dict[str, Any]:
    return tiny.filled(build(config).shapes())


@pytest.mark.parametrize(
    "config", [G2, DegraderConfig(image_size=32, stem=4, encoder=(4,), decoder=(4,), noise=4)]
)
def test_networks_return_as_they_were(config: Any, tmp_path: Path) -> None:
    given = variables(config)
    path = tmp_path / "new" / "g.safetensors"
    weights.save(path, config, given, PROVENANCE)
    found = weights.load(path, "g", (build(config).kind,))
    assert tiny.same(found.variables, given)
    assert found.network.config == config
    assert found.provenance == PROVENANCE
    assert found.identity == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    given = variables()
    turned = {kind: dict(reversed(list(tree.items()))) for kind, tree in reversed(given.items())}
    weights.save(tmp_path / "a", G2, given, {"x": 1, "y": 2})
    weights.save(tmp_path / "b", G2, turned, {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_spectral_norm_vectors_keep_their_names(tmp_path: Path) -> None:
    config = CriticConfig(widths=(4,), hidden=4, pooled_blocks=1)
    critic = build(config, inputs=((16, 16, 3),))
    given = tiny.filled(critic.shapes())
    weights.save(tmp_path / "d1", config, given, {})
    assert tiny.same(weights.load_into(tmp_path / "d1", "d1", critic, "initial"), given)


def test_scalars_and_what_is_not_contiguous_keep_their_shapes(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    given = {"params": {"slope": np.float32(0.25), "kernel": turned}}
    weights.save(tmp_path / "net", G2, given, {})
    found = weights.read(tmp_path / "net")[0]["params"]
    assert found["slope"].shape == ()
    assert found["slope"] == np.float32(0.25)
    np.testing.assert_array_equal(found["kernel"], turned)


def test_half_precision_is_widened_and_integers_are_not(tmp_path: Path) -> None:
    given = {"a": {"half": np.float16([0.1, 3]), "count": np.int32([4])}}
    weights.save(tmp_path / "f", G2, given, {})
    found, _ = weights.read(tmp_path / "f")
    assert found["a"]["half"].dtype == np.float32
    np.testing.assert_array_equal(found["a"]["half"], given["a"]["half"].astype(np.float32))
    assert found["a"]["count"].dtype == np.int32


def test_the_file_says_what_network_it_holds_and_nothing_of_training(tmp_path: Path) -> None:
    weights.save(tmp_path / "f", G2, variables(), PROVENANCE)
    with safe_open(tmp_path / "f", framework="numpy") as file:
        metadata = file.metadata()
    about = json.loads(metadata["lrjax"])
    assert set(metadata) == {"lrjax"}
    assert set(about) == {"network", "provenance"}
    assert about["network"]["name"] == "heatmap_generator"
    assert about["network"]["points"] == "ibug68"


def junk(path: Path, kind: str) -> None:
    """Files that are not ours, or damaged."""
    given = variables()
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"params": 1}))
    elif kind == "text":
        path.write_text("not weights")
    elif kind == "cut":
        weights.save(path, G2, given, {})
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "header":
        path.write_bytes(b"\xff" * 64)
    elif kind == "stranger":
        save_file({"a": np.ones(2)}, path, metadata={"format": "pt"})
    elif kind == "list":
        save_file({"a": np.ones(2)}, path, metadata={"lrjax": "[]"})
    elif kind == "deep":
        save_file({"a": np.ones(2)}, path, metadata={"lrjax": "[" * 5000 + "]" * 5000})
    elif kind == "digits":
        save_file({"a": np.ones(2)}, path, metadata={"lrjax": "9" * 5000})
    elif kind == "nested":
        both = {"params": np.ones(2), "params.x": np.ones(2)}
        about = json.dumps({"network": {"name": "heatmap_generator"}, "provenance": {}})
        save_file(both, path, metadata={"lrjax": about})
    elif kind in ("nan", "infinite"):
        given["params"]["stem"]["kernel"][0] = np.nan if kind == "nan" else np.inf
        weights.save(path, G2, given, {})
    elif kind == "double":
        given["params"]["stem"]["kernel"] = np.full((3, 3, 3, 4), 1e300)
        weights.save(path, G2, given, {})


DAMAGE = ("pickle", "text", "cut", "header", "stranger", "list", "deep", "digits", "nested", "nan")


@pytest.mark.parametrize("kind", [*DAMAGE, "infinite", "double", "empty"])
def test_other_and_damaged_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.touch()
    junk(path, kind)
    with pytest.raises(InputError, match=r"net\.safetensors is not one that lrjax wrote") as caught:
        weights.load(path, "g2", ("landmarks",))
    assert len(str(caught.value)) < 500


def test_another_kind_and_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    weights.save(tmp_path / "g2", G2, variables(), {})
    with pytest.raises(InputError, match=r"holds a landmark network .* name one with a face enc"):
        weights.load(tmp_path / "g2", "encoder", ("encoder",))
    wide = LandmarkConfig(stem=5, widths=(4,), size=16)
    weights.save(tmp_path / "wide", wide, variables(), {})
    with pytest.raises(InputError, match=r"not those of the heatmap_generator .* as the first of"):
        weights.load(tmp_path / "wide", "g2", ("landmarks",))
    with pytest.raises(InputError, match=r"do not fit .*; set initial to weights of that network"):
        weights.load_into(tmp_path / "g2", "g2", build(wide), "initial")


def test_unknown_networks_are_named(tmp_path: Path) -> None:
    weights.save(
        tmp_path / "f", EncoderConfig("resnet1000"), {"params": {"a": np.float32([1])}}, {}
    )
    with pytest.raises(InputError, match="There is no network 'resnet1000'; choose one of"):
        weights.load(tmp_path / "f", "encoder", ("encoder",))


@pytest.mark.parametrize(
    "config",
    [
        {"name": "srresnet", "size": [0, 0]},
        {"name": "srresnet", "size": [8, -8]},
        {"name": "srresnet", "blocks": "many"},
        {"name": "heatmap_generator", "widths": []},
        {"name": "heatmap_generator", "size": 0},
        {"name": "heatmap_generator", "stem": -3},
    ],
)
def test_networks_that_cannot_be_built_are_refused(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    about = json.dumps({"network": config, "provenance": {}})
    save_file({"a": np.ones(2, np.float32)}, path, metadata={"lrjax": about})
    with pytest.raises(InputError, match=r"net\.safetensors .*; get or write the file again"):
        weights.load(path, "g2", ("landmarks", "upsampler"))


def test_weights_are_found_in_run_folders(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"There is no weights file .*none"):
        weights.load(tmp_path / "none", "g2", ("landmarks",))
    run.mkdir()
    with pytest.raises(InputError, match=r"holds no trained g2 \(best/g2\.safetensors or last/g2"):
        weights.locate(run, "g2")
    for which in ("last", "best"):
        weights.save(run / which / "g2.safetensors", G2, variables(), {})
        assert weights.locate(run, "g2").parent.name == which
    assert weights.locate(run, "g2", "last") == run / "last" / "g2.safetensors"
    with pytest.raises(InputError, match="is one file and has no 'last'"):
        weights.locate(run / "last" / "g2.safetensors", "g2", "last")


def test_shapes_are_known_without_computing() -> None:
    network = build(EncoderConfig("mobilefacenet"))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(network.shapes()["params"]))
    assert parameters == 999_936  # as counted in its published file


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F4"])
def test_numbers_that_numpy_lacks_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    about = {"lrjax": json.dumps({"network": {}, "provenance": {}})}
    tensor = {"dtype": kind, "shape": [2], "data_offsets": [0, 1 if kind == "F4" else 2]}
    header = json.dumps({"a": tensor, "__metadata__": about}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(1 if kind == "F4" else 2))
    with pytest.raises(InputError, match=r"lrjax wrote \(an array is of a kind that NumPy lacks\)"):
        weights.read(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sigma", "NaN", "its metadata|Out of range|not JSON compliant"),
        ("sigma", "1e400", "not JSON compliant"),
        ("sigma", "0", "sigma is 0.0; set it to more than 0, at most 100"),
        ("context", "-1", "context is -1.0; set it to more than 0"),
        ("context", "1e300", "context is 1e"),
        ("size", str(2**31), "a side of more than 4096 pixels; set its size"),
        ("size", "7", "sides .* must be divisible"),
        ("size", "9" * 400, "side of more than 4096"),
    ],
)
def test_a_network_of_impossible_numbers_is_refused(
    field: str, value: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    fields = {"name": '"heatmap_generator"', "stem": "4", "widths": "[4]", "size": "16"}
    described = ", ".join(f'"{key}": {text}' for key, text in (fields | {field: value}).items())
    flat = {
        ".".join(entry.key for entry in place): leaf
        for place, leaf in jax.tree_util.tree_flatten_with_path(variables())[0]
    }
    about = f'{{"network": {{{described}}}, "provenance": {{}}}}'
    save_file(flat, path, metadata={"lrjax": about})
    with pytest.raises(InputError, match=message) as caught:
        weights.load(path, "g2", ("landmarks",))
    assert str(path) in str(caught.value)


def test_a_name_without_end_is_told_in_short(tmp_path: Path) -> None:
    given = variables()
    given["params"]["9" * 5000] = np.zeros(2, np.float32)
    weights.save(tmp_path / "net", G2, given, {})
    with pytest.raises(InputError, match=r"params\.9+\.\.\. is of shape \[2\] there") as caught:
        weights.load(tmp_path / "net", "g2", ("landmarks",))
    assert len(str(caught.value)) < 600
