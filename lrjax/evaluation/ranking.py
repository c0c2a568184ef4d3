"""Exact ranks of a few entries of a gallery that is streamed past in blocks.

What matters of a gallery are the ranks of each probe's *mates*, the entries of its identity, so
that the matrix of distances is never kept. The scores of the mates are known before the stream
starts. Each block is multiplied with the probes on the device, in float32, and what surely comes
before each mate is counted there.

Float32 cannot order two entries whose scores differ by less than its rounding. Entries as near to a
mate as that, a few for each, are compared once more on the host, in float64, so that the ranks are
those of float64 arithmetic. Entries that even float64 cannot tell apart are ties, in which the one
that stands earlier in the gallery comes first.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lrjax.evaluation.scores import Array, Floats, Indices, Space, squared_distances

PROBES = 512
"""Probes in one product, at most: with the size of a block, this bounds the memory."""

MATES = 8
"""Mates of a probe in one product, at most; a probe with more is multiplied again for the rest."""

SLICES = 32
"""A block is counted in so many slices on top of each other, which become vector code."""

PIECE = 256
"""Pairs whose distance is computed together in float64: they fit a processor's cache."""


def mate_ranks(
    probes: Array,
    gallery: Array,
    mates: tuple[Indices, Indices],
    distractors: Iterable[Array],
    space: Space,
    block: int,
) -> tuple[Indices, int]:
    """Rank all mates of each probe in the gallery followed by the distractors.

    Args:
      probes: embeddings [p, D], at least one.
      gallery: embeddings [g, D].
      mates: how many each probe has [p], all at least 1; and their places in the gallery, those of
        the first probe, then those of the second, and so on.
      distractors: matrices [any, D], taken one by one.
      space: how to compare.
      block: entries in one product; rounded up to a multiple of SLICES.

    Returns:
      ranks [p, M] from 1, ascending, 0 where a probe has fewer than M mates; and how many
      distractors there were.

    Raises:
      InputError: an embedding cannot be compared.
    """
    size = -(-block // SLICES) * SLICES
    rows = space.rows(probes, "probe")
    for start in range(0, len(gallery), size):  # all of it, before its mates are picked out
        space.rows(gallery[start : start + size], "gallery entry", start)
    counts, places = mates
    probe = np.repeat(np.arange(len(rows)), counts)
    targets = np.empty(len(places))
    for start in range(0, len(places), PIECE):
        piece = slice(start, start + PIECE)
        entries = space.rows(gallery[places[piece]], "gallery entry")
        targets[piece] = squared_distances(rows[probe[piece]], entries)
    chunks = list(_chunks(rows, counts, places, targets))
    place = 0
    for name, pieces in (("gallery entry", [gallery]), ("distractor", distractors)):
        start = place
        for values in _regrouped(pieces, size):
            current = _Block.of(space.rows(values, name, place - start), place, size)
            place += len(values)
            # All of them first: the device works on while the host settles those that are done.
            compared = [chunk.compare(current, space) for chunk in chunks]
            for chunk, (near, surely) in zip(chunks, compared, strict=True):
                chunk.settle(current, space, np.asarray(near), np.asarray(surely))
    before = np.empty(len(places), np.int64)
    for chunk in chunks:
        real = chunk.pairs >= 0
        before[chunk.pairs[real]] = chunk.before[real]
    return _ascending(before + 1, counts), place - len(gallery)


@dataclasses.dataclass(frozen=True)
class _Block:
    """Entries of the gallery.

    Attributes:
      rows: float64 [n, D].
      first: place of the first of them in the gallery.
      on_device: the rows in float32 [size, D], size >= n, and half their squared lengths [size];
        what fills up is infinitely far.
      reach: length of the longest.
    """

    rows: Floats
    first: int
    on_device: tuple[jax.Array, jax.Array]
    reach: float

    @classmethod
    def of(cls, rows: Floats, first: int, size: int) -> _Block:
        squares = np.vecdot(rows, rows)
        filled = np.zeros((size, rows.shape[1]), np.float32)
        filled[: len(rows)] = rows
        bias = np.full(size, np.inf, np.float32)
        bias[: len(rows)] = squares / 2
        return cls(rows, first, (jnp.asarray(filled), jnp.asarray(bias)), np.sqrt(squares.max()))


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Probes that are multiplied together, with about as many mates each.

    Attributes:
      rows: of the probes, float64 [n, D].
      on_device: the same in float32.
      pairs: numbers of each probe's pairs with its mates [n, M]; -1 where there is none.
      places: of the mates in the gallery [n, M].
      targets: squared distances of the mates [n, M]; -inf where there is none.
      before: how many entries have come before each mate [n, M]; counted up.
    """

    rows: Floats
    on_device: jax.Array
    pairs: Indices
    places: Indices
    targets: Floats
    before: Indices

    def compare(self, block: _Block, space: Space) -> tuple[jax.Array, jax.Array]:
        """Start comparing all entries of the block with each mate; see `_compare`."""
        squares = np.vecdot(self.rows, self.rows)[:, None]
        scores = (self.targets - squares) / 2
        error = space.score_error(np.sqrt(squares), block.reach)
        low = np.nextafter((scores - error).astype(np.float32), np.float32(-np.inf))
        high = np.nextafter((scores + error).astype(np.float32), np.float32(np.inf))
        return _compare(self.on_device, low, high, *block.on_device)

    def settle(self, block: _Block, space: Space, near: NDArray, surely: NDArray) -> None:
        """Add up what comes before each mate in this block, from what `_compare` returned."""
        self.before[:] += surely
        undecided = np.flatnonzero(near)
        for start in range(0, len(undecided), PIECE):
            probe, entry = np.divmod(undecided[start : start + PIECE], near.shape[1])
            distances = squared_distances(self.rows[probe], block.rows[entry])[:, None]
            targets, places = self.targets[probe], self.places[probe]
            error = space.distance_error(np.maximum(distances, targets))
            tie = np.abs(distances - targets) <= 2 * error
            before = np.where(tie, block.first + entry[:, None] < places, distances < targets)
            np.add.at(self.before, probe, before)


def _chunks(rows: Floats, counts: Indices, places: Indices, targets: Floats) -> Iterator[_Chunk]:
    """All pairs of a probe [p, D] and a mate, those of the first probe first [pairs].

    Probes with many mates come first: all of a chunk are compared as often as its first.
    """
    turns = -(-counts // MATES)
    probe = np.repeat(np.arange(len(rows)), turns)
    done = MATES * (np.arange(len(probe)) - np.repeat(np.cumsum(turns) - turns, turns))
    first = (np.cumsum(counts) - counts)[probe] + done
    left = np.minimum(counts[probe] - done, MATES)
    order = np.argsort(-left, kind="stable")
    for start in range(0, len(order), PROBES):
        chosen = order[start : start + PROBES]
        # Powers of 2, so that few shapes are compiled.
        mate = np.arange(1 << int(left[chosen[0]] - 1).bit_length())
        pairs = np.where(mate < left[chosen, None], first[chosen, None] + mate, -1)
        own = rows[probe[chosen]]
        yield _Chunk(
            rows=own,
            on_device=jnp.asarray(own, jnp.float32),
            pairs=pairs,
            places=places[pairs],
            targets=np.where(pairs < 0, -np.inf, targets[pairs]),
            before=np.zeros_like(pairs),
        )


def _ascending(ranks: Indices, counts: Indices) -> Indices:
    """Order each probe's ranks [pairs]; [p, M], 0 where a probe has fewer than M mates."""
    real = np.arange(counts.max()) < counts[:, None]
    matrix = np.full(real.shape, np.iinfo(np.int64).max)
    matrix[real] = ranks
    # No two mates share a rank, not even where a chain of ties has no order.
    steps = np.arange(real.shape[1])
    ordered = np.maximum.accumulate(np.sort(matrix, axis=1) - steps, axis=1) + steps
    return np.where(real, ordered, 0)


@jax.jit
def _compare(
    probes: jax.Array, low: jax.Array, high: jax.Array, rows: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Compare all scores of a chunk and a block with the limits of each mate.

    Args:
      probes, rows: [n, D] and [size, D].
      low, high: limits [n, M]; a score below `low` is surely before the mate, one from `high` on
        surely not.
      bias: half the squared lengths of the rows [size].

    Returns:
      which entries are between the limits of one of the probe's mates [n, size]; and how many of
      all others are below each `low` [n, M].
    """
    scores = _scores(probes, rows, bias)
    mates = list(zip(low.T[..., None], high.T[..., None], strict=True))
    near = functools.reduce(operator.or_, [(scores >= a) & (scores < b) for a, b in mates])
    near = jax.lax.optimization_barrier(near)
    others = jnp.where(near, jnp.inf, scores)[:, None]
    # A sum over slices, then over what is left of them: at once, it would be a loop that is not
    # made of vector instructions on a CPU, and takes several times as long. The barriers keep XLA
    # from putting it together.
    slices = jnp.split(others, SLICES, axis=-1)
    lanes = sum((part < low[..., None]).astype(jnp.int32) for part in slices)
    return near, jax.lax.optimization_barrier(lanes).sum(axis=-1)


def _scores(probes: jax.Array, rows: jax.Array, bias: jax.Array) -> jax.Array:
    return bias - jnp.matmul(probes, rows.T, precision=jax.lax.Precision.HIGHEST)


def _regrouped(pieces: Iterable[Array], size: int) -> Iterator[Array]:
    """Yield the rows of all pieces in matrices of `size`; the last may be shorter."""
    waiting: list[Array] = []
    count = 0
    for piece in pieces:
        while len(piece):
            taken, piece = np.split(piece, [size - count])
            waiting.append(taken)
            count += len(taken)
            if count == size:
                yield np.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)
