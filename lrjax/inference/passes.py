"""How forward passes share a machine: how many images each takes, and how many run at once.

XLA spreads convolutions over the cores of a CPU, and little else: one pass after the other keeps
1.3 of two cores busy. Several at once keep all of them busy, and small ones stay in the caches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from lrjax.data.examples import THREADS, Result, read_ahead

CPU_BATCH = 8
"""Images in one forward pass on a CPU; 64 of them take MobileFaceNet half as long again, each."""


def batch_size(accelerator: int) -> int:
    """Choose the number of images in one forward pass, given that which suits an accelerator."""
    return CPU_BATCH if jax.default_backend() == "cpu" else accelerator


def run_passes(
    forward: Callable[[Any], Result],
    batches: Iterable[Any],
    shape_of: Callable[[Any], object] = np.shape,
) -> Iterator[Result]:
    """Call a compiled function on batches, several at once: its results, in their order.

    Args:
      forward: gives results that are there, and not only promised; called from several threads.
      batches: arrays, or whatever `forward` makes them of.
      shape_of: what of a batch `forward` is compiled for. The first of those in a row that are
        alike goes through alone: every thread would compile it.
    """
    for _, group in itertools.groupby(batches, shape_of):
        alike = iter(group)
        yield forward(next(alike))
        yield from read_ahead(forward, alike, THREADS, THREADS)
