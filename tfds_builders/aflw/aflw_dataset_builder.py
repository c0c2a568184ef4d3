"""The 19-point AFLW release: `AFLWinfo_release.mat` and the original photographs."""

import dataclasses
import pathlib

import numpy as np

from ..common import (
    DatasetError,
    Face,
    FaceBuilder,
    Photo,
    Report,
    cell_text,
    face_features,
    find_first,
    load_mat,
    numbers,
    photos_at_hand,
)

MAT_FILE = "AFLWinfo_release.mat"
NUM_FACES = 24_386
NUM_TRAIN = 20_000
NUM_POINTS = 19
# The test faces with all 19 points visible; older papers speak of 1,165 and give no list.
NUM_FRONTAL = 1_314
FACE_SHARE = 0.77
"""Side of the face box that networks are shown over that of AFLW's own box.

AFLW's squares are larger than what annotators draw about a face, which `geometry.points.face_box`
makes of 300W's points. LUVLi's and FAHCD's networks err by 2.28 and 2.08 % of the tight box of 19
points and by 1.39 and 1.30 % of the side of AFLW's box, which is therefore 1.62 tight boxes wide;
the face boxes of 300W's training faces are 1.24. Ours: 1.24 / 1.62. The paper is silent.
"""
IMAGE_FOLDERS = ("data/flickr", "aflw/data/flickr", "flickr", "images")


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
    """Read `AFLWinfo_release.mat`.

    Raises:
      DatasetError: if it is missing, damaged or not the official file.
    """
    content = load_mat(path, "bbox", "data", "mask_new", "nameList", "ra")
    boxes, points, mask, order = (
        numbers(content[name], path, name) for name in ("bbox", "data", "mask_new", "ra")
    )

    def refuse_unless(fine: bool, what: str) -> None:
        if not fine:
            raise DatasetError(f"{path}: {what}; it is not the official file.")

    for name, array, width in (("bbox", boxes, 4), ("data", points, 38), ("mask_new", mask, 19)):
        shape = (NUM_FACES, width)
        refuse_unless(array.shape == shape, f"'{name}' is {array.shape}, not {shape}")
    permutation = np.array_equal(np.sort(order, axis=None), np.arange(1, NUM_FACES + 1))
    refuse_unless(permutation, f"'ra' is not a permutation of 1 to {NUM_FACES:,}")
    refuse_unless(bool(np.isin(mask, (0, 1)).all()), "'mask_new' holds more than 0 and 1")
    try:
        names = tuple(cell_text(cell) for cell in content["nameList"])
    except ValueError as error:
        raise DatasetError(
            f"{path}: in 'nameList' {error}; it is not the official file."
        ) from error
    refuse_unless(len(names) == NUM_FACES, f"'nameList' holds {len(names)} names, not {NUM_FACES}")
    rows = np.ravel(order).astype(int) - 1
    left, right, top, bottom = boxes.T
    return Annotation(
        names=names,
        # From pixel centre to pixel centre: half a pixel of either rim is not in it.
        boxes=np.stack([left - 0.5, top - 0.5, right - left, bottom - top], axis=1),
        points=points.reshape(NUM_FACES, 2, NUM_POINTS).swapaxes(1, 2) - 1,
        visible=mask == 1,
        train=rows[:NUM_TRAIN],
        test=rows[NUM_TRAIN:],
    )


class Builder(FaceBuilder):
    """19 points with visibility; `box` is AFLW's own square, `face_box` a smaller one inside."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    ask TU Graz for AFLW and fetch AFLWinfo_release.mat from the compositional-learning page of the
    CUHK multimedia laboratory, so that it holds AFLWinfo_release.mat and data/flickr/{0,2,3}
    """
    FEATURES = face_features(NUM_POINTS)
    HOMEPAGE = "https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw"
    FOLDERS = ("AFLW",)

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Photo]]:
        annotation = read_annotation(root / MAT_FILE)
        frontal = annotation.test[annotation.visible[annotation.test].all(axis=1)]
        rows = {"train": annotation.train, "test": annotation.test, "frontal": frontal}
        folder = find_first(root, *IMAGE_FOLDERS) or root
        report.note(
            f"frontal: the {len(frontal):,} test faces with all {NUM_POINTS} points visible "
            f"(official release: {NUM_FRONTAL:,})."
        )
        return {
            split: photos_at_hand(
                folder,
                ((annotation.names[row], _face(annotation, row)) for row in chosen),
                split,
                report,
            )
            for split, chosen in rows.items()
        }


def _face(annotation: Annotation, row: int) -> Face:
    x, y, w, h = annotation.boxes[row]
    rim = (1 - FACE_SHARE) / 2
    return Face(
        name=f"{annotation.names[row]}#{row}",
        box=annotation.boxes[row],
        face_box=np.array([x + rim * w, y + rim * h, FACE_SHARE * w, FACE_SHARE * h]),
        points=annotation.points[row],
        visible=annotation.visible[row],
    )
