"""What the face datasets share: their records, their crops, and how bad files are reported."""

from tfds_builders.common.builder import FaceBuilder, face_features
from tfds_builders.common.crops import Crop, crop_face
from tfds_builders.common.faces import Face, Photo, tight_box
from tfds_builders.common.files import (
    AnnotationError,
    DatasetError,
    find_image,
    list_images,
    load_mat,
    open_photo,
)
from tfds_builders.common.report import REPORT_FILE, Report

__all__ = [
    "REPORT_FILE",
    "AnnotationError",
    "Crop",
    "DatasetError",
    "Face",
    "FaceBuilder",
    "Photo",
    "Report",
    "crop_face",
    "face_features",
    "find_image",
    "list_images",
    "load_mat",
    "open_photo",
    "tight_box",
]
