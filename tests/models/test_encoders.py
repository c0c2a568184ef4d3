"""The face encoders and VDSR: their layers by hand, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lrjax.geometry.templates import TEMPLATES
from lrjax.models.encoders import ENCODERS, EncoderConfig
from lrjax.models.inception_resnet import pool3
from lrjax.models.lightcnn import LightCNN, grey
from lrjax.models.mobilefacenet import depthwise
from lrjax.models.refiners import VDSR
from lrjax.models.registry import build

pytestmark = pytest.mark.usefixtures("quick_compile")

WIDTH = 1 / 16
NORMALISED = ("inception_resnet_v1", "mobilefacenet")
every_encoder = pytest.mark.parametrize("name", ENCODERS)
# One of each family; the others differ by options that have tests of their own.
FAMILIES = ("lightcnn29_32", "inception_resnet_v1", "mobilefacenet")


def shapes(module: nn.Module, *inputs: Any) -> tuple[Any, Any]:
    """Output and variables, without computing them."""
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs))


def size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def small_module(name: str, **options: Any) -> nn.Module:
    return build(EncoderConfig(name, **options)).module


def images(name: str, count: int = 3) -> np.ndarray:
    height, width = build(EncoderConfig(name)).size
    shape = count, height, width, 3
    return np.random.default_rng(height).uniform(-1, 1, shape).astype(np.float32)


@cache
def small(name: str) -> tuple[nn.Module, Any]:
    """A narrow network with plausible variables."""
    module = small_module(name, width=WIDTH)
    _, variables = shapes(module, images(name), False)
    return module, tiny.filled(variables)


# Layers by hand.


def mfm(inputs: int, outputs: int, side: int) -> int:
    return side * side * inputs * 2 * outputs + 2 * outputs


def lightcnn_convolutions() -> int:
    blocks = 2 * (1 * mfm(48, 48, 3) + 2 * mfm(96, 96, 3) + 3 * mfm(192, 192, 3))
    blocks += 2 * 4 * mfm(128, 128, 3)
    groups = mfm(48, 48, 1) + mfm(48, 96, 3) + mfm(96, 96, 1) + mfm(96, 192, 3)
    groups += mfm(192, 192, 1) + mfm(192, 128, 3) + mfm(128, 128, 1) + mfm(128, 128, 3)
    return mfm(1, 48, 5) + blocks + groups


def unit(inputs: int, outputs: int, area: int) -> int:
    """A convolution without bias, and a norm's scale and bias."""
    return area * inputs * outputs + 2 * outputs


def inception_resnet() -> int:
    stem = [unit(3, 32, 9), unit(32, 32, 9), unit(32, 64, 9), unit(64, 80, 1)]
    stem += [unit(80, 192, 9), unit(192, 256, 9)]
    block35 = [3 * unit(256, 32, 1), 3 * unit(32, 32, 9), 96 * 256 + 256]
    mixed_6a = [unit(256, 384, 9), unit(256, 192, 1), unit(192, 192, 9), unit(192, 256, 9)]
    block17 = [2 * unit(896, 128, 1), 2 * unit(128, 128, 7), 256 * 896 + 896]
    mixed_7a = [3 * unit(896, 256, 1), unit(256, 384, 9), 3 * unit(256, 256, 9)]
    block8 = [2 * unit(1792, 192, 1), 2 * unit(192, 192, 3), 384 * 1792 + 1792]
    parts = [*stem, *mixed_6a, *mixed_7a, 1792 * 512 + 2 * 512]
    return sum(parts) + 5 * sum(block35) + 10 * sum(block17) + 6 * sum(block8)


def inverted(inputs: int, expansion: int, outputs: int) -> int:
    hidden = expansion * inputs
    return unit(inputs, hidden, 1) + unit(1, hidden, 9) + unit(hidden, outputs, 1)


def mobilefacenet() -> int:
    stem = unit(3, 64, 9) + unit(1, 64, 9) + unit(64, 64, 1)
    blocks = 5 * inverted(64, 2, 64) + inverted(64, 4, 128) + 6 * inverted(128, 2, 128)
    blocks += inverted(128, 4, 128) + 2 * inverted(128, 2, 128)
    return stem + blocks + unit(128, 512, 1) + unit(1, 512, 49) + (512 * 128 + 128) + 2 * 128


@pytest.mark.parametrize(
    ("name", "by_hand", "total"),
    [
        ("lightcnn29", lightcnn_convolutions() + 64 * 128 * 512 + 512, 12_573_280),
        ("lightcnn29v2", lightcnn_convolutions() + 64 * 128 * 256 + 256, 10_475_872),
        ("inception_resnet_v1", inception_resnet(), 23_482_624),
        ("mobilefacenet", mobilefacenet(), 999_936),
    ],
)
def test_parameters_by_hand(name: str, by_hand: int, total: int) -> None:
    """The published networks at full width, without their classifiers."""
    network = build(EncoderConfig(name))
    output, variables = shapes(network.module, np.zeros((2, *network.size, 3)), False)
    assert (output.shape, output.dtype) == ((2, network.embedding), jnp.float32)
    assert size(variables["params"]) == by_hand == total
    assert ("batch_stats" in variables) == (name in NORMALISED)


