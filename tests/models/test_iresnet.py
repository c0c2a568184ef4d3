"""IResNet: its layers by hand, and what its configuration says of pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lrjax.config import from_dict, to_dict
from lrjax.models.encoders import EncoderConfig, IResNetConfig
from lrjax.models.iresnet import LAYOUTS, IResNet, units
from lrjax.models.registry import NetworkConfig, build

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = IResNetConfig("ir18", width=1 / 32)


def size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def unit(inputs: int, outputs: int, projected: bool) -> int:
    """Norm, convolution, norm, PReLU, convolution, norm; and what the input passes."""
    main = 2 * inputs + 9 * inputs * outputs + 2 * outputs + outputs
    main += 9 * outputs * outputs + 2 * outputs
    return main + (inputs * outputs + 2 * outputs if projected else 0)


def by_hand(counts: tuple[int, ...], first_projects: bool, affine: bool) -> int:
    total = 27 * 64 + 2 * 64 + 64
    total += unit(64, 64, first_projects) + (counts[0] - 1) * unit(64, 64, False)
    for inputs, count in zip((64, 128, 256), counts[1:], strict=True):
        total += unit(inputs, 2 * inputs, True) + (count - 1) * unit(2 * inputs, 2 * inputs, False)
    return total + 2 * 512 + (512 * 49 * 512 + 512) + (2 * 512 if affine else 0)


@pytest.mark.parametrize(
    ("name", "counts", "total"),
    [
        ("ir18", (2, 2, 2, 2), 24_020_352),
        ("ir50", (3, 4, 14, 3), 43_585_600),
        ("ir101", (3, 13, 30, 3), 65_150_912),
        ("iresnet18", (2, 2, 2, 2), 24_025_600),
        ("iresnet50", (3, 4, 14, 3), 43_590_848),
        ("iresnet100", (3, 13, 30, 3), 65_156_160),
    ],
)
def test_parameters_by_hand(name: str, counts: tuple[int, ...], total: int) -> None:
    network = build(IResNetConfig(name))
    shapes = network.shapes()
    theirs = name.startswith("iresnet")
    assert size(shapes["params"]) == by_hand(counts, theirs, theirs) == total
    assert (network.template, network.embedding) == ("arcface112", 512)
    assert network.size == (112, 112)
    assert len(units(name)) == sum(counts)


@pytest.fixture(scope="module")
def variables() -> Any:
    return tiny.filled(build(SMALL).shapes())


def features(config: IResNetConfig, variables: Any, images: np.ndarray) -> np.ndarray:
    module = build(config).module
    return np.asarray(jax.jit(partial(module.apply, train=False))(variables, images))


def test_a_network_sees_pixels_as_its_configuration_says(variables: Any) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 112, 112, 3)).astype(np.float32)
    plain = features(SMALL, variables, images)
    assert plain.shape == (2, 512)
    bgr = IResNetConfig("ir18", width=1 / 32, colours="BGR")
    np.testing.assert_allclose(features(bgr, variables, images[..., ::-1]), plain, rtol=1e-5)
    assert np.abs(features(bgr, variables, images) - plain).max() > 1e-3
    # (pixel / 255 - 0.4) / 0.3 of these is what the others are after (pixel / 255 - 0.5) / 0.5.
    other = IResNetConfig("ir18", width=1 / 32, mean=0.4, deviation=0.3)
    there = 2 * (0.3 * images + 0.4) - 1
    np.testing.assert_allclose(features(other, variables, there), plain, rtol=1e-3, atol=1e-3)
    # The length of a feature is kept, as it tells how well a face can be seen.
    assert np.ptp(np.linalg.norm(plain, axis=1)) > 1e-3


def test_its_configuration_is_kept_in_full() -> None:
    config = IResNetConfig("iresnet100", colours="BGR", mean=0.4, dropout=0.1)
    assert from_dict(NetworkConfig, to_dict(config)) == config
    assert isinstance(build(EncoderConfig("mobilefacenet")).config, EncoderConfig)
    assert build(config, "data").module == IResNet(
        "iresnet100", "BGR", mean=0.4, dropout=0.1, axis_name="data"
    )
    assert build(IResNetConfig()).module.dropout == 0.4


def test_halves_and_projections_of_either_layout() -> None:
    for name in LAYOUTS:
        found = units(name)
        assert [unit.width for unit in found if unit.halves] == [64, 128, 256, 512]
        projecting = [unit.width for unit in found if unit.projects]
        assert projecting == ([64] if name.startswith("iresnet") else []) + [128, 256, 512]


def test_precision(variables: Any) -> None:
    """Parameters and features are float32, convolutions run in the compute dtype."""
    module = build(SMALL).module.clone(dtype=jnp.bfloat16)
    images = np.zeros((1, 112, 112, 3), np.float32)
    graph = jax.make_jaxpr(partial(module.apply, train=False))(variables, images)
    kinds = {e.outvars[0].aval.dtype for e in graph.eqns if "conv_general" in e.primitive.name}
    assert kinds == {jnp.dtype("bfloat16")}
    assert graph.out_avals[0].dtype == jnp.float32
