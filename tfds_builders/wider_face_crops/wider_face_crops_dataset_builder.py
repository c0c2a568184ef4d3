"""Faces of WIDER FACE by size, as Kumar and Chellappa split them."""

import pathlib

import numpy as np

from ..common import (
    AnnotationError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    check_box,
    face_features,
    photos_at_hand,
)
from .annotations import Record, read_annotation

PARTS = ("train", "val")
# The number of faces of each split in the complete annotation of both parts.
OFFICIAL_COUNTS = {"lr": 47_046, "hr": 11_017}


def group(boxes: np.ndarray) -> np.ndarray:
    """Return the split of each box [n, 4] by its area: "lr" (20 to 40 px), "hr" (100 px on), "".

    The bounds are strict.
    """
    area = boxes[:, 2] * boxes[:, 3]
    return np.select([(area > 400) & (area < 1600), area > 10_000], ["lr", "hr"], "")


class Builder(FaceBuilder):
    """Boxes and no points: `lr` has 400 < w h < 1600, `hr` has w h > 10,000."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack WIDER_train.zip, WIDER_val.zip and wider_face_split.zip from
    http://shuoyang1213.me/WIDERFACE so that it holds WIDER_train/images, WIDER_val/images and
    wider_face_split
    """
    FEATURES = face_features(num_points=None)
    HOMEPAGE = "http://shuoyang1213.me/WIDERFACE/"
    FOLDERS = ("WIDER",)

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        faces: dict[str, list[tuple[str, Face]]] = {split: [] for split in OFFICIAL_COUNTS}
        for part in PARTS:
            records = read_annotation(root / "wider_face_split", part, report)
            if records is None:
                report.skip("the annotation is missing", f"wider_face_split/wider_face_{part}_*")
            for record in records or ():
                _add(part, record, faces, report)
        splits = {
            split: photos_at_hand(root, found, split, report) for split, found in faces.items()
        }
        for split, official in OFFICIAL_COUNTS.items():
            counts = report.counts[split]
            report.note(
                f"{split}: {counts['annotated']:,} faces annotated (complete annotation: "
                f"{official:,}), {counts['image at hand']:,} of them with their image at hand."
            )
        return splits


def _add(
    part: str, record: Record, faces: dict[str, list[tuple[str, Face]]], report: Report
) -> None:
    """Add the faces of one photograph to their splits; a box that is none is reported."""
    for i, (box, split) in enumerate(zip(record.boxes, group(record.boxes), strict=True)):
        name = f"{part}/{record.name}#{i}"
        try:
            check_box(box)
        except AnnotationError as error:
            report.skip(str(error), name)
            continue
        if split:
            image = f"WIDER_{part}/images/{record.name}"
            faces[split].append((image, Face(name, box, box)))
