"""Annotated low-resolution faces: native small faces with five points made by people."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

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
    official_bytes,
    photo_size,
    photos_at_hand,
)
from .annotations import NUM_POINTS, read_table

SUBSET_FILE = "detected.txt"


class Builder(FaceBuilder):
    """Five points; from photographs if `photos.csv` is there, else from the faces alone.

    Where `detected.txt` lists faces, they are the split `detected`, too.
    """

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
        splits = {"test": photos_at_hand(folder, faces, "test", report)}
        if (root / SUBSET_FILE).is_file():
            listed = _listed(root / SUBSET_FILE, faces, report)
            splits["detected"] = photos_at_hand(folder, listed, "detected", report)
        return splits


def _listed(
    path: pathlib.Path, faces: list[tuple[str, Face]], report: Report
) -> list[tuple[str, Face]]:
    """Those of `faces`, (image, face) each, that a list names, a line each.

    A line is the name of an image, which stands for all its faces, or of a face: "crowd.jpg#3".
    """
    try:
        wanted = {line.strip() for line in official_bytes(path).decode("utf-8-sig").splitlines()}
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} cannot be read as a list of names: {error}.") from error
    wanted.discard("")
    for name in sorted(wanted.difference(*((file, face.name) for file, face in faces))):
        report.skip("no face of this name is annotated", f"{path.name}: {name}")
    return [(file, face) for file, face in faces if wanted & {file, face.name}]


def _whole_image(path: pathlib.Path) -> np.ndarray:
    """The box of a face image: all of it."""
    return np.array([0, 0, *photo_size(path)], np.float64)
