"""The balance of a discriminator that is an autoencoder (BEGAN; equations 5 to 8, 11).

`real` and `fake` are its reconstruction errors, scalars, on true and on generated heatmaps. The
generator's loss (equation 11) is `fake` itself.
"""

import flax
import jax
import jax.numpy as jnp
from jax import lax


@flax.struct.dataclass
class BeganState:
    """What is carried from step to step: float32 scalars.

    Attributes:
        k: weight of the fake error in the discriminator's loss, in [0, 1].
        convergence: the measure of the last step, see `convergence`.
    """

    k: jax.Array
    convergence: jax.Array

    @classmethod
    def create(cls, k: float = 0.0) -> "BeganState":
        """Before any step.

        Raises:
            ValueError: if `k` is outside [0, 1].
        """
        if not 0 <= k <= 1:
            raise ValueError(f"k must be in [0, 1], not {k}")
        return cls(k=jnp.asarray(k, jnp.float32), convergence=jnp.zeros((), jnp.float32))


def discriminator_loss(real: jax.Array, fake: jax.Array, state: BeganState) -> jax.Array:
    """Equation 7: real - k * fake, with `k` a constant."""
    return real - lax.stop_gradient(state.k) * fake


def convergence(real: jax.Array, fake: jax.Array, gamma: float) -> jax.Array:
    """BEGAN's measure of progress, real + |gamma * real - fake|: falls as training proceeds."""
    return real + jnp.abs(gamma * real - fake)


def update(
    state: BeganState, real: jax.Array, fake: jax.Array, gamma: float, rate: float
) -> BeganState:
    """Equation 8: k + rate * (gamma * real - fake), kept in [0, 1]; no gradient flows through it.

    Called once per step (the paper's "every t iterations" counts its index t). With several
    devices, give it errors averaged over all of them, or their `k` drift apart.

    Args:
        state: of the step before.
        real: mean reconstruction error of true heatmaps, scalar.
        fake: the same of generated ones.
        gamma: the ratio fake / real to hold, the paper's γ.
        rate: the paper's λ_k.
    """
    real = jnp.asarray(lax.stop_gradient(real), jnp.float32)
    fake = jnp.asarray(lax.stop_gradient(fake), jnp.float32)
    k = jnp.clip(state.k + rate * (gamma * real - fake), 0.0, 1.0)
    return BeganState(k=k, convergence=convergence(real, fake, gamma))
