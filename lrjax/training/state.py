"""Everything that is trained, remembered and restored, as one value without functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
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
        """For `module.apply` in training: the parameters as they are."""
        return {"params": self.params, **self.stats}

    @property
    def evaluation_variables(self) -> dict[str, Any]:
        """For `module.apply` in evaluation: the averaged parameters where there are any."""
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
        """A state before its first step.

        Every leaf gets memory of its own: a step gives up its input's, and the same memory cannot
        be given up twice, nor if the caller still needs it.
        """
        state = cls(step=jnp.zeros((), jnp.int32), nets=nets, losses=losses, key=key)
        return jax.tree.map(jnp.copy, state)


def new_net(
    variables: dict[str, Any], optimizer: optax.GradientTransformation | None, average: bool = False
) -> Net:
    """A network from a module's initial `variables`; frozen when `optimizer` is None."""
    stats = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    return Net(
        params=params,
        stats=stats,
        opt_state=() if optimizer is None else optimizer.init(params),
        average=params if average else None,
    )


def updated(
    net: Net,
    gradients: Any,
    stats: Any,
    optimizer: optax.GradientTransformation,
    decay: float | None = None,
) -> Net:
    """`net` after one step of `optimizer`; `decay` is that of the moving average, if it has one."""
    changes, opt_state = optimizer.update(gradients, net.opt_state, net.params)
    params = optax.apply_updates(net.params, changes)
    average = net.average
    if average is not None:
        average = optax.incremental_update(params, average, 1.0 - decay)
    return Net(params=params, stats=stats, opt_state=opt_state, average=average)
