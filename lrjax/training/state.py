"""Everything that is trained, remembered and restored, as one value without functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Metrics = dict[str, jax.Array]


@struct.dataclass
class Net:
    """One network.

    Attributes:
      params: its parameters (float32).
      stats: its other variables: batch statistics and spectral-norm vectors.
      opt_state: the optimiser's state; `()` for a frozen network.
      average: exponential moving average of `params`, or None.
    """

    params: Any
    stats: Any
    opt_state: Any = ()
    average: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """Return what `module.apply` takes in training: the parameters as they are."""
        return {"params": self.params, **self.stats}

    @property
    def evaluation_variables(self) -> dict[str, Any]:
        """Return what it takes in evaluation: the averaged parameters where there are any."""
        params = self.params if self.average is None else self.average
        return {"params": params, **self.stats}


@struct.dataclass
class State:
    """What a checkpoint holds. Two equal states have equal futures.

    Attributes:
      step: int32 scalar, the number of updates done.
      nets: name -> Net.
      losses: the explicit state of adversarial losses (BEGAN's k_t, running values).
      key: the root key; every random number is derived from it, the step and a name.
    """

    step: jax.Array
    nets: dict[str, Net]
    losses: dict[str, Any]
    key: jax.Array

    @classmethod
    def create(cls, nets: dict[str, Net], losses: dict[str, Any], key: jax.Array) -> State:
        """Make a state before its first step.

        Every leaf gets memory of its own: a step gives up its input's, and the same memory cannot
        be given up twice, nor if the caller still needs it.
        """
        state = cls(step=jnp.zeros((), jnp.int32), nets=nets, losses=losses, key=key)
        return jax.tree.map(jnp.copy, state)