@every_encoder
def test_its_images_are_of_its_template(name: str) -> None:
    network = build(EncoderConfig(name))
    template = TEMPLATES[network.template]
    assert network.size == (template.height, template.width)


def test_vdsr_parameters_by_hand() -> None:
    output, variables = shapes(VDSR(), jnp.zeros((2, 8, 12, 1)))
    assert output.shape == (2, 8, 12, 1)
    assert size(variables["params"]) == 9 * 64 * (1 + 18 * 64 + 1) == 664_704
    _, variables = shapes(VDSR(channels=3, use_bias=True), jnp.zeros((2, 8, 8, 3)))
    assert size(variables["params"]) == 9 * 64 * (3 + 18 * 64 + 3) + 19 * 64 + 3


@pytest.mark.parametrize("name", ["lightcnn29", "lightcnn29v2"])
def test_small_images_have_the_parameters_of_large_ones(name: str) -> None:
    trees = [
        shapes(build(EncoderConfig(key)).module, images(key, 1), False)[1]
        for key in (name, f"{name}_32")
    ]
    assert images(name).shape[1] == 4 * images(f"{name}_32").shape[1] == 128
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), *trees)
    assert jax.tree.all(same)


def test_inception_maps_at_112_pixels() -> None:
    """55, 53, 26, 24, 11, then 5 and 2 pixels, as the layer table has it."""
    module = small_module("inception_resnet_v1", width=WIDTH)
    pixels = jnp.zeros((1, 112, 112, 3))
    _, state = jax.eval_shape(
        lambda: module.init_with_output(
            jax.random.key(0), pixels, False, capture_intermediates=True
        )
    )
    sides = {
        name: value["__call__"][0].shape[1]
        for name, value in state["intermediates"].items()
        if name != "__call__"
    }
    expected = {"conv2d_1a": 55, "conv2d_2a": 53, "conv2d_2b": 53, "conv2d_3b": 26}
    expected |= {"conv2d_4a": 24, "conv2d_4b": 11, "repeat_1_4": 11, "mixed_6a": 5}
    expected |= {"repeat_2_9": 5, "mixed_7a": 2, "repeat_3_4": 2, "block8": 2}
    assert {name: sides[name] for name in expected} == expected


# What holds for all.


@every_encoder
def test_precision(name: str) -> None:
    """Parameters and features are float32, convolutions run in the compute dtype."""
    module = build(EncoderConfig(name, width=WIDTH)).module.clone(dtype=jnp.bfloat16)
    output, variables = shapes(module, images(name), False)
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    graph = jax.make_jaxpr(partial(module.apply, train=False))(tiny.filled(variables), images(name))
    kinds = [e.outvars[0].aval.dtype for e in graph.eqns if "conv_general" in e.primitive.name]
    assert kinds
    assert set(kinds) == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize(
    "name",
    [
        "lightcnn29_32",
        "inception_resnet_v1",
        pytest.param("mobilefacenet", marks=pytest.mark.slow),
    ],
)
def test_images_are_treated_one_by_one(name: str) -> None:
    module, variables = small(name)
    apply = jax.jit(partial(module.apply, train=False))
    pixels = images(name)
    whole = apply(variables, pixels)
    assert whole.shape == (3, build(EncoderConfig(name)).embedding)
    np.testing.assert_allclose(apply(variables, pixels[::-1])[::-1], whole, rtol=1e-3, atol=1e-4)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


@pytest.mark.parametrize(
    "name", ["mobilefacenet", pytest.param("inception_resnet_v1", marks=pytest.mark.slow)]
)
def test_only_training_changes_the_statistics(name: str) -> None:
    module, variables = small(name)
    rngs = {"dropout": jax.random.key(0)}

    @jax.jit
    def train(variables: Any, pixels: Any) -> Any:
        return module.apply(variables, pixels, train=True, mutable=["batch_stats"], rngs=rngs)

    _, trained = train(variables, images(name))
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), trained["batch_stats"], variables["batch_stats"]
    )
    assert jax.tree.all(changed)
    # No part of the state is mutable here, so that a change would be an error.
    assert shapes(module, images(name), False)[0].shape == (3, build(EncoderConfig(name)).embedding)


