"""Class weights: what an encoder is trained against."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class Classifier(nn.Module):
    """The weights of the classes that features are told apart by; a loss makes logits of them.

    Attributes:
        features: length of the features, D.
        classes: how many, K.
        columns: of the kernel, K or more; those beyond the classes are zero and take no part, so
            that the kernel can be split over any number of devices that divides them.
        use_bias: whether each class has a bias.
    """

    features: int
    classes: int
    columns: int | None = None
    use_bias: bool = False

    @nn.compact
    def __call__(self, train: bool) -> dict[str, jax.Array]:
        """Return the kernel [D, columns], uniform at first as in PyTorch, and perhaps a bias."""
        del train
        bound, columns = self.features**-0.5, self.columns or self.classes

        def init(key: jax.Array) -> jax.Array:
            shape = (self.features, self.classes)
            kernel = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
            return jnp.pad(kernel, ((0, 0), (0, columns - self.classes)))

        weights = {"kernel": self.param("kernel", init)}
        if self.use_bias:
            weights["bias"] = self.param("bias", nn.initializers.zeros, (columns,))
        return weights
