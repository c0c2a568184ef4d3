"""SynLR: TinyFace's construction, of pictures that were sharp."""

import dataclasses
import io
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ..common import (
    NOBODY,
    DatasetError,
    Example,
    RecordBuilder,
    Report,
    decode,
    identity_features,
    note_counts,
)
from .albums import Portraits, from_folders, from_portraits, shared
from .partition import Counts, fitting

PAPER = Counts()
# Pictures and people of the paper's splits.
COMPLETE = {
    "train": (PAPER.train, PAPER.train_people),
    "probe": (PAPER.probe, PAPER.test_people),
    "gallery_match": (PAPER.gallery_match, PAPER.test_people),
    "distractors": (PAPER.distractors, 0),
}


@dataclasses.dataclass(frozen=True)
class SynlrSettings:
    """What the pictures are made of, and how.

    Attributes:
      source: a prepared dataset of people and its split, such as "celeba:test"; None for the files
        in a folder.
      people: from which to which of the source's people, as shares of all of them, in the order of
        their labels, or of the names of their folders: (0.5, 1.0) is the second half.
      counts: of people and pictures; those of a source that has fewer keep their proportions.
      height, width: of the pictures, pixels.
      region: the part of each picture that is the face: left, top, width, height, as shares of its
        size. (0.25, 0.3, 0.5, 0.5) is the face in CelebA's aligned pictures.
      seed: another seed gives another partition.
    """

    source: str | None = None
    people: tuple[float, float] = (0.0, 1.0)
    counts: Counts = PAPER
    height: int = 20
    width: int = 16
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    seed: int = 0

    def validate(self) -> None:
        """Raise DatasetError for values that mean nothing."""
        left, top, width, height = self.region
        ends = left + width, top + height
        if min(left, top) < 0 or min(width, height) <= 0 or max(ends) > 1 + 1e-9:
            raise DatasetError(
                f"The region {list(self.region)} is no part of a picture; give left, top, width "
                "and height as shares of its size."
            )
        if not 0 <= self.people[0] < self.people[1] <= 1:
            raise DatasetError(
                f"The people from {self.people[0]:g} to {self.people[1]:g} are nobody; give two "
                "shares between 0 and 1, the smaller first."
            )
        if min(self.height, self.width) < 1:
            raise DatasetError("The height and width of the pictures must be at least 1 pixel.")
        if self.seed < 0:
            raise DatasetError(f"The seed of {self.seed} must be at least 0.")


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the album by its number, and its label in the split that it is in."""

    number: int
    label: int


class Builder(RecordBuilder[Picture]):
    """A random partition of a source's people, their pictures shrunk.

    Args:
      settings: what the pictures are made of, and how.
      portraits: those that the settings' source names, if it names any.
      kwargs: TFDS's own.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack MegaFace2, or any other pictures of people, so that it holds a folder per person; or name
    a prepared dataset of people, for instance with --set source=celeba:train
    """
    FEATURES = identity_features()
    HOMEPAGE = "https://qmul-tinyface.github.io/"
    FOLDERS = ("MegaFace2", "MF2")
    UNIT = "picture"
    RECORDS_PER_SHARD = 8192
    SETTINGS = SynlrSettings

    def __init__(
        self,
        *,
        settings: SynlrSettings = SynlrSettings(),
        portraits: Portraits | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings, self._portraits = settings, portraits

    def folder(self, dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
        return super().folder(dl_manager) if self._portraits is None else pathlib.Path()

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Picture]]:
        settings = self._settings
        settings.validate()
        if self._portraits is None:
            whole, source = from_folders(root, report), str(root)
        else:
            whole, source = from_portraits(self._portraits, report), str(settings.source)
        self._album = album = shared(whole, *settings.people)
        self._enlarged: list[Picture] = []
        report.note(
            f"Made of {len(album.people):,} of the {len(whole.people):,} people of {source}, who "
            f"have {len(album.names):,} pictures."
        )
        if not album.names:
            return {split: [] for split in COMPLETE}
        try:
            share, chosen = fitting(album.owner, settings.counts, settings.seed)
        except DatasetError as error:
            raise DatasetError(f"{source}: {error}") from error
        if share < 1:
            report.note(f"These are too few: all counts asked for are multiplied by {share:g}.")
        splits = _labelled(album.owner, chosen)
        for split, found in splits.items():
            report.count(split, "asked for", getattr(settings.counts, split))
            report.count(split, "drawn", len(found))
            note_counts(report, split, found, complete=COMPLETE[split], of="SynLR-MF2")
        return splits

    def label(self, item: Picture) -> str:
        return self._album.names[item.number]

    def examples(self, item: Picture) -> list[Example]:
        settings, album = self._settings, self._album
        photo = decode(album.read(item.number))
        left, top, right, bottom = region_box(settings.region, photo.size)
        if right - left < settings.width or bottom - top < settings.height:
            self._enlarged.append(item)
        size = settings.width, settings.height
        # Pillow's bicubic kernel widens where it shrinks, so that nothing is skipped.
        small = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        file = io.BytesIO()
        small.save(file, "PNG")
        named = item.label != NOBODY
        return [
            {
                "image": file.getvalue(),
                "name": album.names[item.number],
                "identity": album.people[album.owner[item.number]] if named else "",
                "label": item.label,
            }
        ]

    def conclude(self) -> None:
        if self._enlarged:
            self.report.note(
                f"{len(self._enlarged):,} faces were narrower than {self._settings.width} pixels "
                f"or lower than {self._settings.height}: they were enlarged, and were not sharp."
            )


def region_box(
    region: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a region, in pixels of a picture of (width, height)."""
    left, top, width, height = region
    across, down = size
    # Shares such as 0.7 + 0.3 may add up to a little more than the picture.
    right, bottom = min(left + width, 1.0), min(top + height, 1.0)
    return left * across, top * down, right * across, bottom * down


def _labelled(owner: np.ndarray, chosen: dict[str, np.ndarray]) -> dict[str, list[Picture]]:
    """The pictures of each split; training and test people are numbered each from 0, in order."""
    splits = {}
    for split, numbers in chosen.items():
        # Each test person has a probe and a gallery picture, so that both number them alike.
        labels = np.unique(owner[numbers], return_inverse=True)[1]
        if split == "distractors":
            labels = np.full(len(numbers), NOBODY)
        splits[split] = [
            Picture(number, label)
            for number, label in zip(numbers.tolist(), labels.tolist(), strict=True)
        ]
    return splits
