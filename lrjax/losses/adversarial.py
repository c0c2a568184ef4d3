"""Hinge and least-squares adversarial losses, and what is remembered of them.

Scores are a critic's raw outputs, of any shape and floating dtype; losses are float32 scalars.
"""

import flax
import jax
import jax.numpy as jnp
from jax import lax


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Equation 2, negated: mean max(0, 1 - real) + mean max(0, 1 + fake), to be minimised.

    Paper: E[min(0, -1 + D(x))] + E[min(0, -1 - D(x̂))], the value that D *maximises*.
    """
    return _mean(jax.nn.relu(1 - real)) + _mean(jax.nn.relu(1 + fake))


def hinge_generator(fake: jax.Array) -> jax.Array:
    """The generator's side of equation 2, which the paper leaves out: -mean(fake)."""
    return -_mean(fake)


def least_squares_discriminator(real: jax.Array, *fakes: jax.Array) -> jax.Array:
    """Equation 9: mean (real - 1)² + the sum over `fakes` of mean fake²."""
    return _mean(jnp.square(real - 1)) + sum(_mean(jnp.square(fake)) for fake in fakes)


def least_squares_generator(*fakes: jax.Array) -> jax.Array:
    """Equation 12: mean (fake - 1)², averaged over all scores of all `fakes`.

    The paper writes one expectation although two kinds of fakes reach D3 (predictions on generated
    and on real images) and its text rewards both. They are pooled into that one expectation.

    Raises:
        ValueError: if called without scores.
    """
    if not fakes:
        raise ValueError("least_squares_generator needs at least one array of scores")
    return _mean(jnp.square(jnp.concatenate([fake.ravel() for fake in fakes]) - 1))


@flax.struct.dataclass
class AdversarialState:
    """Running values of an adversarial pair, for logs and checkpoints: all scalars.

    Attributes:
        real: discriminator's score or loss on real examples, float32.
        fake: the same on fake ones.
        generator: the generator's adversarial loss.
        steps: number of updates so far, int32.
    """

    real: jax.Array
    fake: jax.Array
    generator: jax.Array
    steps: jax.Array

    @classmethod
    def create(cls) -> "AdversarialState":
        """Before any step."""
        zero = jnp.zeros((), jnp.float32)
        return cls(real=zero, fake=zero, generator=zero, steps=jnp.zeros((), jnp.int32))

    def update(
        self, real: jax.Array, fake: jax.Array, generator: jax.Array, decay: float = 0.99
    ) -> "AdversarialState":
        """Moves the running values towards three scalars, from which no gradient flows.

        A plain mean over the first 1 / (1 - decay) steps and an exponential one after them, so
        that early values are not drawn towards zero.
        """
        rate = jnp.maximum(1.0 - decay, 1.0 / (self.steps + 1.0))

        def towards(old: jax.Array, new: jax.Array) -> jax.Array:
            return old + rate * (jnp.asarray(lax.stop_gradient(new), jnp.float32) - old)

        return AdversarialState(
            real=towards(self.real, real),
            fake=towards(self.fake, fake),
            generator=towards(self.generator, generator),
            steps=self.steps + 1,
        )


def _mean(values: jax.Array) -> jax.Array:
    return jnp.mean(values, dtype=jnp.float32)
