"""Faces of WIDER FACE by size, as Kumar and Chellappa split them."""

import pathlib
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.common import (
    AnnotationError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    face_features,
    find_image,
)
from tfds_builders.common.crops import check_box
from tfds_builders.wider_face_crops.annotations import Record, read_annotation

PARTS = ("train", "val")
# The number of faces of each split in the complete annotation of both parts.
OFFICIAL_COUNTS = {"lr": 47_046, "hr": 11_017}


def group(boxes: np.ndarray) -> np.ndarray:
    """The split of each box [n, 4] by its area: "lr" (20 to 40 px), "hr" (from 100 px), or ""."""
    area = boxes[:, 2] * boxes[:, 3]
    return np.select([(area > 400) & (area < 1600), area > 10_000], ["lr", "hr"], "")


class Builder(FaceBuilder):
    """Boxes and no points: `lr` has 400 < w h < 1600, `hr` has w h > 10,000."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack WIDER_train.zip, WIDER_val.zip and wider_face_split.zip from
    http://shuoyang1213.me/WIDERFACE so that it holds WIDER_train/images, WIDER_val/images and
    wider_face_split
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(face_features(num_points=None)),
            homepage="http://shuoyang1213.me/WIDERFACE/",
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        splits: dict[str, list[Photo]] = {name: [] for name in OFFICIAL_COUNTS}
        for split in splits:
            report.count(split, "annotated", 0)
            report.count(split, "image at hand", 0)
        for part in PARTS:
            records = read_annotation(root / "wider_face_split", part, report)
            if records is None:
                report.skip("the annotation is missing", f"wider_face_split/wider_face_{part}_*")
                continue
            for record in records:
                _add(root, part, record, splits, report)
        for split, official in OFFICIAL_COUNTS.items():
            annotated = report.counts[split]["annotated"]
            at_hand = report.counts[split]["image at hand"]
            report.note(
                f"{split}: {annotated:,} faces annotated (complete annotation: {official:,}), "
                f"{at_hand:,} of them with their image at hand."
            )
        return splits


def _add(
    root: pathlib.Path, part: str, record: Record, splits: dict[str, list[Photo]], report: Report
) -> None:
    """Counts the faces of one photograph and adds it to the splits it has faces of."""
    name = f"{part}/{record.name}"
    faces: dict[str, list[Face]] = {split: [] for split in splits}
    for i, (box, split) in enumerate(zip(record.boxes, group(record.boxes), strict=True)):
        try:
            check_box(box)
        except AnnotationError as error:
            report.skip(str(error), f"{name}#{i}")
            continue
        if split:
            faces[split].append(Face(name=f"{name}#{i}", box=box, face_box=box))
            report.count(split, "annotated")
    if not any(faces.values()):
        return
    try:
        image = find_image(root / f"WIDER_{part}" / "images", record.name)
    except AnnotationError as error:
        report.skip(str(error), name)
        return
    for split, found in faces.items():
        if found:
            splits[split].append(Photo(image, name, tuple(found)))
            report.count(split, "image at hand", len(found))
