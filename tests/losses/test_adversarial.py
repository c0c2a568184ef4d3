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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_binary_losses_are_cross_entropies() -> None:
    real, fake = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    judged = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
    np.testing.assert_allclose(adversarial.binary_discriminator(real, fake), judged, rtol=1e-5)
    found = adversarial.binary_generator(fake)
    np.testing.assert_allclose(found, -np.log(sigmoid(fake)).mean(), rtol=1e-5)


def test_relativistic_losses_are_esrgans_equations_1_and_2() -> None:
    real, fake = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    real += 1
    d_real, d_fake = sigmoid(real - fake.mean()), sigmoid(fake - real.mean())
    judged = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    made = -np.log(1 - d_real).mean() - np.log(d_fake).mean()
    np.testing.assert_allclose(adversarial.relativistic(real, fake), judged, rtol=1e-5)
    np.testing.assert_allclose(adversarial.relativistic(fake, real), made, rtol=1e-5)


def test_relativistic_means_are_taken_over_all_devices() -> None:
    real, fake = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    whole, gradient = jax.value_and_grad(adversarial.relativistic, (0, 1))(real, fake)

    def share(real: jax.Array, fake: jax.Array) -> jax.Array:
        return jax.lax.pmean(adversarial.relativistic(real, fake, "data"), "data")

    def mapped(real: jax.Array, fake: jax.Array) -> jax.Array:
        parts = (x.reshape(3, 4) for x in (real, fake))
        return jax.vmap(share, axis_name="data")(*parts).mean()

    parts, gradients = jax.value_and_grad(mapped, (0, 1))(real, fake)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    np.testing.assert_allclose(gradients, gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("scores", [np.array([1e4, -1e4], np.float32)])
def test_adversarial_losses_of_huge_scores_are_finite(scores: np.ndarray) -> None:
    for loss in (adversarial.binary_discriminator, adversarial.relativistic):
        value, gradient = jax.value_and_grad(loss)(scores, scores)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


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


def test_state_forgets_a_hundredth_a_step_unless_told_otherwise() -> None:
    state = adversarial.AdversarialState.create().replace(steps=jnp.int32(999))
    moved = state.update(jnp.float32(5), jnp.float32(6), jnp.float32(7))
    found = [moved.real, moved.fake, moved.generator]
    np.testing.assert_allclose(found, [0.05, 0.06, 0.07], rtol=1e-5)


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
