"""Opening what may be missing, truncated or tampered with, and saying so by name."""

import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from lrjax.errors import InputError
from lrjax.files import IMAGE_FORMATS, read_bytes
from lrjax.geometry.points import LARGEST_COORDINATE

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MOST_PIXELS = 64_000_000
"""Of a photograph; eight of them are decoded at once, which takes 1.5 GB."""

Result = TypeVar("Result")

# What Pillow tells of odd files, a user can do nothing about.
warnings.filterwarnings("ignore", module=r"PIL\.")


class DatasetError(InputError):
    """The folder at hand cannot be prepared; the message names the file and the remedy."""


class AnnotationError(ValueError):
    """One annotation is unusable. The message is a reason without names, fit for counting."""


def open_photo(source: pathlib.Path | BinaryIO) -> Image.Image:
    """Decode a photograph, from its path or its bytes as a file, completely, as RGB.

    Any EXIF orientation is left alone: the datasets were annotated on the stored pixels.

    Raises:
      AnnotationError: if the file is truncated, or no image, or larger than `MOST_PIXELS`.
    """
    return _tried(source, lambda image: image.convert("RGB"))


def photo_size(path: pathlib.Path) -> tuple[int, int]:
    """Read the width and height of a photograph.

    Raises:
      AnnotationError: as for `open_photo`, but what follows them is not read.
    """
    return _tried(path, lambda image: image.size)


def _tried(source: pathlib.Path | BinaryIO, function: Callable[[Image.Image], Result]) -> Result:
    """Do something with an image; Pillow raises whatever a damaged file makes of its decoders."""
    if isinstance(source, pathlib.Path) and not source.is_file():
        raise AnnotationError("the image is no regular file")
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError
            return function(image)
    except Exception as error:
        raise AnnotationError("the image cannot be decoded (truncated or not an image)") from error


def list_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """List all image files of a folder, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file()
        ]
    return [folder / name for name in sorted(names)]


@functools.lru_cache(maxsize=256)
def _images_by_stem(folder: pathlib.Path) -> Mapping[str, pathlib.Path]:
    """The images of a folder by lower-case stem; the first in name order where two agree."""
    return {path.stem.lower(): path for path in reversed(list_files(folder))}


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the image files of a folder, by name, one of those that differ in their suffix alone."""
    return sorted(_images_by_stem(folder).values())


def forget_folders() -> None:
    """Look at the folders anew from now on; to be called before each search of a dataset."""
    _images_by_stem.cache_clear()


def find_image(root: pathlib.Path, name: str) -> pathlib.Path:
    """Find the image that an annotation calls `name`, whatever the case or kind of its suffix.

    Raises:
      AnnotationError: if there is none, or if `name` points outside `root`.
    """
    relative = pathlib.PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not relative.name or "\0" in name:
        raise AnnotationError("the image's name leaves the dataset's folder")
    exact = root / relative
    try:
        if exact.is_file():
            return exact
        image = _images_by_stem(exact.parent).get(exact.stem.lower())
    except OSError:  # the file system accepts no such name
        image = None
    if image is None:
        raise AnnotationError("the image is missing")
    return image


def find_first(root: pathlib.Path, *places: str) -> pathlib.Path | None:
    """Find the first of some places of a file or folder under `root` that exists."""
    return next((root / place for place in places if (root / place).exists()), None)


def official_bytes(path: pathlib.Path) -> bytes:
    """Read an annotation file.

    Raises:
      DatasetError: if it cannot be read, or is not a regular file of a size that one has.
    """
    try:
        return read_bytes(path, "annotation", "put the official file there")
    except InputError as error:
        raise DatasetError(str(error)) from error


def read_lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without surrounding blanks) of the lines that are not empty.

    Raises:
      DatasetError: if the file cannot be read.
    """
    text = official_bytes(path).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def parse_numbers(fields: Sequence[str], *counts: int, whole: bool = False) -> np.ndarray:
    """Parse (`whole`) numbers up to `LARGEST_COORDINATE`, as float64 [n], n being one of `counts`.

    Raises:
      AnnotationError: if they are anything else.
    """
    try:
        values = np.array([int(field) if whole else float(field) for field in fields], np.float64)
    except (ValueError, OverflowError) as error:
        raise AnnotationError("not whole numbers" if whole else "not numbers") from error
    if len(values) not in counts:
        raise AnnotationError(f"not {counts[0]} numbers")
    if not np.isfinite(values).all():
        raise AnnotationError("not finite")
    if (np.abs(values) > LARGEST_COORDINATE).any():
        raise AnnotationError("far too large")
    return values