def every_gradient(name: str) -> Iterator[tuple[str, np.ndarray]]:
    module, variables = small(name)

    def loss(params: Any) -> jax.Array:
        features, _ = module.apply(
            variables | {"params": params},
            images(name),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        return (features * jnp.arange(features.size).reshape(features.shape)).sum()

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        yield jax.tree_util.keystr(path), np.asarray(gradient)


@pytest.mark.parametrize(
    "name",
    [
        "lightcnn29_32",
        pytest.param("inception_resnet_v1", marks=pytest.mark.slow),
        pytest.param("mobilefacenet", marks=pytest.mark.slow),
    ],
)
def test_every_parameter_has_a_gradient(name: str) -> None:
    for path, gradient in every_gradient(name):
        assert np.isfinite(gradient).all(), path
        # A bias that BatchNorm takes away again has none but rounding.
        if not (name == "mobilefacenet" and path == "['conv3']['bias']"):
            assert np.abs(gradient).max() > 1e-4, path


def test_dropout_is_of_the_feature_and_can_be_set() -> None:
    module, variables = small("lightcnn29_32")
    pixels, rngs = images("lightcnn29_32"), {"dropout": jax.random.key(0)}
    evaluated = jax.jit(partial(module.apply, train=False))(variables, pixels)
    trained = jax.jit(partial(module.apply, train=True, rngs=rngs))(variables, pixels)
    kept = np.asarray(trained != 0)
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(trained[kept], 2 * evaluated[kept], rtol=1e-5)
    rates = [build(EncoderConfig(name)).module.dropout for name in FAMILIES]
    assert rates == [0.5, 0.6, 0.0]
    assert [small_module(name, dropout=0.3).dropout for name in FAMILIES] == [0.3] * 3


def test_device_axis_goes_where_there_are_statistics() -> None:
    for name in ENCODERS:
        module = build(EncoderConfig(name), "data").module
        assert getattr(module, "axis_name", None) == ("data" if name in NORMALISED else None)


# Parts.


def test_lightcnn_sees_grey() -> None:
    """Rec. 601 luminance in [0, 1]; a grey image may have one channel."""
    colours = np.float32([[-1, -1, -1], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    seen = grey(jnp.asarray(colours.reshape(1, 5, 1, 3))).ravel()
    np.testing.assert_allclose(seen, [0, 1, 0.299, 0.587, 0.114], atol=1e-6)
    one = jnp.asarray([[[[-1.0]], [[0.5]]]])
    np.testing.assert_allclose(grey(one), [[[[0]], [[0.75]]]])
    with pytest.raises(ValueError, match="1 or 3 channels, not 4"):
        grey(jnp.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="version must be 1 or 2, not 3"):
        shapes(LightCNN(version=3), jnp.zeros((1, 32, 32, 3)), False)


def test_lightcnn_poolings_of_odd_sides() -> None:
    """Version 1 keeps what is left over at the edge, version 2 leaves it out."""
    x = jnp.asarray([[1.0, 2, 7], [3, 4, 0], [5, 6, -9]])[None, :, :, None]
    first = LightCNN(version=1)._halved(x)[0, :, :, 0]
    np.testing.assert_array_equal(first, [[4, 7], [6, -9]])
    second = LightCNN(version=2)._halved(x)[0, :, :, 0]
    np.testing.assert_array_equal(second, [[4 + 2.5]])


@pytest.mark.slow
def test_untrained_lightcnn_keeps_its_scale() -> None:
    """After 29 layers without normalisation, features are neither tiny nor huge."""
    name = "lightcnn29_32"
    module = small_module(name, width=0.25)
    variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images(name))
    features = jax.jit(partial(module.apply, train=False))(variables, images(name))
    assert 0.2 < np.std(features) < 20


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [(6, 6), (7, 5)])
def test_depthwise_is_xlas_grouped_convolution(stride: int, side: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in ((2, *side, 3), (3, 3, 3)))
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=3,
    )
    np.testing.assert_allclose(depthwise(x, kernel, stride), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [(7, 7), (8, 9), (3, 4)])
def test_pool3_is_a_windowed_maximum(side: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, *side, 3)).astype(np.float32)
    expected = nn.max_pool(jnp.asarray(x), (3, 3), (2, 2), "VALID")
    np.testing.assert_array_equal(pool3(jnp.asarray(x)), expected)


def test_vdsr_adds_to_its_input() -> None:
    module, pixels = VDSR(channels=3), jnp.full((1, 5, 5, 3), 0.25)
    _, variables = shapes(module, pixels)
    params = tiny.filled(variables)["params"]
    params["conv_19"]["kernel"] = np.zeros_like(params["conv_19"]["kernel"])
    np.testing.assert_array_equal(module.apply({"params": params}, pixels), pixels)
    with pytest.raises(ValueError, match="must have 3 channels, not 1"):
        shapes(module, pixels[..., :1])
