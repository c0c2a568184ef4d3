"""What the engine knows of a problem: three pure functions and a few names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from lrjax.training.state import Metrics, State

Batch = dict[str, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A problem, ready to be trained.

    Attributes:
      batch: source name -> examples of it in a global batch.
      init: `key -> State`, before the first step.
      step: `(state, batch) -> (state, metrics)` on one device, under the axis name "data"; metrics
        are equal on all devices. A batch holds, for each source, its fields and `example_index`,
        where in the global batch each example is.
      evaluate: `(state, fields) -> sums` over the examples whose `valid` is true, `count` included.
      best: the evaluated quantity that the best checkpoint has the least of, or None.
      pictures: `(state, batch) -> {name: uint8 [n, H, W, 3]}`, drawn now and then.
      split: names of the networks that are split over the devices: `step` sees this device's part
        of the last axis of each of their arrays, and gives back what becomes of that part.
        `evaluate` and `pictures` see whole ones.
      pairs: sources that are drawn in pairs, by their `label`: rows 2i and 2i + 1 of a batch are an
        example and, with even odds, another of the same person or one of somebody else. Half of
        the batch are fresh examples, so passing over all of them takes twice as many steps.
    """

    batch: Mapping[str, int]
    init: Callable[[jax.Array], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    evaluate: Callable[[State, dict[str, Any]], Metrics]
    best: str | None
    pictures: Callable[[State, Batch], dict[str, jax.Array]]
    split: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
