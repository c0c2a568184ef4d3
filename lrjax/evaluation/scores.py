"""How near entries of a gallery are to a probe: in float32 with a bound on its error, in float64.

On the device, entries are ordered by a *score*, for which a product of matrices suffices:
|g|² / 2 - p·g, half the squared Euclidean distance less what is the same for all entries. The
cosine's is that of embeddings of length 1. What float32 leaves open is ordered by the squared
distance |g - p|² itself, which float64 computes from the differences and with no other loss.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from lrjax.errors import InputError

Metric = Literal["euclidean", "cosine"]
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")

FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53
"""Units of rounding."""

PIECE = 256
"""Rows that are turned into float64 together: they fit a processor's cache."""

ROOM = 2.0**20
"""Longer embeddings than this, or shorter than its inverse, are scaled before they are squared."""

Array = NDArray[np.floating]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings as given, checked.

    Attributes:
      values: [n, D], float32 or float64; may be a `numpy.memmap`.
      squares: their squared lengths [n].
    """

    values: Array
    squares: Floats

    @classmethod
    def of(cls, values: Array, metric: Metric, name: str, first: int = 0) -> Embeddings:
        """Check all of them.

        Args:
          values: from `as_matrix`.
          metric: in which they will be compared.
          name: what one of them is called in an error.
          first: the number of the first of them in an error.

        Raises:
          InputError: one is not finite, or has no direction where the cosine is asked for.
        """
        squares = np.empty(len(values))
        for start in range(0, len(values), PIECE):
            piece = np.asarray(values[start : start + PIECE], np.float64)
            squares[start : start + PIECE] = np.vecdot(piece, piece)
        bad = ~np.isfinite(squares)
        if bad.any():
            raise InputError(
                f"{_which(bad, name, first)} NaN, infinity or numbers too large to square, which "
                "have no distance to anything; look at the images and at the network."
            )
        if metric == "cosine" and not squares.all():
            raise InputError(
                f"{_which(squares == 0, name, first)} zeros alone, which have no angle to "
                "anything; use the Euclidean distance, or look at the network."
            )
        return cls(values, squares)


def as_matrix(values: ArrayLike, name: str, dimensions: int | None = None) -> Array:
    """Embeddings as float32 or, if they are more exact, float64 [n, D].

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
    return matrix if matrix.dtype == dtype else matrix.astype(dtype)


@dataclasses.dataclass(frozen=True)
class Space:
    """How scores are computed.

    Attributes:
      metric: which distance they order by.
      dimensions: D.
      scale: a power of 2, so that nothing is rounded, by which Euclidean embeddings are multiplied
        for float32 to have room for their squares; 1 for the cosine.
    """

    metric: Metric
    dimensions: int
    scale: float = 1.0

    @classmethod
    def around(cls, metric: Metric, *parts: Embeddings) -> Space:
        """With a scale that suits the longest embedding."""
        dimensions = parts[0].values.shape[1]
        longest = math.sqrt(max(float(part.squares.max()) for part in parts))
        if metric == "cosine" or longest == 0 or 1 / ROOM < longest < ROOM:
            return cls(metric, dimensions)
        return cls(metric, dimensions, math.ldexp(1.0, -math.frexp(longest)[1]))

    def rows(self, embeddings: Embeddings, size: int) -> NDArray[np.float32]:
        """What is multiplied in float32, [size, D]: the embeddings' rows, then zeros."""
        values = embeddings.values
        if self.metric == "euclidean" and self.scale == 1 and len(values) == size:
            return np.asarray(values, np.float32)
        factor: float | Floats = self.scale
        if self.metric == "cosine":
            factor = 1 / np.sqrt(embeddings.squares)[:, None]
        rows = np.zeros((size, values.shape[1]), np.float32)
        np.multiply(values, factor, out=rows[: len(values)], casting="same_kind")
        return rows

    def bias(self, squares: Floats) -> Floats:
        """What of a score is the gallery's alone; the same for all in the cosine's."""
        if self.metric == "cosine":
            return np.zeros_like(squares)
        return squares * (self.scale**2 / 2)

    def score_error(self, squares: Floats, reach: float) -> Floats:
        """By how much a float32 score may be off, of each probe and rows of at most this length."""
        lengths = np.ones_like(squares)
        if self.metric == "euclidean":
            lengths = np.sqrt(squares) * self.scale
        # The rest is for the rows' own rounding, the bias and the difference.
        return FLOAT32 * ((steps(self.dimensions) + 8) * lengths * reach + reach**2)

    def reach(self, entries: Embeddings) -> float:
        """A length that no row exceeds; one of few numbers, the same for most blocks."""
        if self.metric == "cosine":
            return 1.0
        return rounded_up(math.sqrt(float(entries.squares.max())) * self.scale)

    def exact(self, embeddings: Embeddings, index: Indices | slice) -> Floats:
        """Some of the embeddings in float64, of length 1 for the cosine."""
        values = embeddings.values[index].astype(np.float64)
        if self.metric == "cosine":
            values /= np.sqrt(embeddings.squares[index])[:, None]
        return values

    def distances(self, a: Embeddings, i: Indices, b: Embeddings, j: Indices) -> Floats:
        """Squared distances in float64 between a[i] and b[j], [n]."""
        found = np.empty(len(i))
        for start in range(0, len(i), PIECE):
            piece = slice(start, start + PIECE)
            difference = self.exact(a, i[piece])
            difference -= self.exact(b, j[piece])
            found[piece] = np.vecdot(difference, difference)
        return found

    def all_distances(self, a: Embeddings, b: Embeddings) -> Floats:
        """Squared distances in float64 between all of a and b."""
        every = slice(None)
        return cdist(self.exact(a, every), self.exact(b, every), "sqeuclidean")

    def distance_error(self, distances: Floats) -> Floats:
        """By how much these may be off."""
        error = FLOAT64 * (steps(self.dimensions) + 8) * distances
        if self.metric == "cosine":  # the lengths are not exactly 1
            error += 2 * np.sqrt(distances) * 8 * FLOAT64 + (8 * FLOAT64) ** 2
        return error

    def scores(self, distances: Floats, squares: Floats) -> Floats:
        """The scores that belong to squared distances, of probes with these squared lengths."""
        if self.metric == "cosine":
            return distances / 2 - 1
        return (distances - squares) * (self.scale**2 / 2)


def steps(dimensions: int) -> float:
    """Units of rounding by which an inner product p·g may be off, as a multiple of |p| |g|.

    At most D, if all errors have one sign; some √D if they have not (Higham and Mary, "A new
    approach to probabilistic rounding error analysis", 2019), of which 8 times as much is allowed.
    """
    return min(dimensions, 8 * math.sqrt(dimensions))


def rounded_up(value: float) -> float:
    """The next number of 4 significant bits; 1 for 0."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(16 * mantissa), exponent - 4) if value else 1.0


def _which(bad: NDArray[np.bool_], name: str, first: int) -> str:
    """ "The embedding of probe 3 holds" or "2 embeddings hold", for messages."""
    number = first + int(np.flatnonzero(bad)[0])
    if bad.sum() == 1:
        return f"The embedding of {name} {number} holds"
    return f"{bad.sum()} embeddings (first: {name} {number}) hold"
