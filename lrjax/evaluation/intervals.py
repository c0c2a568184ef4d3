"""Bootstrap intervals of the difference of two rows of a table.

Faces of one person stand or fall together, so people are drawn, with replacement, and each brings
all of its probes; of landmarks, faces are drawn. Rows that were measured on the same faces are
compared face by face: what makes a face hard cancels, and the difference is known better than
either row is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrjax.errors import InputError

RESAMPLES = 10_000
LEVEL = 0.95

# Draws that are in memory together.
_AT_ONCE = 4_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Hold what a row of a table averages.

    Attributes:
      values: one number for each face [n], such as its error, or 100 for a hit and 0 for a miss;
        NaN for a face that could not be measured.
      units: what is drawn together [n]: whose face it is, or which.
      source: which faces they are; samples of one source are paired, value by value.
    """

    values: NDArray[np.float64]
    units: NDArray[np.generic]
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, np.float64))
        object.__setattr__(self, "units", np.asarray(self.units))
        if self.values.ndim != 1 or self.values.shape != self.units.shape:
            raise InputError(
                f"The values of {self.source} have shape {self.values.shape} and their units "
                f"{self.units.shape}; give one unit for each value."
            )

    @property
    def mean(self) -> float:
        """Average what could be measured."""
        return float(np.nanmean(self.values))


def difference_interval(
    a: Sample, b: Sample, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float] | None:
    """Bound mean(a) - mean(b) by the percentiles of its bootstrap.

    Samples of one source are paired: the difference of each face is averaged over the units drawn.
    Of two sources, the units of each are drawn by themselves.

    Args:
      a, b: the rows.
      resamples: how often units are drawn, as many as there are.
      level: share of the resamples between the two bounds.
      seed: of the draws.

    Returns:
      (low, high); None where a sample has a single unit, which says nothing about others.

    Raises:
      InputError: samples of one source are not of the same faces, or nothing was measured.
    """
    rng = np.random.default_rng(seed)
    if a.source == b.source:
        if not np.array_equal(a.units, b.units):
            raise InputError(
                f"Two rows measured on {a.source} have not the same faces in the same order; "
                "measure them together."
            )
        means = resampled_means(a.values - b.values, a.units, rng, resamples)
    else:
        first = resampled_means(a.values, a.units, rng, resamples)
        second = resampled_means(b.values, b.units, rng, resamples)
        means = None if first is None or second is None else first - second
    if means is None:
        return None
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_means(
    values: ArrayLike, units: ArrayLike, rng: np.random.Generator, resamples: int
) -> NDArray[np.float64] | None:
    """Average values over units drawn with replacement, `resamples` times.

    Args:
      values: [n]; NaN is left out.
      units: [n] what is drawn together.
      rng: of the draws.
      resamples: how many averages.

    Returns:
      averages [resamples] over all values of the units drawn; None if there is one unit alone.

    Raises:
      InputError: all values are NaN.
    """
    numbers = np.asarray(values, np.float64)
    there = ~np.isnan(numbers)
    if not there.any():
        raise InputError("No face could be measured; there is nothing to compare.")
    _, unit = np.unique(np.asarray(units)[there], return_inverse=True)
    counts = np.bincount(unit)
    sums = np.bincount(unit, numbers[there])
    if len(counts) == 1:
        return None
    parts = []
    block = max(1, _AT_ONCE // len(counts))
    for start in range(0, resamples, block):
        drawn = rng.integers(len(counts), size=(min(block, resamples - start), len(counts)))
        parts.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(parts)
