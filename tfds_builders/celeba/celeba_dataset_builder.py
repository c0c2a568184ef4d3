"""CelebA's aligned pictures, by whom they show."""

import collections
import pathlib

import numpy as np

from ..common import (
    AnnotationError,
    DatasetError,
    Example,
    IdentityBuilder,
    Portrait,
    Report,
    find_first,
    find_image,
    identity_features,
    note_counts,
    parse_numbers,
    points_features,
    read_lines,
)

SPLITS = ("train", "valid", "test")
# Pictures and people.
OFFICIAL_COUNTS = (202_599, 10_177)
SIZE = (178, 218)
"""Width and height of an official picture."""
SHAPE_TOLERANCE = 0.02
"""Pictures whose width and height are scaled by factors this close have the official shape."""


class Builder(IdentityBuilder):
    """Train, valid and test by the official partition, or all in train without it."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    fetch img_align_celeba.zip, identity_CelebA.txt, list_eval_partition.txt and
    list_landmarks_align_celeba.txt from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html so that
    it holds Img/img_align_celeba, Anno/identity_CelebA.txt and, if wanted,
    Eval/list_eval_partition.txt and Anno/list_landmarks_align_celeba.txt
    """
    FEATURES = identity_features(**points_features())
    HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    FOLDERS = ("CelebA", "celeba")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        table = _find(root, "Anno", "identity_CelebA.txt")
        if table is None:
            raise DatasetError(f"{root} holds no Anno/identity_CelebA.txt; put the file there.")
        owners = {name: int(row[0]) for name, row in read_table(table, 1, report).items()}
        split_of = _partition(root, owners, report)
        self._points = _points(root, report)
        self._sizes: dict[str, tuple[int, int]] = {}
        splits = _portraits(root, owners, split_of, report)
        everything = [portrait for found in splits.values() for portrait in found]
        note_counts(report, "all", everything, complete=OFFICIAL_COUNTS, of="CelebA")
        return splits

    def extra(self, item: Portrait, size: tuple[int, int]) -> Example:
        self._sizes[item.name] = size
        points, visible = np.zeros((5, 2), np.float32), np.zeros(5, np.bool_)
        marked = self._points.get(item.name)
        if marked is not None:
            try:
                points, visible = scaled_points(marked, size), np.ones(5, np.bool_)
            except AnnotationError as error:
                self.report.skip(str(error), item.name)
        return {"points": points, "visible": visible}

    def conclude(self) -> None:
        others = collections.Counter(size for size in self._sizes.values() if size != SIZE)
        if others:
            width, height = others.most_common(1)[0][0]
            points = "; the points are scaled with them" if self._points else ""
            self.report.note(
                f"{others.total():,} pictures are not {SIZE[0]}×{SIZE[1]} pixels large as "
                f"the official ones, but for instance {width}×{height}{points}."
            )


def scaled_points(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Move points [5, 2], marked on a picture of the official size, to one of (width, height).

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


def read_table(
    path: pathlib.Path, count: int, report: Report, header: int = 0
) -> dict[str, np.ndarray]:
    """Read `count` whole numbers for each picture's name, of one listed twice the first.

    Lines of any other form after the `header` lines are reported by their number.

    Raises:
      DatasetError: if the file cannot be read or has no usable line.
    """
    rows: dict[str, np.ndarray] = {}
    for number, line in read_lines(path):
        if number <= header:
            continue
        name, *fields = line.split()
        try:
            row = parse_numbers(fields, count, whole=True)
        except AnnotationError:
            reason = f"the line does not hold a name and {count} whole numbers"
            report.skip(reason, f"{path.name}:{number}")
            continue
        if name in rows:
            report.skip("the picture is listed before", f"{path.name}:{number} ({name})")
        rows.setdefault(name, row)
    if not rows:
        raise DatasetError(f"{path} holds no usable line; fetch the official file again.")
    return rows


def _find(root: pathlib.Path, folder: str, name: str) -> pathlib.Path | None:
    """A file or folder in its official place or in `root` itself."""
    return find_first(root, f"{folder}/{name}", name)


def _partition(root: pathlib.Path, owners: dict[str, int], report: Report) -> dict[str, str]:
    """The split of each picture."""
    path = _find(root, "Eval", "list_eval_partition.txt")
    if path is None:
        report.note("Eval/list_eval_partition.txt is not there: all pictures are in train.")
        return dict.fromkeys(owners, "train")
    split_of = {}
    for name, (part,) in read_table(path, 1, report).items():
        if part in range(len(SPLITS)):
            split_of[name] = SPLITS[int(part)]
        else:
            report.skip("the part is not 0, 1 or 2", f"{path.name}: {name}")
    return split_of


def _points(root: pathlib.Path, report: Report) -> dict[str, np.ndarray]:
    """Five points [5, 2] for each picture's name, in pixels of a picture of the official size."""
    path = _find(root, "Anno", "list_landmarks_align_celeba.txt")
    if path is None:
        report.note("Anno/list_landmarks_align_celeba.txt is not there: no picture has points.")
        return {}
    rows = read_table(path, 10, report, header=2)
    stated = next(read_lines(path))[1]
    if stated != str(len(rows)):
        report.note(f"{path.name} states {stated[:20]} pictures and lists {len(rows):,}.")
    return {name: row.reshape(5, 2) for name, row in rows.items()}


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
    numbered = dict.fromkeys(owner for found in people.values() for owner in sorted(found))
    label = {owner: i for i, owner in enumerate(numbered)}
    shared = sum(map(len, people.values())) - len(label)
    if shared:
        report.note(f"{shared:,} people are in two splits; the official partition has none such.")
    splits = {}
    for split, found in paths.items():
        report.count(split, "image at hand", len(found))
        splits[split] = [
            Portrait(path, name, str(owners[name]), label[owners[name]])
            for name, path in found.items()
        ]
    return splits
