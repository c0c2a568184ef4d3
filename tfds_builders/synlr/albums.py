"""Where the sharp pictures come from: a folder per person, or a prepared dataset of people."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..common import NOBODY, Report, list_people, read_bytes


class Portraits(Protocol):
    """Pictures of people in records: the encoded pictures, whose they are, and their names."""

    images: Sequence[bytes]
    label: np.ndarray
    names: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Album:
    """Pictures of people.

    Attributes:
      names: of the pictures, unique.
      owner: int [n], whose each picture is, from 0, in the order of the source's people.
      people: who these people are.
      read: a picture's number -> the bytes of its file, or AnnotationError; from several threads.
    """

    names: Sequence[str]
    owner: np.ndarray
    people: Sequence[str]
    read: Callable[[int], bytes]


def from_folders(root: pathlib.Path, report: Report) -> Album:
    """List the pictures in the folders of `root`, one of each person, by name."""
    people = list_people(root, report)
    names = [f"{folder}/{file}" for folder, files in people.items() for file in files]
    owner = np.repeat(np.arange(len(people)), [len(files) for files in people.values()])
    return Album(names, owner, list(people), lambda i: read_bytes(root / names[i]))


def from_portraits(portraits: Portraits, report: Report) -> Album:
    """List prepared pictures of people, in the order of their labels, which name them."""
    label = np.asarray(portraits.label)
    known = np.flatnonzero(label != NOBODY)
    for i in np.flatnonzero(label == NOBODY):
        report.skip("the picture is of nobody whom the source names", portraits.names[i])
    people, owner = np.unique(label[known], return_inverse=True)
    return Album(
        [portraits.names[i] for i in known],
        owner,
        [str(person) for person in people],
        lambda i: portraits.images[int(known[i])],
    )


def shared(album: Album, first: float, last: float) -> Album:
    """Keep the people whose places, as shares of all of them, are from `first` up to `last`."""
    start, stop = (round(share * len(album.people)) for share in (first, last))
    kept = np.flatnonzero((album.owner >= start) & (album.owner < stop))
    return Album(
        [album.names[i] for i in kept],
        album.owner[kept] - start,
        album.people[start:stop],
        lambda i: album.read(int(kept[i])),
    )
