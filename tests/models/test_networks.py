"""What holds for all five networks alike: gradients, precision, evaluation, determinism."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.models import s2ld

POINTS = 3
U_NET = {"widths": (4, 6), "stem": 4}
CRITIC = {"widths": (4, 6), "pooled_blocks": 1, "hidden": 8}


class Case(NamedTuple):
    """A network small enough for a test, with its inputs of a batch of four."""

    build: Callable
    inputs: tuple[jax.Array, ...]
    switch: str  # the argument that makes it a training pass
    output: tuple[int, ...]


def random(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape)


IMAGES, MAPS = random(4, 16, 16, 3), random(4, 16, 16, POINTS + 1)
CASES = {
    "G1": Case(
        partial(s2ld.HighToLowGenerator, stem=4, encoder=(4, 6), decoder=(6,), noise=5),
        (IMAGES, random(4, 5)),
        "train",
        (4, 4, 4, 3),
    ),
    "D1": Case(partial(s2ld.ImageDiscriminator, **CRITIC), (IMAGES,), "train", (4,)),
    "G2": Case(
        partial(s2ld.HeatmapGenerator, num_points=POINTS, **U_NET),
        (IMAGES,),
        "train",
        (4, 16, 16, POINTS + 1),
    ),
    "D2": Case(
        partial(s2ld.HeatmapDiscriminator, **U_NET),
        (MAPS, IMAGES),
        "train",
        (4, 16, 16, POINTS + 1),
    ),
    "D3": Case(partial(s2ld.ConfidenceDiscriminator, **CRITIC), (MAPS, IMAGES), "train", (4,)),
}


every_network = pytest.mark.parametrize("name", CASES)


def pass_of(name: str, dtype: jnp.dtype = jnp.float32) -> Callable:
    """A jitted (variables, inputs, training) → (output, new statistics)."""
    case = CASES[name]
    network = case.build(dtype=dtype)

    @partial(jax.jit, static_argnums=2)
    def apply(variables: dict, inputs: tuple, training: bool) -> tuple[jax.Array, dict]:
        return network.apply(variables, *inputs, **{case.switch: training}, mutable=["batch_stats"])

    return apply


@cache
def initialise(name: str) -> tuple[Callable, dict]:
    """The pass in float32, and its variables."""
    case = CASES[name]
    init = jax.jit(partial(case.build().init, **{case.switch: True}))
    return pass_of(name), init(jax.random.key(0), *case.inputs)


@every_network
def test_output_and_gradients(name) -> None:
    """Every parameter and every input is used: none has a gradient that is only rounding."""
    case = CASES[name]
    apply, variables = initialise(name)
    weights = random(*case.output)

    def loss(params: dict, inputs: tuple) -> jax.Array:
        output, _ = apply({**variables, "params": params}, inputs, True)
        assert output.shape == case.output
        return jnp.sum(weights * output + jnp.square(output))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], case.inputs)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), jax.tree_util.keystr(path)
        assert np.abs(gradient).max() > 1e-4, jax.tree_util.keystr(path)


@every_network
def test_bfloat16_computes_low_and_keeps_high(name) -> None:
    """Parameters, statistics and outputs are float32; the output is near float32's own."""
    case = CASES[name]
    apply, variables = initialise(name)
    init = partial(case.build(dtype=jnp.bfloat16).init, **{case.switch: True})
    low_variables = jax.eval_shape(init, jax.random.key(0), *case.inputs)
    assert jax.tree.all(
        jax.tree.map(
            lambda low, high: low.dtype == high.dtype == jnp.float32 and low.shape == high.shape,
            low_variables,
            variables,
        )
    )
    expected, _ = apply(variables, case.inputs, False)
    actual, statistics = pass_of(name, jnp.bfloat16)(variables, case.inputs, False)
    assert actual.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(statistics))
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 0.1  # not equal, or it would not have run in bfloat16


@every_network
def test_convolutions_run_in_the_compute_dtype(name) -> None:
    case = CASES[name]
    network = case.build(dtype=jnp.bfloat16)
    _, variables = initialise(name)
    call = partial(network.apply, **{case.switch: False})
    graph = jax.make_jaxpr(call)(variables, *case.inputs)
    dtypes = [
        equation.outvars[0].aval.dtype
        for equation in graph.eqns
        if equation.primitive.name == "conv_general_dilated"
    ]
    # G1's last convolution makes the image, in float32.
    hidden = dtypes[:-1] if isinstance(network, s2ld.HighToLowGenerator) else dtypes
    assert len(hidden) >= 4
    assert set(hidden) == {jnp.dtype(jnp.bfloat16)}


@every_network
def test_only_training_changes_the_statistics(name) -> None:
    case = CASES[name]
    apply, variables = initialise(name)
    equal = partial(jax.tree.map, lambda a, b: bool(jnp.array_equal(a, b)))
    _, evaluated = apply(variables, case.inputs, False)
    assert jax.tree.all(equal(evaluated["batch_stats"], variables["batch_stats"]))
    _, trained = apply(variables, case.inputs, True)
    unchanged = [
        jax.tree_util.keystr(path)
        for path, same in jax.tree_util.tree_leaves_with_path(
            equal(trained["batch_stats"], variables["batch_stats"])
        )
        if same
    ]
    # The score has one output, so that its vector u is a mere sign: it stays.
    assert all("score/kernel/u" in path for path in unchanged), unchanged


@every_network
def test_evaluation_needs_no_mutable_statistics(name) -> None:
    case = CASES[name]
    _, variables = initialise(name)
    call = partial(case.build().apply, **{case.switch: False})
    assert jax.eval_shape(call, variables, *case.inputs).shape == case.output


@every_network
def test_evaluation_treats_images_one_by_one(name) -> None:
    case = CASES[name]
    apply, variables = initialise(name)
    whole, _ = apply(variables, case.inputs, False)
    alone, _ = apply(variables, tuple(x[1:2] for x in case.inputs), False)
    np.testing.assert_allclose(whole[1:2], alone, rtol=1e-4, atol=1e-5)
