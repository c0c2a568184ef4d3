"""Optimisers and schedules of K&C §4.1, against NumPy."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.config import GroupConfig, OptimizerConfig, override
from lrjax.errors import InputError
from lrjax.training.optimizers import adjustable_clip, make_optimizer, make_schedule

PAPER = OptimizerConfig()


def test_the_papers_schedule_halves_after_80_and_160_of_200_epochs() -> None:
    per_epoch = 625
    schedule = make_schedule(PAPER, 200 * per_epoch)
    rates = [float(schedule(epoch * per_epoch + 1)) for epoch in (0, 79, 80, 159, 160, 199)]
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 1e-4, 1e-4, 5e-5, 5e-5], rtol=1e-6)


def test_the_cosine_warms_up_and_ends_at_nothing() -> None:
    config = dataclasses.replace(PAPER, learning_rate=1.0, schedule="cosine")
    schedule = make_schedule(config, 1000)
    np.testing.assert_allclose([schedule(n) for n in (0, 10, 20)], [0.0, 0.5, 1.0], atol=1e-6)
    expected = 0.5 * (1 + np.cos(np.pi * (510 - 20) / 980))
    np.testing.assert_allclose([schedule(510), schedule(1000)], [expected, 0.0], atol=1e-6)
    assert np.isfinite(float(make_schedule(config, 1)(0)))


def stepped(config: OptimizerConfig, gradients: list[np.ndarray]) -> np.ndarray:
    """Parameters [1, -2] after a step with each of `gradients`."""
    optimizer = make_optimizer(config, 100)
    params = jnp.asarray([1.0, -2.0])
    state = optimizer.init(params)
    for gradient in gradients:
        change, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = params + change
    return np.asarray(params)


def adam(config: OptimizerConfig, gradients: list[np.ndarray]) -> np.ndarray:
    """Kingma and Ba's algorithm 1, with decoupled decay."""
    params, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t, gradient in enumerate(gradients, 1):
        m = config.b1 * m + (1 - config.b1) * gradient
        v = config.b2 * v + (1 - config.b2) * gradient**2
        change = m / (1 - config.b1**t) / (np.sqrt(v / (1 - config.b2**t)) + 1e-8)
        params = params - config.learning_rate * (change + config.weight_decay * params)
    return params


GRADIENTS = [np.array([3.0, 4.0]), np.array([-0.3, 0.1]), np.array([0.02, 6.0])]


def test_the_paper_s_optimiser_is_adam() -> None:
    assert (PAPER.learning_rate, PAPER.b1, PAPER.b2) == (2e-4, 0.5, 0.9)
    np.testing.assert_allclose(stepped(PAPER, GRADIENTS), adam(PAPER, GRADIENTS), rtol=1e-6)


def test_weight_decay_is_decoupled() -> None:
    config = dataclasses.replace(PAPER, learning_rate=0.1, weight_decay=0.5)
    np.testing.assert_allclose(stepped(config, GRADIENTS), adam(config, GRADIENTS), rtol=1e-5)


def test_gradients_are_clipped_by_their_norm_together() -> None:
    config = dataclasses.replace(PAPER, learning_rate=0.1, clip_norm=1.0)
    clipped = [g / max(1.0, np.linalg.norm(g)) for g in GRADIENTS]
    np.testing.assert_allclose(stepped(config, GRADIENTS), adam(config, clipped), rtol=1e-5)


def test_adjustable_clipping_follows_the_rate_through_its_drops() -> None:
    """VDSR's: within ±θ / rate of the step, element by element, before decay and momentum."""
    config = dataclasses.replace(
        PAPER,
        method="sgd",
        learning_rate=0.1,
        weight_decay=0.5,
        drops=(0.4, 0.8),
        drop_factor=0.1,
        adjustable_clip=0.01,
    )
    gradients = np.random.default_rng(0).normal(size=(5, 2)) * [[0.2], [0.2], [2], [2], [20]]
    optimizer = make_optimizer(config, 5)
    params = jnp.asarray([1.0, -2.0])
    state = optimizer.init(params)
    expected, velocity, hits = np.array([1.0, -2.0]), np.zeros(2), []
    for gradient, rate in zip(gradients, (0.1, 0.1, 0.01, 0.01, 0.001), strict=True):
        change, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = params + change
        hits += (np.abs(gradient) > 0.01 / rate).tolist()
        clipped = np.clip(gradient, -0.01 / rate, 0.01 / rate)
        velocity = 0.9 * velocity + clipped + 0.5 * expected
        expected = expected - rate * velocity
        np.testing.assert_allclose(params, expected, rtol=1e-5)
    assert 0 < sum(hits) < len(hits)


