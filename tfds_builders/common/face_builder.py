"""The builder of datasets whose photographs hold annotated faces: one record per face."""

import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.geometry.points import LARGEST_COORDINATE

from .builder import Example, RecordBuilder
from .crops import check_box, crop_face
from .faces import Face, Photo
from .files import AnnotationError, find_image, open_photo
from .report import Report


def face_features(num_points: int | None, **extra: tfds.features.FeatureConnector) -> Example:
    """Return the features of a face record; all coordinates are in crop pixels.

    `box` is the dataset's own box, `face_box` the box in the networks' convention; a crop pixel p
    lies at `origin + (p + 0.5) / scale - 0.5` in the photograph.
    """
    points = {}
    if num_points is not None:
        points = {
            "points": tfds.features.Tensor(shape=(num_points, 2), dtype=np.float32),
            "visible": tfds.features.Tensor(shape=(num_points,), dtype=np.bool_),
        }
    return {
        "image": tfds.features.Image(shape=(None, None, 3)),
        **points,
        "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
        "face_box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
        "origin": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        "scale": tfds.features.Scalar(dtype=np.float32),
        "name": tfds.features.Text(),
        **extra,
    }


def face_example(photo: Image.Image, face: Face) -> Example:
    """Make the record of one face.

    Raises:
      AnnotationError: if the face is not on the photograph.
    """
    crop = crop_face(photo, face.face_box)
    example = {
        "image": crop.image,
        "box": crop.box_from_photo(face.box).astype(np.float32),
        "face_box": crop.box_from_photo(face.face_box).astype(np.float32),
        "origin": crop.origin.astype(np.float32),
        "scale": np.float32(crop.scale),
        "name": face.name,
        **face.extra,
    }
    if face.points is not None:
        example["points"] = crop.from_photo(face.points).astype(np.float32)
        example["visible"] = np.asarray(face.visible, np.bool_)
    return example


def photos_at_hand(
    folder: pathlib.Path, faces: Iterable[tuple[str, Face]], split: str, report: Report
) -> list[Photo]:
    """Gather a split's faces by photograph, in the order of their first face.

    Counts those annotated and those whose image is at hand; a face whose box or points are
    unusable, and a photograph that is missing, is reported.

    Args:
      faces: the name of the image in `folder`, and a face on it.
    """
    by_image: dict[str, list[Face]] = {}
    report.count(split, "annotated", 0)
    report.count(split, "image at hand", 0)
    for name, face in faces:
        report.count(split, "annotated")
        try:
            check_box(face.box)
            if face.points is not None and not np.isfinite(face.points).all():
                raise AnnotationError("the points are not finite")
            if face.points is not None and (np.abs(face.points) > LARGEST_COORDINATE).any():
                raise AnnotationError("the points are far away from any image")
        except AnnotationError as error:
            report.skip(str(error), face.name)
            continue
        by_image.setdefault(name, []).append(face)
    photos = []
    for name, found in by_image.items():
        photo_name = found[0].photo
        try:
            photos.append(Photo(find_image(folder, name), photo_name, tuple(found)))
            report.count(split, "image at hand", len(found))
        except AnnotationError as error:
            report.skip(str(error), photo_name)
    return photos


class FaceBuilder(RecordBuilder[Photo], skip_registration=True):
    """Writes the faces that `scan` finds, a photograph being decoded once per split."""

    def weight(self, item: Photo) -> int:
        return len(item.faces)

    def examples(self, item: Photo) -> list[Example]:
        image = open_photo(item.path)
        examples = []
        for face in item.faces:
            try:
                examples.append(face_example(image, face))
            except AnnotationError as error:
                self.report.skip(str(error), face.name)
        return examples
