"""The 300W dataset, from its official folders of images and `.pts` files."""

import pathlib

import numpy as np

from lrjax.geometry.points import IBUG68, face_box

from ..common import (
    AnnotationError,
    DatasetError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    face_features,
    find_first,
    find_image,
    list_images,
    official_bytes,
    parse_numbers,
    tight_box,
)

NUM_POINTS = 68

# Split -> its official folders. Two spellings for the private test: with and without the folder
# `300W` that its archive unpacks to.
SPLITS: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": (("helen/trainset",), ("lfpw/trainset",), ("afw",)),
    "common": (("helen/testset",), ("lfpw/testset",)),
    "challenging": (("ibug",),),
    "full": (("helen/testset",), ("lfpw/testset",), ("ibug",)),
    "private_test": (("300W/01_Indoor", "01_Indoor"), ("300W/02_Outdoor", "02_Outdoor")),
}


def read_points(path: pathlib.Path) -> np.ndarray:
    """Read the points [68, 2] of a `.pts` file, 0-based (the file counts pixels from 1).

    Raises:
      AnnotationError: if the file is not 68 points in braces.
    """
    try:
        text = official_bytes(path).decode("ascii")
    except (DatasetError, UnicodeDecodeError) as error:
        raise AnnotationError("the .pts file cannot be read") from error
    head, opened, rest = text.partition("{")
    body, closed, _ = rest.partition("}")
    if not (opened and closed and "n_points" in head):
        raise AnnotationError("the .pts file is malformed (header or braces missing)")
    try:
        values = parse_numbers(body.split(), 2 * NUM_POINTS)
    except AnnotationError as error:
        raise AnnotationError(f"the .pts file is malformed ({error})") from error
    return values.reshape(NUM_POINTS, 2) - 1


class Builder(FaceBuilder):
    """68 points per face, all of them visible; `box` is the tight box of the points."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack afw, helen, lfpw, ibug and 300w from https://ibug.doc.ic.ac.uk/download/annotations so
    that it holds afw, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset, ibug,
    300W/01_Indoor and 300W/02_Outdoor
    """
    FEATURES = face_features(NUM_POINTS)
    HOMEPAGE = "https://ibug.doc.ic.ac.uk/resources/300-W/"
    FOLDERS = ("300W",)

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        folders = {
            spellings: _read_folder(root, spellings, report)
            for spellings in dict.fromkeys(s for folders in SPLITS.values() for s in folders)
        }
        splits: dict[str, list[Photo]] = {}
        for split, parts in SPLITS.items():
            splits[split] = [photo for part in parts for photo in folders[part][0]]
            report.count(split, "annotated", sum(folders[part][1] for part in parts))
            report.count(split, "image at hand", len(splits[split]))
        return splits


def _read_folder(
    root: pathlib.Path, spellings: tuple[str, ...], report: Report
) -> tuple[list[Photo], int]:
    """The usable faces of one official folder, and the number of its annotation files."""
    folder = find_first(root, *spellings)
    if folder is None:
        report.skip("the official folder is missing", spellings[0])
        return [], 0
    photos = []
    annotations = sorted(folder.glob("*.pts"))
    for path in annotations:
        name = path.relative_to(root).with_suffix("").as_posix()
        try:
            image = find_image(folder, path.with_suffix(".jpg").name)
            face = _face(name, read_points(path))
            photos.append(Photo(image, image.relative_to(root).as_posix(), (face,)))
        except AnnotationError as error:
            report.skip(str(error), path.relative_to(root).as_posix())
    annotated = {path.stem.lower() for path in annotations}
    for image in list_images(folder):
        if image.stem.lower() not in annotated:
            report.skip("the image has no .pts file", image.relative_to(root).as_posix())
    return photos, len(annotations)


def _face(name: str, points: np.ndarray) -> Face:
    visible = np.ones(NUM_POINTS, bool)
    box = np.asarray(face_box(points, visible, IBUG68), np.float64)
    return Face(name, tight_box(points), box, points, visible)
