"""Times of several contenders that are measured in turns, so that what drifts cancels."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping

# Runs its work so many times, and comes back when all of it is done.
Run = Callable[[int], None]
Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds per call, one sample a round."""

    samples: tuple[float, ...]

    @property
    def minimum(self) -> float:
        """The best round."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.samples)

    @property
    def maximum(self) -> float:
        """The worst round."""
        return max(self.samples)


def first_call(run: Run) -> float:
    """Seconds until the first call of `run` is back: mostly compilation."""
    start = time.perf_counter()
    run(1)
    return time.perf_counter() - start


def interleave(
    contenders: Mapping[str, Run],
    rounds: int,
    seconds: float,
    *,
    clock: Clock = time.perf_counter,
    tell: Callable[[str], None] = lambda name: None,
) -> dict[str, Times]:
    """Time all contenders in turns: A B C, A B C, ...

    Args:
      contenders: name -> run. Compile and warm up before: only one call is run untimed here.
      rounds: samples of each.
      seconds: about how long one sample of one contender takes; at least one call is made.
      clock: in seconds.
      tell: called with the name of whoever runs next.

    Returns:
      name -> seconds per call.
    """
    calls = {}
    for name, run in contenders.items():
        tell(name)
        start = clock()
        run(1)
        calls[name] = max(1, round(seconds / max(clock() - start, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            tell(name)
            run(1)  # untimed: the threads and caches of the one before have gone
            start = clock()
            run(calls[name])
            samples[name].append((clock() - start) / calls[name])
    return {name: Times(tuple(values)) for name, values in samples.items()}


def speedup(ours: Times, theirs: Times) -> Times:
    """How many times faster `ours` is, round by round: two samples of a round share its weather."""
    return Times(tuple(b / a for a, b in zip(ours.samples, theirs.samples, strict=True)))
