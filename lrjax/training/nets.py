"""The networks of a state, applied by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax

from lrjax.rng import drop_by_example
from lrjax.training.state import Net

LEARNING = "learning_"
"""What the scope of a learning network's operations is called, in profiles and programs, before
the network's own name."""


class Nets:
    """The networks in one pass over a batch: applies them, and gathers their new statistics.

    Args:
      modules: name -> Flax module.
      nets: name -> variables.
      params: name -> parameters of the networks that are learning in this pass. The others are
        applied as in evaluation: with averaged parameters where there are any, and their running
        statistics.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        nets: Mapping[str, Net],
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._modules, self._nets, self._params = modules, nets, params or {}
        self._stats: dict[str, list[Any]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def module(self, name: str) -> nn.Module:
        """Return the module of a network."""
        return self._modules[name]

    def params(self, name: str) -> Any:
        """Return the parameters of a network: those that are learning, if it is."""
        return self._params.get(name, self._nets[name].evaluation_variables["params"])

    def __call__(
        self, name: str, *inputs: jax.Array, dropout: jax.Array | None = None, **options: Any
    ) -> Any:
        """Apply a network, in training mode if it is learning.

        Args:
          name: of the network.
          inputs: of its module.
          dropout: keys [B], one for each example; needed by a learning network with dropout.
          options: further arguments of the module.
        """
        if name not in self._params:
            return self.fixed(name, *inputs, **options)
        stats = self._nets[name].stats
        apply = partial(
            self._modules[name].apply,
            {"params": self._params[name], **stats},
            *inputs,
            train=True,
            mutable=list(stats),
            **options,
        )
        with jax.named_scope(LEARNING + name):
            if dropout is None:
                out, new = apply()
            else:
                with nn.intercept_methods(partial(drop_by_example, dropout)):
                    out, new = apply()
        self._stats.setdefault(name, []).append(new)
        return out

    def fixed(self, name: str, *inputs: jax.Array, **options: Any) -> Any:
        """Apply a network as in evaluation; no gradient reaches its parameters."""
        variables = self._nets[name].evaluation_variables
        return self._modules[name].apply(variables, *inputs, train=False, **options)

    def stats(self, name: str) -> Any:
        """Return a learning network's new statistics: their mean, if it was applied repeatedly."""
        calls = self._stats.get(name, [self._nets[name].stats])
        if len(calls) == 1:
            return calls[0]
        return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *calls)
