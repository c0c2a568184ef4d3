"""What the face datasets share: their records, their crops, and how bad files are reported."""

from tfds_builders.common.builder import DrawnBuilder, RecordBuilder
from tfds_builders.common.crops import Crop, crop_face
from tfds_builders.common.face_builder import FaceBuilder, face_features
from tfds_builders.common.faces import Face, Photo, tight_box
from tfds_builders.common.files import (
    AnnotationError,
    DatasetError,
    find_image,
    list_images,
    load_mat,
    open_photo,
)
from tfds_builders.common.identities import (
    NOBODY,
    IdentityBuilder,
    Portrait,
    identity_features,
    note_counts,
    points_features,
)
from tfds_builders.common.report import REPORT_FILE, Report

__all__ = [
    "NOBODY",
    "REPORT_FILE",
    "AnnotationError",
    "Crop",
    "DatasetError",
    "DrawnBuilder",
    "Face",
    "FaceBuilder",
    "IdentityBuilder",
    "Photo",
    "Portrait",
    "RecordBuilder",
    "Report",
    "crop_face",
    "face_features",
    "find_image",
    "identity_features",
    "list_images",
    "load_mat",
    "note_counts",
    "open_photo",
    "points_features",
    "tight_box",
]
