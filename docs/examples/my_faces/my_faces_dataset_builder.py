"""A dataset of one's own: a folder of pictures with one face each, all at one place."""

from pathlib import Path

import numpy as np

from lrjax.geometry.points import FIVE

from ..common import Face, FaceBuilder, Photo, Report, face_features, tight_box


class Builder(FaceBuilder):
    """Reads a folder of PNG files."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder of pictures"
    FEATURES = face_features(FIVE.count)
    FOLDERS = ("mine",)  # where it is looked for in LRJAX_DATA

    def scan(self, root: Path, report: Report) -> dict[str, list[Photo]]:
        """List the photographs of each split, and the faces in them."""
        points = np.array([[20, 20], [40, 20], [30, 30], [22, 42], [38, 42]], np.float64)
        box, visible = tight_box(points), np.ones(5, bool)
        photos = [
            Photo(path, path.name, (Face(path.name, box, box, points, visible),))
            for path in sorted(root.glob("*.png"))
        ]
        return {"train": photos}
