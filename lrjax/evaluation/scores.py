"""Scores that order a gallery: in float32 with a bound on their error, and in float64.

Both metrics are squared Euclidean distances |g - p|², the cosine's of embeddings of length 1. On
the device a *score* orders the entries g for a probe p, for which a product of matrices suffices:
|g|² / 2 - p·g, half that distance less what is the same for all entries. What float32 leaves open
is ordered by the distance itself, computed in float64 from the differences.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrjax.errors import InputError

Metric = Literal["euclidean", "cosine"]
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")

FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53
"""Units of rounding."""

SINGLE = np.finfo(np.float32)

Array = NDArray[np.floating]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def as_matrix(values: ArrayLike, name: str, dimensions: int | None = None) -> Array:
    """Return embeddings as float32 or, if they are more exact, float64 [n, D].

    Raises:
      InputError: they are no matrix of numbers, or D is not `dimensions`.
    """
    matrix = np.asanyarray(values)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise InputError(f"{name} have shape {matrix.shape}; give one row of numbers for each.")
    if dimensions is not None and matrix.shape[1] != dimensions:
        raise InputError(
            f"{name} have {matrix.shape[1]} numbers each and the probes have {dimensions}; embed "
            "all with the same network."
        )
    dtype = np.result_type(matrix.dtype, np.float32)
    if dtype not in (np.float32, np.float64):
        raise InputError(f"{name} are of type {matrix.dtype}; give real numbers.")
    return matrix.astype(dtype, copy=False)


@dataclasses.dataclass(frozen=True)
class Space:
    """Where embeddings are compared.

    Attributes:
      metric: which distance orders them.
      dimensions: D.
      scale: a power of 2, so that nothing is rounded, by which embeddings are multiplied for
        float32 to have room for their squares.
    """

    metric: Metric
    dimensions: int
    scale: float = 1.0

    @classmethod
    def around(cls, metric: Metric, *parts: Array) -> Space:
        """Scale so that the largest number in all `parts` [any, D] lies in [1/2, 1)."""
        largest = max(max(float(part.max()), -float(part.min())) for part in parts)
        return cls(metric, parts[0].shape[1], math.ldexp(1.0, -math.frexp(largest)[1]))

    def rows(self, values: Array, name: str, first: int = 0) -> Floats:
        """Return embeddings [n, D] as they are compared: scaled, of length 1 for the cosine.

        Args:
          values: from `as_matrix`.
          name: what one of them is called in an error.
          first: the number of the first of them in an error.

        Raises:
          InputError: one is not finite, or has no direction where the cosine is asked for.
        """
        rows = np.multiply(values, self.scale, dtype=np.float64)
        squares = np.vecdot(rows, rows)
        bad = ~(squares < SINGLE.max)
        if bad.any():
            raise InputError(
                f"{_which(bad, name, first)} NaN, infinity or numbers too large to square, which "
                "have no distance to anything; look at the images and at the network."
            )
        if self.metric == "cosine":
            if not squares.all():
                raise InputError(
                    f"{_which(squares == 0, name, first)} zeros alone, which have no angle to "
                    "anything; use the Euclidean distance, or look at the network."
                )
            rows /= np.sqrt(squares)[:, None]
        return rows

    def score_error(self, lengths: Floats, reach: float) -> Floats:
        """Bound the error of float32 scores of probes of these lengths and rows up to `reach`."""
        # Besides the product's: the rows' own rounding, the bias and the difference; and numbers so
        # small that they become 0.
        relative = FLOAT32 * ((_steps(self.dimensions) + 8) * lengths * reach + reach**2)
        return relative + 4 * self.dimensions * float(SINGLE.tiny) * (1 + reach)

    def distance_error(self, distances: Floats) -> Floats:
        """Bound the error of squared distances that float64 computed."""
        error = FLOAT64 * (_steps(self.dimensions) + 8) * distances
        if self.metric == "cosine":  # the lengths are not exactly 1
            error += 2 * np.sqrt(distances) * 8 * FLOAT64 + (8 * FLOAT64) ** 2
        return error


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Return |a - b|² [n] of rows [n, D] each."""
    difference = a - b
    return np.vecdot(difference, difference)


def _steps(dimensions: int) -> float:
    """Bound the error of an inner product p·g, in units of rounding times |p| |g|.

    At most D, if all errors have one sign; some √D if they have not (Higham and Mary, "A new
    approach to probabilistic rounding error analysis", 2019), of which 8 times as much is allowed.
    """
    return min(dimensions, 8 * math.sqrt(dimensions))


def _which(bad: NDArray[np.bool_], name: str, first: int) -> str:
    """ "The embedding of probe 3 holds" or "2 embeddings hold", for messages."""
    number = first + int(np.flatnonzero(bad)[0])
    if bad.sum() == 1:
        return f"The embedding of {name} {number} holds"
    return f"{bad.sum()} embeddings (first: {name} {number}) hold"
