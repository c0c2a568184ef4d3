"""Closed-set 1:N identification, as TinyFace's official script measures it.

Each probe ranks the whole gallery by distance: the matched gallery, in which each identity of the
probes has at least one *mate*, and, with distractors, many faces of no known identity. Ties go to
the entry that stands earlier, the matched gallery before the distractors.

- CMC at rank r: the share of probes with a mate among their first r entries.
- AP: walk down the ranking with precision = hits / rank and recall = hits / mates; add up the
  trapezoids (recall - previous recall) (previous precision + precision) / 2, starting at recall 0
  and *precision 1*. Recall changes at the mates alone. If the h-th of M mates has rank r_h, the
  precision is h / r_h there and (h - 1) / (r_h - 1) one rank before, or 1 if r_h = 1, so that

      AP = 1 / (2 M) * sum over h of [ (h - 1) / (r_h - 1)  or 1  +  h / r_h ].

  A single mate gives 1 at rank 1, and 1/4, not 1/2, at rank 2.
- Precision and recall: the official script has no such curve. Ours is the mean over the probes of
  the interpolated precision max over r_h with h / M >= recall of h / r_h, at recall 0, 0.01, ... 1.

The ranks are exact: see `lrjax.evaluation.ranking`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrjax.errors import InputError
from lrjax.evaluation.ranking import mate_ranks
from lrjax.evaluation.scores import METRICS, Array, Floats, Indices, Metric, Space, as_matrix

RANKS = (1, 5, 10, 20, 50)
"""Ranks at which the papers report the CMC."""

RECALLS = 101
"""Points of the precision-recall curve."""

BLOCK = 2048
"""Gallery entries in one product."""


@dataclasses.dataclass(frozen=True, eq=False)
class Identification:
    """Hold the ranks that `identify` found, and compute the measures that follow from them.

    Attributes:
      ranks: of each probe's mates [p, M], from 1, ascending; 0 where it has fewer than M mates.
      gallery: number of entries of the matched gallery.
      distractors: number of entries behind it, or None for a gallery without distractors.
      metric: how entries were compared.
    """

    ranks: Indices
    gallery: int
    distractors: int | None
    metric: Metric

    @property
    def probes(self) -> int:
        """Count the probes."""
        return len(self.ranks)

    @property
    def entries(self) -> int:
        """Count the entries that each probe was compared with."""
        return self.gallery + (self.distractors or 0)

    @functools.cached_property
    def cmc(self) -> Floats:
        """Compute the share of probes with a mate up to rank 1, 2, ... to the last, [entries]."""
        hits = np.bincount(self.ranks[:, 0], minlength=self.entries + 1)[1:]
        return np.cumsum(hits) / self.probes

    def cmc_at(self, rank: int) -> float:
        """Compute the share of probes with a mate among their first `rank` entries.

        Raises:
          InputError: the gallery has no such rank.
        """
        if not 1 <= rank <= self.entries:
            raise InputError(
                f"There is no rank {rank} in a gallery of {self.entries}; ask for one from 1 to "
                f"{self.entries}."
            )
        return float((self.ranks[:, 0] <= rank).mean())

    @functools.cached_property
    def ap(self) -> Floats:
        """Compute the official script's average precision of each probe [p]."""
        mates, hits, precision = _precisions(self.ranks)
        earlier = np.where(self.ranks > 1, (hits - 1) / np.maximum(self.ranks - 1, 1), 1.0)
        return np.where(self.ranks > 0, earlier + precision, 0.0).sum(axis=1) / (2 * mates)

    @property
    def mean_ap(self) -> float:
        """Average the average precisions (mAP)."""
        return float(self.ap.mean())

    @functools.cached_property
    def precision_recall(self) -> tuple[Floats, Floats]:
        """Compute recalls and mean interpolated precisions, both [RECALLS]."""
        mates, _, precision = _precisions(self.ranks)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        steps = np.arange(RECALLS)
        # The first hit whose recall is not less than the step's, in whole numbers.
        hit = np.maximum(-(-steps * mates[:, None] // (RECALLS - 1)), 1)
        return steps / (RECALLS - 1), np.take_along_axis(best, hit - 1, axis=1).mean(axis=0)

    def summary(self, ranks: tuple[int, ...] | None = None) -> dict[str, float | int | str]:
        """Collect the figures of one table row.

        Args:
          ranks: of the CMC; None for those of RANKS that the gallery has.

        Returns:
          `rank-R` for each rank and `mAP`, in percent; `probes`, `gallery`, `distractors` (their
          number, or "no") and `metric`.

        Raises:
          InputError: the gallery has not so many ranks.
        """
        if ranks is None:
            ranks = tuple(rank for rank in RANKS if rank <= self.entries)
        values: dict[str, float | int | str] = {
            f"rank-{rank}": 100 * self.cmc_at(rank) for rank in ranks
        }
        return values | {
            "mAP": 100 * self.mean_ap,
            "probes": self.probes,
            "gallery": self.gallery,
            "distractors": "no" if self.distractors is None else self.distractors,
            "metric": self.metric,
        }


def identify(
    probes: ArrayLike,
    probe_ids: ArrayLike,
    gallery: ArrayLike,
    gallery_ids: ArrayLike,
    distractors: ArrayLike | Iterable[ArrayLike] | None = None,
    *,
    metric: Metric = "euclidean",
    block: int = BLOCK,
) -> Identification:
    """Rank the gallery for each probe.

    The memory on the device depends on `block` and on the probes, and not on the gallery: arrays
    may be `numpy.memmap`, and distractors may come from a generator.

    Args:
      probes: embeddings [p, D].
      probe_ids: their identities [p].
      gallery: embeddings [g, D] of the matched gallery.
      gallery_ids: their identities [g].
      distractors: embeddings [d, D] without a mate, or blocks [any, D] of them, taken one by one;
        None for the protocol without distractors.
      metric: "euclidean", on the embeddings as they are, as in the official script, or "cosine".
      block: gallery entries that are compared in one go.

    Raises:
      InputError: embeddings are missing, not finite or of different lengths, a probe has no mate,
        or an embedding is zero and the cosine is asked for.
    """
    if metric not in METRICS:
        raise InputError(f"Metric {metric!r} is unknown; choose one of {', '.join(METRICS)}.")
    if block < 1:
        raise InputError(f"Blocks of {block} entries hold nothing; give a positive number.")
    queries = as_matrix(probes, "Probes")
    entries = as_matrix(gallery, "Gallery entries", queries.shape[1])
    mates = find_mates(
        _identities(probe_ids, len(queries), "probe"),
        _identities(gallery_ids, len(entries), "gallery entry"),
    )
    space = Space.around(metric, queries, entries)
    stream = _matrices(distractors, queries.shape[1])
    ranks, count = mate_ranks(queries, entries, mates, stream, space, block)
    if distractors is not None and not count:
        raise InputError(
            "The distractors hold no embedding; give None for the protocol without distractors, "
            "and a fresh generator for each call."
        )
    return Identification(ranks, len(entries), None if distractors is None else count, metric)


def find_mates(
    probe_ids: NDArray[np.generic], gallery_ids: NDArray[np.generic]
) -> tuple[Indices, Indices]:
    """Count the gallery entries of each probe's identity [p]; give their places, probe by probe.

    Raises:
      InputError: a probe has none.
    """
    order = np.argsort(gallery_ids, kind="stable")
    first = np.searchsorted(gallery_ids, probe_ids, side="left", sorter=order)
    counts = np.searchsorted(gallery_ids, probe_ids, side="right", sorter=order) - first
    lone = np.flatnonzero(counts == 0)
    if len(lone):
        raise InputError(
            f"{len(lone)} of {len(probe_ids)} probes have no mate in the gallery (first: probe "
            f"{lone[0]}, identity {probe_ids[lone[0]]}); leave them out, since a closed set "
            "cannot rank them, or give the gallery that belongs to them."
        )
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return counts, order[np.repeat(first, counts) + offset]


def random_halves(labels: ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Split each identity's images into probes and gallery at random.

    An identity of n images gives floor(n / 2) probes, so that one of a single image is in the
    gallery only. Labels below 0 mean no identity, and are in neither half.

    Args:
      labels: integers [n].
      seed: of the choice.

    Returns:
      ascending places of the probes and of the gallery.

    Raises:
      InputError: no identity has two images.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"Labels have shape {values.shape} and type {values.dtype}; give one whole number for "
            "each image."
        )
    shuffled = np.random.default_rng(seed).permutation(len(values))
    shuffled = shuffled[values[shuffled] >= 0]
    order = shuffled[np.argsort(values[shuffled], kind="stable")]
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, counts)
    chosen = place < np.repeat(counts // 2, counts)
    if not chosen.any():
        raise InputError(
            f"None of the {len(counts)} identities has two images; a probe needs a mate in the "
            "gallery."
        )
    return np.sort(order[chosen]), np.sort(order[~chosen])


def redraw_halves(
    probes: Array, probe_ids: ArrayLike, gallery: Array, gallery_ids: ArrayLike, seed: int
) -> tuple[Array, NDArray[np.integer], Array, NDArray[np.integer]]:
    """Share probes and matched gallery out anew, each identity's images in random halves.

    K&C: "half of the face images are randomly assigned to the probe set, and the remaining to the
    gallery set". The official protocol has lists.

    Args:
      probes, probe_ids, gallery, gallery_ids: as of `identify`.
      seed: of the choice.

    Returns:
      The same four, of the new halves.

    Raises:
      InputError: no identity has two images.
    """
    everything = np.concatenate([probes, gallery])
    labels = np.concatenate([np.asarray(probe_ids), np.asarray(gallery_ids)])
    chosen, others = random_halves(labels, seed)
    return everything[chosen], labels[chosen], everything[others], labels[others]


def _precisions(ranks: Indices) -> tuple[Indices, Indices, Floats]:
    """Give each probe's mates [p], each hit's number [1, M], precision there, 0 where none."""
    hits = np.arange(1, ranks.shape[1] + 1)[None]
    precision = np.where(ranks > 0, hits / np.maximum(ranks, 1), 0.0)
    return (ranks > 0).sum(axis=1), hits, precision


def _identities(ids: ArrayLike, count: int, name: str) -> NDArray[np.generic]:
    values = np.asarray(ids)
    if values.shape != (count,):
        raise InputError(
            f"The identities have shape {values.shape}; give one for each {name}, of which there "
            f"are {count}."
        )
    if not count:
        raise InputError(f"There is no {name}; check the split's name and its filters.")
    return values


def _matrices(values: ArrayLike | Iterable[ArrayLike] | None, dimensions: int) -> Iterator[Array]:
    if values is None:
        return
    if hasattr(values, "ndim"):
        yield as_matrix(cast(ArrayLike, values), "Distractors", dimensions)
        return
    for piece in cast(Iterable[ArrayLike], values):
        # A copy, since a stream may write its next block where this one was.
        yield as_matrix(np.array(piece), "Distractors", dimensions)
