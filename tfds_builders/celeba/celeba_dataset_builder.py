"""CelebA's aligned pictures, by whom they show."""

import collections
import pathlib
import threading
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.celeba.tables import read_numbers, read_points
from tfds_builders.common import (
    AnnotationError,
    DatasetError,
    IdentityBuilder,
    Portrait,
    Report,
    find_image,
    identity_features,
    note_counts,
    points_features,
)
from tfds_builders.common.builder import Example

SPLITS = ("train", "valid", "test")
# Pictures and people.
OFFICIAL_COUNTS = {"all": (202_599, 10_177)}
SIZE = (178, 218)
"""Width and height of an official picture."""
SHAPE_TOLERANCE = 0.02
"""Pictures whose width and height are scaled by factors this close have the official shape."""


class Builder(IdentityBuilder):
    """Train, valid and test by the official partition, or all in train without it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    fetch img_align_celeba.zip, identity_CelebA.txt, list_eval_partition.txt and
    list_landmarks_align_celeba.txt from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html so that
    it holds Img/img_align_celeba, Anno/identity_CelebA.txt and, if wanted,
    Eval/list_eval_partition.txt and Anno/list_landmarks_align_celeba.txt
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(identity_features(**points_features())),
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        table = _find(root, "Anno", "identity_CelebA.txt")
        if table is None:
            raise DatasetError(f"{root} holds no Anno/identity_CelebA.txt; put the file there.")
        owners = {name: row[0] for name, row in read_numbers(table, 1, 0, report).items()}
        split_of = _partition(root, owners, report)
        self._points = _points(root, report)
        self._sizes: collections.Counter[tuple[int, int]] = collections.Counter()
        self._lock = threading.Lock()
        splits = _portraits(root, owners, split_of, report)
        everything = [portrait for found in splits.values() for portrait in found]
        note_counts(report, "all", everything, complete=OFFICIAL_COUNTS["all"], of="CelebA")
        return splits

    def extra(self, item: Portrait, size: tuple[int, int]) -> Example:
        with self._lock:
            self._sizes[size] += 1
        points, visible = np.zeros((5, 2), np.float32), np.zeros(5, np.bool_)
        marked = self._points.get(item.name)
        if marked is not None:
            try:
                points, visible = scaled_points(marked, size), np.ones(5, np.bool_)
            except AnnotationError as error:
                self.report.skip(str(error), item.name)
        return {"points": points, "visible": visible}

    def conclude(self) -> None:
        others = {size: count for size, count in self._sizes.items() if size != SIZE}
        if others:
            width, height = max(others, key=others.__getitem__)
            points = "; the points are scaled with them" if self._points else ""
            self.report.note(
                f"{sum(others.values()):,} pictures are not {SIZE[0]}×{SIZE[1]} pixels large as "
                f"the official ones, but for instance {width}×{height}{points}."
            )


def scaled_points(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points [5, 2], marked on a picture of the official size, on one of (width, height) pixels.

    Raises:
      AnnotationError: if the picture has another shape, or a point does not lie on it.
    """
    scale = np.array(size, np.float64) / SIZE
    if abs(scale[0] / scale[1] - 1) > SHAPE_TOLERANCE:
        raise AnnotationError("the points do not fit: the picture has another shape")
    moved = (points + 0.5) * scale - 0.5
    if (moved < -0.5).any() or (moved > np.array(size) - 0.5).any():
        raise AnnotationError("the points do not fit: one lies beside the picture")
    return moved.astype(np.float32)


def _find(root: pathlib.Path, folder: str, name: str) -> pathlib.Path | None:
    """A file or folder in its official place or in `root` itself."""
    return next((path for path in (root / folder / name, root / name) if path.exists()), None)


def _partition(root: pathlib.Path, owners: dict[str, int], report: Report) -> dict[str, str]:
    """The split of each picture."""
    path = _find(root, "Eval", "list_eval_partition.txt")
    if path is None:
        report.note("Eval/list_eval_partition.txt is not there: all pictures are in train.")
        return dict.fromkeys(owners, "train")
    split_of = {}
    for name, (part,) in read_numbers(path, 1, 0, report).items():
        if part in range(len(SPLITS)):
            split_of[name] = SPLITS[part]
        else:
            report.skip("the part is not 0, 1 or 2", f"{path.name}: {name}")
    return split_of


def _points(root: pathlib.Path, report: Report) -> dict[str, np.ndarray]:
    path = _find(root, "Anno", "list_landmarks_align_celeba.txt")
    if path is None:
        report.note("Anno/list_landmarks_align_celeba.txt is not there: no picture has points.")
        return {}
    return read_points(path, report)


def _portraits(
    root: pathlib.Path, owners: dict[str, int], split_of: dict[str, str], report: Report
) -> dict[str, list[Portrait]]:
    """The pictures at hand; labels number the people of train, then of valid, then of test."""
    folder = _find(root, "Img", "img_align_celeba") or root
    used = set(split_of.values())
    paths: dict[str, dict[str, str]] = {split: {} for split in SPLITS if split in used}
    for name in owners:
        split = split_of.get(name)
        if split is None:
            report.skip("the partition does not list the picture", name)
            continue
        report.count(split, "listed")
        try:
            paths[split][name] = str(find_image(folder, name))
        except AnnotationError as error:
            report.skip(str(error), name)
    people = {split: {owners[name] for name in found} for split, found in paths.items()}
    label: dict[int, int] = {}
    for found in people.values():
        for owner in sorted(found):
            label.setdefault(owner, len(label))
    shared = sum(map(len, people.values())) - len(label)
    if shared:
        report.note(f"{shared:,} people are in two splits; the official partition has none such.")
    for split, found in paths.items():
        report.count(split, "image at hand", len(found))
    return {
        split: [
            Portrait(path, name, str(owners[name]), label[owners[name]])
            for name, path in found.items()
        ]
        for split, found in paths.items()
    }
