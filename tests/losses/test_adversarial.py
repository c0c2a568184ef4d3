import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.losses import adversarial


def test_hinge_by_hand() -> None:
    real = jnp.array([2.0, 0.5, -1.0])  # margins 0, 0.5, 2
    fake = jnp.array([-3.0, 0.0, 1.0])  # margins 0, 1, 2
    np.testing.assert_allclose(adversarial.hinge_discriminator(real, fake), 2.5 / 3 + 1, rtol=1e-6)
    np.testing.assert_allclose(adversarial.hinge_generator(fake), 2 / 3, rtol=1e-6)


def test_hinge_is_equation_2_negated() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 16)).astype(np.float32)
    paper = np.minimum(0, -1 + real).mean() + np.minimum(0, -1 - fake).mean()
    np.testing.assert_allclose(adversarial.hinge_discriminator(real, fake), -paper, rtol=1e-5)


def test_hinge_gradients_push_scores_apart() -> None:
    real, fake = jnp.zeros(4), jnp.zeros(4)
    to_real, to_fake = jax.grad(adversarial.hinge_discriminator, (0, 1))(real, fake)
    np.testing.assert_allclose(to_real, -0.25)
    np.testing.assert_allclose(to_fake, 0.25)
    np.testing.assert_allclose(jax.grad(adversarial.hinge_generator)(fake), -0.25)


def test_least_squares_by_hand() -> None:
    real = jnp.array([1.0, 3.0])  # mean 2
    predicted = jnp.array([0.0, 2.0])  # mean 2
    unlabelled = jnp.array([1.0, -1.0])  # mean 1
    assert adversarial.least_squares_discriminator(real, predicted, unlabelled) == 5.0
    # (0-1)², (2-1)², (1-1)², (-1-1)²
    assert adversarial.least_squares_generator(predicted, unlabelled) == 1.5


def test_least_squares_generator_needs_scores() -> None:
    with pytest.raises(ValueError, match="at least one"):
        adversarial.least_squares_generator()


def test_losses_are_float32_for_bfloat16_scores() -> None:
    scores = jnp.ones((3,), jnp.bfloat16)
    for value in (
        adversarial.hinge_discriminator(scores, scores),
        adversarial.hinge_generator(scores),
        adversarial.least_squares_discriminator(scores, scores),
        adversarial.least_squares_generator(scores),
    ):
        assert value.dtype == jnp.float32


def test_state_averages_first_and_forgets_later() -> None:
    state = adversarial.AdversarialState.create()
    history = [4.0, 2.0, 9.0, 1.0]
    expected = None
    for step, value in enumerate(history):
        state = state.update(
            jnp.float32(value), jnp.float32(2 * value), jnp.float32(-value), decay=0.5
        )
        # Rates 1, 1/2, 1/2, 1/2.
        expected = value if step == 0 else (expected + value) / 2
    np.testing.assert_allclose(state.real, expected)
    np.testing.assert_allclose(state.fake, 2 * expected)
    np.testing.assert_allclose(state.generator, -expected)
    assert state.steps == len(history)


def test_state_lets_no_gradient_through() -> None:
    def moved(value: jax.Array) -> jax.Array:
        state = adversarial.AdversarialState.create().update(value, value, value)
        return state.real + state.fake + state.generator

    assert jax.grad(moved)(jnp.float32(2.0)) == 0


def test_state_keeps_its_types_through_a_jitted_loop() -> None:
    def step(_: int, state: adversarial.AdversarialState) -> adversarial.AdversarialState:
        return state.update(jnp.float32(1), jnp.float32(2), jnp.float32(3))

    state = jax.lax.fori_loop(0, 5, step, adversarial.AdversarialState.create())
    np.testing.assert_allclose([state.real, state.fake, state.generator], [1, 2, 3], rtol=1e-6)
    assert state.steps.dtype == jnp.int32
