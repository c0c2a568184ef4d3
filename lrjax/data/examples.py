"""What a task is trained on: arrays with examples along the first axis, or read when needed."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from grain import MapDataset

THREADS = min(8, os.cpu_count() or 1)
"""Threads that decode or read pictures."""
Arrays = Mapping[str, Any]
"""Name -> array with examples along its first axis, or (streamed from the host alone) a
`MapDataset` of single examples, each read when it is needed."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Holds the examples that one part of a batch is drawn from.

    Attributes:
      arrays: name -> values, one for each example.
      fingerprint: of everything in `arrays`.
      note: how they came to be, as a sentence for the run folder.
    """

    arrays: Arrays
    fingerprint: str
    note: str = ""

    def __len__(self) -> int:
        return size_of(self.arrays)


class Loaded(NamedTuple):
    """Holds the data of a run.

    Attributes:
      parts: name -> examples; an epoch has as many as the first of them.
      held_out: examples for the task's `evaluate`, or None.
      config: the configuration, with what it left to the data.
    """

    parts: dict[str, Examples]
    held_out: Examples | None
    config: Any


def size_of(arrays: Arrays) -> int:
    """Counts the examples."""
    return len(next(iter(arrays.values())))


def select(values: Any, rows: np.ndarray) -> Any:
    """Selects some rows: of an array an array, of what is read when it is needed a dataset."""
    if isinstance(values, np.ndarray):
        return values[rows]
    return MapDataset.source(rows).map(values.__getitem__)


def gather(values: Any, rows: Any) -> np.ndarray:
    """Takes the rows [b] of an array, or reads those examples of a dataset on several threads."""
    rows = np.asarray(rows)
    if isinstance(values, MapDataset):
        return np.stack(list(read_ahead(values.__getitem__, rows.tolist())))
    return np.asarray(values[rows])


def read_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int = THREADS,
    ahead: int = 2 * THREADS,
) -> Iterator[Result]:
    """Maps `items` on threads: results in order, at most `ahead` of them before they are needed."""
    with ThreadPoolExecutor(threads) as pool:
        running: collections.deque[Future[Result]] = collections.deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) > ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
