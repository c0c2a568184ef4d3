"""MTFL's lists of faces, five points each, beside the folders of their pictures."""

import pathlib
from collections.abc import Iterator

import numpy as np

from lrjax.geometry.points import FIVE, face_box

from ..common import (
    AnnotationError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    face_features,
    parse_numbers,
    photos_at_hand,
    read_lines,
    tight_box,
)

FILES = {"train": "training.txt", "test": "testing.txt"}
OFFICIAL_COUNTS = {"train": 10_000, "test": 2_995}
COORDINATES = 2 * FIVE.count
ATTRIBUTES = 4
"""Gender, smile, glasses and pose, which may follow."""


class Builder(FaceBuilder):
    """Five points per face, all of them visible; `box` is the tight box of the points."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack MTFL.zip from http://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html so that it holds
    training.txt, testing.txt, lfw_5590, net_7876 and AFLW
    """
    FEATURES = face_features(FIVE.count)
    HOMEPAGE = "http://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html"
    FOLDERS = ("MTFL",)

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        splits: dict[str, list[Photo]] = {}
        for split, file in FILES.items():
            if (root / file).is_file():
                faces = read_faces(root / file, report)
            else:
                faces = iter(())
                report.skip("the annotation is missing", file)
            splits[split] = photos_at_hand(root, faces, split, report)
            counts = report.counts[split]
            report.note(
                f"{split}: {counts['annotated']:,} faces annotated (official list: "
                f"{OFFICIAL_COUNTS[split]:,}), {counts['image at hand']:,} of them with their "
                "image at hand."
            )
        return splits


def read_faces(path: pathlib.Path, report: Report) -> Iterator[tuple[str, Face]]:
    """Yield the picture and the face of each line; a line of another form is reported."""
    usable = 0
    for number, line in read_lines(path):
        picture, *fields = line.split()
        try:
            values = parse_numbers(fields, COORDINATES, COORDINATES + ATTRIBUTES)
        except AnnotationError as error:
            reason = f"the line is malformed (after the picture, {error})"
            report.skip(reason, f"{path.name}:{number}")
            continue
        picture = picture.replace("\\", "/")
        points = values[:COORDINATES].reshape(2, FIVE.count).T
        visible = np.ones(FIVE.count, bool)
        box = np.asarray(face_box(points, visible, FIVE), np.float64)
        yield picture, Face(f"{picture}#{usable}", tight_box(points), box, points, visible)
        usable += 1
