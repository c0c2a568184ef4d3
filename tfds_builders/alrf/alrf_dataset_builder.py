"""Annotated low-resolution faces: native small faces with five points made by people."""

import pathlib
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.alrf.annotations import NUM_POINTS, Row, read_table
from tfds_builders.common import (
    AnnotationError,
    DatasetError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    face_features,
    find_image,
)
from tfds_builders.common.crops import check_box
from tfds_builders.common.faces import box_centre


class Builder(FaceBuilder):
    """Five points; from photographs if `photos.csv` is there, else from the faces alone."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    it holds faces and annotations.csv, or photos and photos.csv
    """

    def _info(self) -> tfds.core.DatasetInfo:
        features = face_features(NUM_POINTS, source=tfds.features.Text())
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        if (root / "photos.csv").is_file():
            table, folder, source = root / "photos.csv", root / "photos", "photograph"
        elif (root / "annotations.csv").is_file():
            table, folder, source = root / "annotations.csv", root / "faces", "face image"
        else:
            raise DatasetError(f"{root} holds neither photos.csv nor annotations.csv.")
        rows = read_table(table, with_boxes=source == "photograph", report=report)
        faces: dict[pathlib.Path, list[Face]] = {}
        report.count("test", "annotated", len(rows))
        report.count("test", "image at hand", 0)
        for i, row in enumerate(rows):
            try:
                path = find_image(folder, row.file)
                face = _face(f"{row.file}#{i}", path, row, source)
            except AnnotationError as error:
                report.skip(str(error), row.file)
                continue
            faces.setdefault(path, []).append(face)
            report.count("test", "image at hand")
        report.note(f"The faces are taken from each {source} ({table.name}).")
        photos = [
            Photo(path, path.relative_to(folder).as_posix(), tuple(found))
            for path, found in faces.items()
        ]
        return {"test": photos}


def _face(name: str, path: pathlib.Path, row: Row, source: str) -> Face:
    """The face of a row. In a face image the box is the image."""
    box = row.box
    if box is None:
        box = np.array([0, 0, *_size(path)], np.float64)
    check_box(box)
    points = np.where(row.visible[:, None], row.points, box_centre(box))
    return Face(name, box, box, points, row.visible, {"source": source})


def _size(path: pathlib.Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError("the image cannot be decoded (truncated or not an image)") from error
