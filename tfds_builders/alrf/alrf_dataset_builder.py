"""Annotated low-resolution faces: native small faces with five points made by people."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ..common import (
    AnnotationError,
    DatasetError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    box_centre,
    face_features,
    find_image,
    photos_at_hand,
)
from .annotations import NUM_POINTS, read_table


class Builder(FaceBuilder):
    """Five points; from photographs if `photos.csv` is there, else from the faces alone."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    it holds faces and annotations.csv, or photos and photos.csv
    """
    FEATURES = face_features(NUM_POINTS, source=tfds.features.Text())
    FOLDERS = ("ALRF", "ALRF_dev")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        if (root / "photos.csv").is_file():
            table, folder, source = root / "photos.csv", root / "photos", "photograph"
        elif (root / "annotations.csv").is_file():
            table, folder, source = root / "annotations.csv", root / "faces", "face image"
        else:
            raise DatasetError(f"{root} holds neither photos.csv nor annotations.csv.")
        faces = []
        for i, row in enumerate(
            read_table(table, with_boxes=source == "photograph", report=report)
        ):
            try:
                box = _whole_image(find_image(folder, row.file)) if row.box is None else row.box
            except AnnotationError as error:
                report.count("test", "annotated")
                report.skip(str(error), row.file)
                continue
            points = np.where(row.visible[:, None], row.points, box_centre(box))
            face = Face(f"{row.file}#{i}", box, box, points, row.visible, {"source": source})
            faces.append((row.file, face))
        report.note(f"The faces are taken from each {source} ({table.name}).")
        return {"test": photos_at_hand(folder, faces, "test", report)}


def _whole_image(path: pathlib.Path) -> np.ndarray:
    """The box of a face image: all of it."""
    try:
        with Image.open(path) as image:
            return np.array([0, 0, *image.size], np.float64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError("the image cannot be decoded (truncated or not an image)") from error
