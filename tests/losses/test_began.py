import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.losses import began

GAMMA, RATE = 0.5, 0.001


def test_discriminator_loss_by_hand() -> None:
    state = began.BeganState.create(k=0.25)
    assert began.discriminator_loss(jnp.float32(3), jnp.float32(2), state) == 2.5


def test_update_by_hand() -> None:
    """k = 0.2 + 0.1 (0.5·4 - 1) = 0.3; convergence = 4 + |0.5·4 - 1| = 5."""
    state = began.update(
        began.BeganState.create(k=0.2), jnp.float32(4), jnp.float32(1), gamma=0.5, rate=0.1
    )
    np.testing.assert_allclose(state.k, 0.3, rtol=1e-6)
    np.testing.assert_allclose(state.convergence, 5.0)
    np.testing.assert_allclose(began.convergence(jnp.float32(1), jnp.float32(3), 0.5), 3.5)


@pytest.mark.parametrize(("fake", "sign"), [(0.49, 1), (0.5, 0), (0.51, -1)])
def test_k_rises_exactly_when_the_generator_fools(fake, sign) -> None:
    """The paper: l_fake < γ l_real → k increases."""
    before = began.BeganState.create(k=0.5)
    after = began.update(before, jnp.float32(1.0), jnp.float32(fake), GAMMA, RATE)
    assert np.sign(after.k - before.k) == sign


def test_k_stays_between_zero_and_one() -> None:
    rng = np.random.default_rng(0)
    state = began.BeganState.create()
    seen = []
    update = jax.jit(began.update)
    for _ in range(40):
        # In turn the generator far ahead and far behind: steps of about ±1.5.
        large, small = rng.uniform(5, 10), rng.uniform(0, 1)
        real, fake = (large, small) if rng.random() < 0.5 else (small, large)
        state = update(state, jnp.float32(real), jnp.float32(fake), GAMMA, 0.3)
        seen.append(float(state.k))
    assert min(seen) == 0.0
    assert max(seen) == 1.0


def test_no_gradient_through_k() -> None:
    def loss(fake: jax.Array) -> jax.Array:
        state = began.update(
            began.BeganState.create(k=0.5), jnp.float32(1), fake, gamma=GAMMA, rate=1.0
        )
        return began.discriminator_loss(jnp.float32(0), fake, state) + state.convergence

    # k = 0.5 + 0.5 - 0.25 = 0.75 is a constant: d(-k·fake)/d fake = -0.75 and nothing else.
    np.testing.assert_allclose(jax.grad(loss)(jnp.float32(0.25)), -0.75)


def test_k_starts_within_bounds() -> None:
    for k in (0.0, 1.0):
        assert began.BeganState.create(k).k == k
    for k in (-0.5, 1.5):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            began.BeganState.create(k)
