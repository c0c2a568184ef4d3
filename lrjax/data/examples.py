"""What a task is trained on: arrays with examples along the first axis, and where they are from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """The examples that one part of a batch is drawn from.

    Attributes:
      arrays: name -> array with n examples along its first axis, or whatever else gives one for an
        array or a slice of indices, and its length: such values are read batch by batch.
      fingerprint: of everything in `arrays`.
      note: how they came to be, as a sentence for the run folder.
    """

    arrays: Mapping[str, Any]
    fingerprint: str
    note: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


class Loaded(NamedTuple):
    """The data of a run.

    Attributes:
      parts: name -> examples; an epoch has as many as the first of them.
      held_out: examples for the task's `evaluate`, or None.
      config: the configuration, with what it left to the data.
    """

    parts: dict[str, Examples]
    held_out: Examples | None
    config: Any
