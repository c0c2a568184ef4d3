"""What the engine knows of a problem: who plays, and one function from a batch to their losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from lrjax.models.registry import Network
from lrjax.training.nets import Nets
from lrjax.training.state import Metrics, State

Batch = dict[str, dict[str, jax.Array]]
Losses = dict[str | tuple[str, ...], jax.Array]
Pictures = dict[str, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Player:
    """A network that takes part.

    Attributes:
      network: what it is.
      optimizer: how it learns; None: it is frozen.
      variables: what it starts from; whatever they lack is drawn at random.
      average: decay of a moving average of its parameters; None: there is none.
      split: whether its arrays are split over the devices along their last axis; `losses` then sees
        this device's part.
      about: what its weights files shall say of its training besides: JSON-able.
    """

    network: Network
    optimizer: optax.GradientTransformation | None
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    average: float | None = None
    split: bool = False
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Task:
    """A problem, ready to be trained.

    Attributes:
      players: name -> network; the order in which they are drawn does not matter.
      batch: source name -> examples of it in a global batch.
      losses: `(nets, state, batch) -> ({player: scalar loss}, metrics, next loss state)` on one
        device, under the axis name "data". Each player goes down its own loss; several that go
        down one together are named by a tuple. A batch holds, for each source, its fields and
        `example_index`, the examples' places in the global batch. The next loss state must be
        equal on all devices (see `parallel.mean`); metrics are averaged over them.
      evaluate: `(nets, fields) -> sums` over the examples whose `valid` is true, `count` included.
      pictures: `(nets, batch) -> {name: {"images": uint8 [n, H, W, 3], "points": [n, N, 2]}}`, now
        and then; points are optional.
      loss_state: the explicit state of the losses before the first step.
      best: the evaluated quantity that the best weights have the least of, or None.
      pairs: sources that are drawn in pairs, by their `label`: rows 2i and 2i + 1 of a batch are an
        example and, with even odds, another of the same person or one of somebody else. Half of
        the batch are fresh examples, so passing over all of them takes twice as many steps.
    """

    players: Mapping[str, Player]
    batch: Mapping[str, int]
    losses: Callable[[Nets, State, Batch], tuple[Losses, Metrics, dict[str, Any]]]
    evaluate: Callable[[Nets, dict[str, Any]], Metrics]
    pictures: Callable[[Nets, Batch], Pictures]
    loss_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    best: str | None = None
    pairs: frozenset[str] = frozenset()

    @property
    def modules(self) -> dict[str, Any]:
        """The players' Flax modules by name."""
        return {name: player.network.module for name, player in self.players.items()}

    @property
    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        """The optimisers of the players that learn, by name."""
        return {n: p.optimizer for n, p in self.players.items() if p.optimizer is not None}

    @property
    def split(self) -> frozenset[str]:
        """The names of the players that are split over the devices."""
        return frozenset(name for name, player in self.players.items() if player.split)
