"""What the face datasets share: their records, their crops, and how bad files are reported."""

# ruff: noqa: F401
from .builder import DrawnBuilder, Example, RecordBuilder
from .crops import Crop, check_box, crop_face
from .face_builder import FaceBuilder, face_features, photos_at_hand
from .faces import Face, Photo, box_centre, tight_box
from .files import (
    AnnotationError,
    DatasetError,
    find_first,
    find_image,
    list_files,
    list_images,
    official_bytes,
    open_photo,
    parse_numbers,
    photo_size,
    read_lines,
)
from .identities import (
    NOBODY,
    IdentityBuilder,
    Portrait,
    decode,
    identity_features,
    list_people,
    note_counts,
    points_features,
    read_bytes,
)
from .mats import cell_text, load_mat, numbers
from .report import REPORT_FILE, Report
