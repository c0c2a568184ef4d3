"""The builder of datasets whose photographs hold annotated faces: one record per face."""

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.common.builder import Example, RecordBuilder
from tfds_builders.common.crops import crop_face
from tfds_builders.common.faces import Face, Photo
from tfds_builders.common.files import AnnotationError, open_photo


def face_features(num_points: int | None, **extra: tfds.features.FeatureConnector) -> Example:
    """The features of a face record; all coordinates are in crop pixels.

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
    """The record of one face.

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


class FaceBuilder(RecordBuilder[Photo], skip_registration=True):
    """Writes the faces that `scan` finds, a photograph being decoded once per split."""

    def weight(self, item: Photo) -> int:
        return len(item.faces)

    def examples(self, item: Photo) -> list[Example]:
        try:
            image = open_photo(item.path)
        except AnnotationError as error:
            self.report.skip(str(error), item.name)
            return []
        examples = []
        for face in item.faces:
            try:
                examples.append(face_example(image, face))
            except AnnotationError as error:
                self.report.skip(str(error), face.name)
        return examples
