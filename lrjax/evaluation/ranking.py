"""Exact ranks of a few entries of a gallery that is streamed past in blocks.

What matters of a gallery are the ranks of each probe's *mates*, the entries of its identity, so
that the matrix of distances is never kept. The scores of the mates are known before the stream
starts. Each block is multiplied with the probes on the device, in float32, and what comes before
each mate is counted there.

Float32 cannot order two entries whose scores differ by less than its rounding. Those as close to a
mate as that, a few for each, are picked out and compared once more on the host, in float64. The
ranks are those of float64 arithmetic. Scores that even float64 cannot tell apart are ties, in which
the entry that stands earlier in the gallery comes first.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lrjax.evaluation.scores import Array, Embeddings, Floats, Indices, Space

SLICES = 32
"""A block is counted in so many slices on top of each other, which become vector code."""

PROBES = 512
"""Probes in one product, at most: with the size of a block, this bounds the memory."""

COUNTERS = 8 * PROBES
"""Probes times mates in one product, at most, unless one probe has more mates: those with many
mates stand apart, since all probes of a product are compared as often as the first."""

IN_FLIGHT = 2
"""Products that the device may work on while the host settles an earlier one."""

DENSE = 7 / 8
"""If more of the lanes than this are undecided, it costs less to compare all in float64."""

Counts = tuple[jax.Array, jax.Array, jax.Array]


def mate_ranks(
    probes: Embeddings,
    gallery: Embeddings,
    mates: tuple[Indices, Indices],
    distractors: Iterable[Array],
    space: Space,
    block: int,
) -> tuple[Indices, int]:
    """The ranks of all mates of each probe in the gallery followed by the distractors.

    Args:
      probes: [p, D], at least one.
      gallery: [g, D].
      mates: how many each probe has [p], all at least 1; and their places in the gallery, those of
        the first probe, then those of the second, and so on.
      distractors: matrices [any, D], taken one by one.
      space: how to compare.
      block: entries in one product; rounded up to a multiple of SLICES.

    Returns:
      ranks [p, M] from 1, ascending, 0 where a probe has fewer than M mates; and how many
      distractors there were.

    Raises:
      InputError: a distractor cannot be compared.
    """
    chunks = _chunks(probes, gallery, mates, space)
    size = -(-block // SLICES) * SLICES
    seen, matched = 0, len(gallery.values)
    waiting: deque[tuple[_Chunk, _Block, Counts]] = deque()
    for values in _blocks(gallery.values, distractors, size):
        # What is wrong here is a distractor: the gallery has been checked.
        entries = Embeddings.of(values, space.metric, "distractor", seen - matched)
        current = _Block.of(entries, seen, size, space)
        seen += len(values)
        for chunk in chunks:
            counts = _count(chunk.rows, *chunk.limits(current.reach), current.rows, current.bias)
            waiting.append((chunk, current, counts))
            if len(waiting) > IN_FLIGHT:
                _settle(*waiting.popleft())
    for turn in waiting:
        _settle(*turn)
    ranks = np.zeros((len(probes.values), mates[0].max()), np.int64)
    for chunk in chunks:
        ranks[chunk.probes] = chunk.ranks(ranks.shape[1])
    return ranks, seen - matched


@dataclasses.dataclass(frozen=True)
class _Block:
    """Entries of the gallery.

    Attributes:
      entries: as given, [n, D].
      first: place of the first of them in the gallery.
      rows: float32 [size, D] on the device, size >= n.
      bias: float32 [size] on the device; what fills up is infinitely far.
      reach: no row is longer.
    """

    entries: Embeddings
    first: int
    rows: jax.Array
    bias: jax.Array
    reach: float

    @classmethod
    def of(cls, entries: Embeddings, first: int, size: int, space: Space) -> _Block:
        bias = np.full(size, np.inf, np.float32)
        bias[: len(entries.values)] = space.bias(entries.squares)
        rows = jnp.asarray(space.rows(entries, size))
        return cls(entries, first, rows, jnp.asarray(bias), space.reach(entries))


@dataclasses.dataclass
class _Chunk:
    """Probes that are multiplied together, with about as many mates each.

    Attributes:
      space: how to compare.
      probes: which they are [n].
      embeddings: theirs, as given, [n, D].
      rows: float32 [N, D] on the device, N >= n.
      place: of each mate in the gallery [n, M]; 0 where there is none.
      target: squared distance of each mate [n, M]; -inf where there is none.
      before: how many entries have come before each mate [n, M].
    """

    space: Space
    probes: Indices
    embeddings: Embeddings
    rows: jax.Array
    place: Indices
    target: Floats
    before: Indices
    reach: float = -1.0
    low: NDArray[np.float32] = dataclasses.field(init=False)
    high: NDArray[np.float32] = dataclasses.field(init=False)
    on_device: tuple[jax.Array, jax.Array] = dataclasses.field(init=False)

    def limits(self, reach: float) -> tuple[jax.Array, jax.Array]:
        """Float32 scores [N, M]: what is below the first is before the mate, what is not below the
        second is not before it.
        """
        if reach != self.reach:
            self.reach = reach
            squares = self.embeddings.squares[:, None]
            score = self.space.scores(self.target, squares)
            error = self.space.score_error(squares, reach)
            infinity = np.float32(np.inf)
            self.low = np.nextafter((score - error).astype(np.float32), -infinity)
            self.high = np.nextafter((score + error).astype(np.float32), infinity)
            self.high[np.isinf(self.target)] = -infinity
            fill = ((0, len(self.rows) - len(self.probes)), (0, 0))
            low, high = (np.pad(a, fill, constant_values=-infinity) for a in (self.low, self.high))
            self.on_device = jnp.asarray(low), jnp.asarray(high)
        return self.on_device

    def comes_before(
        self, distances: Floats, probe: Indices, mate: Indices, place: Indices
    ) -> NDArray[np.bool_]:
        """Whether entries at these squared distances, at these places, are before these mates."""
        target = self.target[probe, mate]
        error = self.space.distance_error(np.maximum(distances, target))
        tie = np.abs(distances - target) <= 2 * error
        return np.where(tie, place < self.place[probe, mate], distances < target)

    def ranks(self, width: int) -> Indices:
        """[n, width] in ascending order, then 0."""
        real = np.isfinite(self.target)
        ranks = np.sort(np.where(real, self.before + 1, np.iinfo(np.int64).max), axis=1)
        # No two mates share a rank, not even where a chain of ties has no order.
        steps = np.arange(ranks.shape[1])
        ranks = np.maximum.accumulate(ranks - steps, axis=1) + steps
        ranks = np.where(np.sort(~real, axis=1), 0, ranks)[:, :width]
        return np.pad(ranks, ((0, 0), (0, width - ranks.shape[1])))


def _chunks(
    probes: Embeddings, gallery: Embeddings, mates: tuple[Indices, Indices], space: Space
) -> list[_Chunk]:
    """All probes, those with most mates first: a chunk counts as many for each as for the first."""
    counts, places = mates
    starts = np.cumsum(counts) - counts
    order = np.argsort(-counts, kind="stable")
    even, chunks = 0, []
    while len(order):
        width = 1 << int(counts[order[0]] - 1).bit_length()
        size = max(1, COUNTERS // width)
        if size >= PROBES:  # as many in each of those to come, so that little is filled up
            even = even or -(-len(order) // -(-len(order) // PROBES))
            size = even
        chosen, order = order[:size], order[size:]
        real = np.arange(width) < counts[chosen][:, None]
        place = np.zeros(real.shape, np.int64)
        place[real] = places[(starts[chosen][:, None] + np.arange(width))[real]]
        chunks.append(_chunk(probes, gallery, chosen, place, real, size, space))
    return chunks


def _chunk(
    probes: Embeddings,
    gallery: Embeddings,
    chosen: Indices,
    place: Indices,
    real: NDArray[np.bool_],
    size: int,
    space: Space,
) -> _Chunk:
    own = Embeddings(np.asarray(probes.values[chosen]), probes.squares[chosen])
    probe, mate = np.nonzero(real)
    entry = place[probe, mate]
    target = np.full(place.shape, -np.inf)
    target[probe, mate] = space.distances(own, probe, gallery, entry)
    rows = jnp.asarray(space.rows(own, size))
    return _Chunk(space, chosen, own, rows, place, target, np.zeros_like(place))


@jax.jit
def _count(
    probes: jax.Array, low: jax.Array, high: jax.Array, rows: jax.Array, bias: jax.Array
) -> Counts:
    """Compare all scores of a chunk and a block with the limits of each mate.

    Lane `l` of a block are its columns l, l + size / SLICES, l + 2 * size / SLICES, ...

    Returns:
      inner products [N, size]; in which lanes [N, M, size / SLICES] a score is not below `low`, but
      below `high`; and how many scores of all other lanes are below `low` [N, M].
    """
    products = jnp.matmul(probes, rows.T, precision=jax.lax.Precision.HIGHEST)
    width = len(rows) // SLICES
    both = jnp.zeros((*low.shape, width), jnp.int32)
    for start in range(0, len(rows), width):
        score = (bias[start : start + width] - products[:, start : start + width])[:, None]
        both += (score < low[..., None]).astype(jnp.int32)
        both += (score < high[..., None]).astype(jnp.int32) << 8
    # Without the barrier, the sum over the slices becomes a part of that over the lanes: a loop
    # that is not made of vector instructions on a CPU, and takes several times as long.
    both = jax.lax.optimization_barrier(both)
    surely = both & 255
    undecided = (both >> 8) != surely
    return products, undecided, jnp.where(undecided, 0, surely).sum(-1)


def _settle(chunk: _Chunk, block: _Block, counts: Counts) -> None:
    """Add to the chunk's counts what comes before its mates in this block."""
    products, undecided, surely = (np.asarray(a)[: len(chunk.probes)] for a in counts)
    flags = np.flatnonzero(undecided)
    if len(flags) > DENSE * np.isfinite(chunk.target).sum() * undecided.shape[2]:
        chunk.before += _counted_densely(chunk, block)
        return
    chunk.before += surely
    probe, mate, lane = np.unravel_index(flags, undecided.shape)
    column = lane[:, None] + undecided.shape[2] * np.arange(SLICES)
    score = np.asarray(block.bias)[column] - products[probe[:, None], column]
    # These scores may differ from those that the device compared, which were perhaps never stored.
    surely = score < chunk.low[probe, mate][:, None]
    np.add.at(chunk.before, (probe, mate), surely.sum(axis=1))
    which, index = np.nonzero(~surely & (score < chunk.high[probe, mate][:, None]))
    probe, mate, column = probe[which], mate[which], column[which, index]
    distances = chunk.space.distances(chunk.embeddings, probe, block.entries, column)
    before = chunk.comes_before(distances, probe, mate, block.first + column)
    np.add.at(chunk.before, (probe, mate), before)


def _counted_densely(chunk: _Chunk, block: _Block) -> Indices:
    """How many entries of the block come before each mate [n, M], all by float64."""
    distances = chunk.space.all_distances(chunk.embeddings, block.entries)
    probe = np.arange(len(distances))[:, None]
    place = block.first + np.arange(distances.shape[1])
    before = [
        chunk.comes_before(distances, probe, np.asarray(mate), place).sum(axis=1)
        for mate in range(chunk.target.shape[1])
    ]
    return np.stack(before, axis=1)


def _blocks(gallery: Array, distractors: Iterable[Array], size: int) -> Iterator[Array]:
    """The gallery, then the distractors, in blocks of `size`; the last may be shorter."""
    waiting: list[Array] = []
    have = 0
    slices = (gallery[start : start + size] for start in range(0, len(gallery), size))
    for piece in itertools.chain(slices, distractors):
        while len(piece):
            taken, piece = np.split(piece, [size - have])
            waiting.append(taken)
            have += len(taken)
            if have == size:
                yield _joined(waiting)
                waiting, have = [], 0
    if have:
        yield _joined(waiting)


def _joined(pieces: list[Array]) -> Array:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
