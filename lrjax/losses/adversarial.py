"""Adversarial losses of all kinds, and what is remembered of them.

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


def binary_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Binary cross entropy: -mean log σ(real) - mean log(1 - σ(fake)) (Goodfellow et al. 2014)."""
    return _mean(jax.nn.softplus(-real)) + _mean(jax.nn.softplus(fake))


def binary_generator(fake: jax.Array) -> jax.Array:
    """The generator's side of it, as SRGAN has it: -mean log σ(fake)."""
    return _mean(jax.nn.softplus(-fake))


def relativistic(better: jax.Array, worse: jax.Array, axis_name: str | None = None) -> jax.Array:
    """ESRGAN's relativistic average loss (Wang et al. 2018, equations 1 and 2).

    -mean log σ(better - mean worse) - mean log(1 - σ(worse - mean better)): the one kind is to
    look more real than the other on average. With (real, fake) it is the discriminator's loss,
    with (fake, real) the generator's.

    Args:
        better: scores of the images that are to look more real.
        worse: scores of the others.
        axis_name: the device axis over which the inner means are taken too.
    """
    means = _mean(better), _mean(worse)
    if axis_name is not None:
        means = lax.pmean(means, axis_name)
    above, below = better - means[1], worse - means[0]
    return _mean(jax.nn.softplus(-above)) + _mean(jax.nn.softplus(below))


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