def test_a_rate_of_nothing_clips_nothing() -> None:
    rates = jnp.asarray([0.0, 0.5])
    clip = adjustable_clip(0.1, lambda count: rates[count])
    state = clip.init(None)
    first, state = clip.update({"w": jnp.asarray([3.0, -0.1])}, state)
    second, _ = clip.update({"w": jnp.asarray([3.0, -0.1])}, state)
    np.testing.assert_allclose(first["w"], [3.0, -0.1])
    np.testing.assert_allclose(second["w"], [0.2, -0.1])


def test_only_a_clip_that_is_asked_for_is_in_the_state() -> None:
    params = {"w": jnp.zeros(2)}
    for method in ("adam", "sgd"):
        plain = dataclasses.replace(PAPER, method=method)
        both = dataclasses.replace(plain, clip_norm=1.0, adjustable_clip=0.01)
        states = [make_optimizer(config, 9).init(params) for config in (plain, both)]
        norm, adjustable, rest = states[1]
        assert jax.tree.structure(rest) == jax.tree.structure(states[0])
        assert not jax.tree.leaves(norm)
        assert [leaf.shape for leaf in jax.tree.leaves(adjustable)] == [()]


# Of LightCNN's training script: biases learn twice as fast and do not decay, and the classifier
# learns ten times as fast as the rest.
LIGHTCNN = dataclasses.replace(
    PAPER,
    learning_rate=0.01,
    weight_decay=0.1,
    method="sgd",
    drops=(0.5,),
    drop_factor=0.4,
    groups=(
        GroupConfig(r"^classifier\.bias$", rate=20, decay=0),
        GroupConfig("^classifier", rate=10),
        GroupConfig("bias", rate=2, decay=0),
    ),
)


def descended(config: OptimizerConfig, net: str, name: str, rate: float, decay: float) -> None:
    """Four steps of two parameters against PyTorch's documented SGD with its own rate and decay."""
    gradients = [*GRADIENTS, np.array([1.0, -1.0])]
    optimizer = make_optimizer(config, len(gradients), net)
    params = {"layer": {name: jnp.asarray([1.0, -2.0])}}
    state = optimizer.init(params)
    expected, velocity = np.array([1.0, -2.0]), np.zeros(2)
    for step, gradient in enumerate(gradients):
        update, state = optimizer.update({"layer": {name: jnp.asarray(gradient)}}, state, params)
        params = jax.tree.map(jnp.add, params, update)
        velocity = config.momentum * velocity + gradient + decay * expected
        learning_rate = rate * (0.4 if step >= 2 else 1.0)
        expected = expected - learning_rate * velocity
    np.testing.assert_allclose(params["layer"][name], expected, rtol=1e-5)


def test_gradient_descent_decays_and_keeps_its_velocity_as_pytorch_does() -> None:
    plain = dataclasses.replace(LIGHTCNN, groups=())
    descended(plain, "encoder", "bias", rate=0.01, decay=0.1)


def test_groups_learn_at_rates_of_their_own() -> None:
    descended(LIGHTCNN, "encoder", "kernel", rate=0.01, decay=0.1)
    descended(LIGHTCNN, "encoder", "bias", rate=0.02, decay=0.0)
    descended(LIGHTCNN, "classifier", "kernel", rate=0.1, decay=0.1)
    # The first group that matches counts: "^classifier", since the bias is in a layer here.
    descended(LIGHTCNN, "classifier", "bias", rate=0.1, decay=0.1)


def test_a_group_of_all_changes_adam_by_its_rate() -> None:
    config = dataclasses.replace(PAPER, weight_decay=0.5, groups=(GroupConfig("", rate=3.0),))
    tripled = dataclasses.replace(PAPER, weight_decay=0.5, learning_rate=3 * PAPER.learning_rate)
    np.testing.assert_allclose(stepped(config, GRADIENTS), adam(tripled, GRADIENTS), rtol=1e-5)


def test_gradient_descent_is_clipped_too() -> None:
    config = dataclasses.replace(
        PAPER, method="sgd", momentum=0.0, learning_rate=0.1, clip_norm=1.0
    )
    gradient = np.array([3.0, 4.0])
    np.testing.assert_allclose(
        stepped(config, [gradient]), [1.0 - 0.1 * 0.6, -2.0 - 0.1 * 0.8], rtol=1e-6
    )


def test_a_group_without_a_sensible_pattern_is_refused() -> None:
    with pytest.raises(InputError, match=r"is not a regular expression.*groups"):
        override(PAPER, ['groups=[{"match": "("}]'])
    assert override(PAPER, ['groups=[{"match": "bias", "rate": 2}]']).groups == (
        GroupConfig("bias", 2.0),
    )
