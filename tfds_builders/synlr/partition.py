"""Who and which pictures are in which split, from nothing but whose each picture is."""

import bisect
import dataclasses

import numpy as np

from ..common import DatasetError

_STEPS = 10_000
"""Counts that a source is too small for are multiplied by a whole number of this part of 1."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many pictures each split has, and people; the paper's are TinyFace's (its Table 2)."""

    train_people: int = 2_570
    train: int = 7_804
    test_people: int = 2_569
    probe: int = 3_728
    gallery_match: int = 4_443
    distractors: int = 153_428

    def validate(self) -> None:
        """Raise DatasetError for counts that no pictures can have."""
        if min(self.train_people, self.test_people) < 1 or self.distractors < 0:
            raise DatasetError(
                "The counts train_people and test_people must be at least 1, distractors 0."
            )
        if self.train < self.train_people or min(self.probe, self.gallery_match) < self.test_people:
            raise DatasetError(
                "Everybody needs a picture: the count train must be at least train_people, probe "
                "and gallery_match at least test_people."
            )

    def scaled(self, factor: float) -> "Counts":
        """Multiply all counts by `factor`, and leave no person without a picture in any split."""
        small = {name: round(n * factor) for name, n in dataclasses.asdict(self).items()}
        train_people, test_people = max(1, small["train_people"]), max(1, small["test_people"])
        return Counts(
            train_people=train_people,
            train=max(small["train"], train_people),
            test_people=test_people,
            probe=max(small["probe"], test_people),
            gallery_match=max(small["gallery_match"], test_people),
            distractors=small["distractors"],
        )


def fitting(owner: np.ndarray, counts: Counts, seed: int) -> tuple[float, dict[str, np.ndarray]]:
    """Partition by `counts`, or by the largest share of them that the pictures suffice for.

    Args:
      owner: int [n], whose each picture is, from 0.
      counts: of the splits.
      seed: another seed gives another partition.

    Returns:
      The share, 1 if they suffice, and the pictures of each split, in their order.

    Raises:
      DatasetError: if the counts are impossible, or there are too few people for any share.
    """
    counts.validate()
    found = partition(owner, counts, seed)
    if found is not None:
        return 1.0, found

    def too_many(step: int) -> bool:
        return partition(owner, counts.scaled(step / _STEPS), seed) is None

    share = bisect.bisect_left(range(1, _STEPS), True, key=too_many) / _STEPS
    found = partition(owner, counts.scaled(share), seed) if share else None
    if found is None:
        people = len(np.unique(owner))
        raise DatasetError(
            f"{len(owner):,} pictures of {people:,} people are too few to be split into training "
            "people, test people with two pictures or more, and distractors."
        )
    return share, found


def partition(owner: np.ndarray, counts: Counts, seed: int) -> dict[str, np.ndarray] | None:
    """Draw the pictures of each split, in their order, or None if there are not enough.

    People are drawn for the test and for training from all who have two pictures, their pictures
    from all of theirs, and distractors from the pictures of all others. Where people drawn so have
    not enough pictures, those with the fewest pictures are not drawn.

    Args: as of `fitting`.
    """
    rng = np.random.default_rng(seed)
    pictures = np.bincount(owner)
    people, mixed = rng.permutation(len(pictures)), rng.permutation(len(owner))
    labelled = _labelled(people, pictures, counts)
    if labelled is None:
        return None
    test, train = labelled[: counts.test_people], labelled[counts.test_people :]
    tested = _drawn(mixed, owner, test, 2, counts.probe + counts.gallery_match)
    probing = _halves(owner[tested], counts.probe)
    rest = np.isin(np.arange(len(pictures)), labelled, invert=True)
    others = mixed[rest[owner[mixed]]]
    if len(others) < counts.distractors:
        return None
    splits = {
        "train": _drawn(mixed, owner, train, 1, counts.train),
        "probe": tested[probing],
        "gallery_match": tested[~probing],
        "distractors": others[: counts.distractors],
    }
    return {split: np.sort(found) for split, found in splits.items()}


def _labelled(people: np.ndarray, pictures: np.ndarray, counts: Counts) -> np.ndarray | None:
    """The first of `people`, those of the test before those of training, with enough pictures."""
    wanted = counts.test_people + counts.train_people
    for least in range(2, pictures.max(initial=0) + 1):
        chosen = people[pictures[people] >= least][:wanted]
        if len(chosen) < wanted:
            break
        test, train = np.split(pictures[chosen], [counts.test_people])
        if test.sum() >= counts.probe + counts.gallery_match and train.sum() >= counts.train:
            return chosen
    return None


def _drawn(
    mixed: np.ndarray, owner: np.ndarray, people: np.ndarray, each: int, total: int
) -> np.ndarray:
    """The first `total` of the `mixed` pictures of `people`, but `each` of everybody's for sure."""
    member = np.isin(np.arange(owner.max() + 1), people)
    mine = mixed[member[owner[mixed]]]
    rank = _rank(owner[mine])
    return np.concatenate([mine[rank < each], mine[rank >= each]])[:total]


def _halves(owner: np.ndarray, probes: int) -> np.ndarray:
    """Which pictures, in random order, are probes: bool [n], so many in all.

    Of everybody's pictures one at least is a probe and one is not, and otherwise half of them, as
    nearly as the whole number of probes allows.
    """
    rank, pictures = _rank(owner), np.bincount(owner)[owner]
    probing = rank == 1
    free = np.flatnonzero(rank > 1)
    lacking = pictures[free] / 2 - (rank[free] - 1)
    first = np.argsort(-lacking, kind="stable")[: probes - probing.sum()]
    probing[free[first]] = True
    return probing


def _rank(owner: np.ndarray) -> np.ndarray:
    """How many pictures of the same person come before each: int [n]."""
    order, counts = np.argsort(owner, kind="stable"), np.bincount(owner)
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner[order]]
    return rank
