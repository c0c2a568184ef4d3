"""The 19-point AFLW release: `AFLWinfo_release.mat` and the original photographs."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.common import (
    AnnotationError,
    DatasetError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    face_features,
    find_image,
    load_mat,
)
from tfds_builders.common.crops import check_box
from tfds_builders.common.files import cell_text, numbers

MAT_FILE = "AFLWinfo_release.mat"
NUM_FACES = 24_386
NUM_TRAIN = 20_000
NUM_POINTS = 19
# The test faces with all 19 points visible; older papers speak of 1,165 and give no list.
NUM_FRONTAL = 1_314
IMAGE_FOLDERS = ("data/flickr", "aflw/data/flickr", "flickr", "images", ".")


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """The release, in the order of its rows (which is not that of the splits).

    Attributes:
      names: n image names such as `0/image12345.jpg`; several rows may share one.
      boxes: [n, 4] (x, y, w, h), 0-based.
      points: [n, 19, 2], 0-based; invisible points have coordinates, too.
      visible: [n, 19] bool.
      train, test: row numbers.
    """

    names: tuple[str, ...]
    boxes: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    train: np.ndarray
    test: np.ndarray


def read_annotation(path: pathlib.Path) -> Annotation:
    """Reads `AFLWinfo_release.mat`.

    Raises:
      DatasetError: if it is missing, damaged or not the official file.
    """
    content = load_mat(path, "bbox", "data", "mask_new", "nameList", "ra")
    shapes = {"bbox": (NUM_FACES, 4), "data": (NUM_FACES, 38), "mask_new": (NUM_FACES, 19)}
    arrays = {name: numbers(content[name], path, name) for name in (*shapes, "ra")}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise DatasetError(
                f"{path}: '{name}' is {arrays[name].shape}, not {shape}; it is not the official "
                "file."
            )
    order = np.ravel(arrays["ra"])
    if not np.array_equal(np.sort(order), np.arange(1, NUM_FACES + 1)):
        raise DatasetError(
            f"{path}: 'ra' is not a permutation of 1 to {NUM_FACES:,}; it is not the official file."
        )
    if not np.isin(arrays["mask_new"], (0, 1)).all():
        raise DatasetError(
            f"{path}: 'mask_new' holds more than 0 and 1; it is not the official file."
        )
    rows = order.astype(int) - 1
    left, right, top, bottom = arrays["bbox"].T
    return Annotation(
        names=_names(content["nameList"], path),
        boxes=np.stack([left - 1, top - 1, right - left, bottom - top], axis=1),
        points=arrays["data"].reshape(NUM_FACES, 2, NUM_POINTS).swapaxes(1, 2) - 1,
        visible=arrays["mask_new"] == 1,
        train=rows[:NUM_TRAIN],
        test=rows[NUM_TRAIN:],
    )


def _names(cells: np.ndarray, path: pathlib.Path) -> tuple[str, ...]:
    try:
        names = tuple(cell_text(cell) for cell in np.ravel(cells))
    except ValueError as error:
        raise DatasetError(
            f"{path}: in 'nameList' {error}; it is not the official file."
        ) from error
    if len(names) != NUM_FACES:
        raise DatasetError(
            f"{path}: 'nameList' holds {len(names)} names, not {NUM_FACES}; it is not the official "
            "file."
        )
    return names


class Builder(FaceBuilder):
    """19 points with visibility; `box` and `face_box` are AFLW's own, square boxes."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    ask TU Graz for AFLW and fetch AFLWinfo_release.mat from the compositional-learning page of the
    CUHK multimedia laboratory, so that it holds AFLWinfo_release.mat and data/flickr/{0,2,3}
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(face_features(NUM_POINTS)),
            homepage="https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw",
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        annotation = read_annotation(root / MAT_FILE)
        frontal = annotation.test[annotation.visible[annotation.test].all(axis=1)]
        folder = next(root / name for name in IMAGE_FOLDERS if (root / name).is_dir())
        splits = {}
        rows = {"train": annotation.train, "test": annotation.test, "frontal": frontal}
        for split, chosen in rows.items():
            splits[split] = _photos(folder, annotation, chosen, report)
            report.count(split, "annotated", len(chosen))
            report.count(split, "image at hand", sum(len(photo.faces) for photo in splits[split]))
        report.note(
            f"frontal: the {len(frontal):,} test faces with all {NUM_POINTS} points visible "
            f"(official release: {NUM_FRONTAL:,})."
        )
        return splits


def _photos(
    folder: pathlib.Path, annotation: Annotation, rows: Iterable[int], report: Report
) -> list[Photo]:
    """The photographs at hand of the faces `rows`, in the order of their first face."""
    faces: dict[str, list[Face]] = {}
    for row in rows:
        name = annotation.names[row]
        face = Face(
            name=f"{name}#{row}",
            box=annotation.boxes[row],
            face_box=annotation.boxes[row],
            points=annotation.points[row],
            visible=annotation.visible[row],
        )
        try:
            check_box(face.box)
            if not np.isfinite(face.points).all():
                raise AnnotationError("the points are not finite")
        except AnnotationError as error:
            report.skip(str(error), face.name)
            continue
        faces.setdefault(name, []).append(face)
    photos = []
    for name, found in faces.items():
        try:
            photos.append(Photo(find_image(folder, name), name, tuple(found)))
        except AnnotationError as error:
            report.skip(str(error), name)
    return photos
