"""Times of several contenders that are measured in turns, so that what drifts cancels."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Mapping

import jax

# Runs its work so many times, and comes back when all of it is done.
Run = Callable[[int], None]
Announce = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Times:
    """Hold seconds per call, or ratios of them, one sample a round."""

    samples: tuple[float, ...]

    @property
    def minimum(self) -> float:
        """Return the best round's."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """Return the middle round's."""
        return statistics.median(self.samples)

    @property
    def maximum(self) -> float:
        """Return the worst round's."""
        return max(self.samples)


def interleave(
    contenders: Mapping[str, Run],
    rounds: int,
    seconds: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
    announce: Announce = lambda name: None,
) -> dict[str, Times]:
    """Time all contenders in turns: A B C, A B C, ...

    Args:
      contenders: name -> run. Compile and warm up before: only one call is run untimed here.
      rounds: samples of each.
      seconds: about how long one sample of one contender takes; at least one call is made.
      clock: in seconds.
      announce: called with the name of whoever runs next.

    Returns:
      name -> seconds per call.
    """
    calls = {}
    for name, run in contenders.items():
        announce(name)
        start = clock()
        run(1)
        calls[name] = max(1, round(seconds / max(clock() - start, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            announce(name)
            run(1)  # untimed: the threads and caches of the one before have gone
            start = clock()
            run(calls[name])
            samples[name].append((clock() - start) / calls[name])
    return {name: Times(tuple(values)) for name, values in samples.items()}


def speedup(own: Times, other: Times) -> Times:
    """Divide `other` by `own` round by round: two samples of a round share its weather."""
    return Times(tuple(b / a for a, b in zip(own.samples, other.samples, strict=True)))


def machine(*packages: str) -> dict[str, object]:
    """Describe the device, and give the versions of JAX and of the installed among `packages`."""
    installed = ["jax", *(name for name in packages if importlib.util.find_spec(name) is not None)]
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        **{name: importlib.import_module(name).__version__ for name in installed},
    }
