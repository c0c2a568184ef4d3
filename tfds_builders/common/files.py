"""Opening what may be missing, truncated or tampered with, and saying so by name."""

import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import scipy.io
from PIL import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


class DatasetError(ValueError):
    """The folder at hand cannot be prepared; the message names the file and the remedy."""


class AnnotationError(ValueError):
    """One annotation is unusable. The message is a reason without names, fit for counting."""


def open_photo(source: pathlib.Path | BinaryIO) -> Image.Image:
    """Decodes a photograph, from its path or its bytes as a file, completely, as RGB.

    Any EXIF orientation is left alone: the datasets were annotated on the stored pixels.

    Raises:
      AnnotationError: if the file is truncated, or no image, or too large to be one.
    """
    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError("the image cannot be decoded (truncated or not an image)") from error


@functools.lru_cache(maxsize=256)
def _images_by_stem(folder: pathlib.Path) -> Mapping[str, pathlib.Path]:
    """The images of a folder by lower-case stem; the first in name order where two agree."""
    if not folder.is_dir():
        return {}
    found: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            found.setdefault(path.stem.lower(), path)
    return found


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files of a folder, by name; none if there is no such folder."""
    return sorted(_images_by_stem(folder).values())


def list_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """All image files of a folder, by name, also those that differ in their suffix alone."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file()
        ]
    return [folder / name for name in sorted(names)]


def find_image(root: pathlib.Path, name: str) -> pathlib.Path:
    """The image that an annotation calls `name`, whatever the case or the kind of its suffix.

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


def load_mat(path: pathlib.Path, *variables: str) -> dict[str, Any]:
    """Reads the named variables of a MATLAB file of version 4 to 7.2.

    Raises:
      DatasetError: if the file is missing, damaged, of version 7.3, or lacks a variable.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing; put the official file there.")
    try:
        content = scipy.io.loadmat(path, variable_names=variables)
    except NotImplementedError as error:
        raise DatasetError(
            f"{path} is a MATLAB 7.3 (HDF5) file; save it again with `save -v7`."
        ) from error
    except Exception as error:  # scipy raises a dozen kinds for damaged files
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}); fetch the official file again."
        ) from error
    for variable in variables:
        if variable not in content:
            raise DatasetError(f"{path} has no variable '{variable}'; it is not the official file.")
    return content


def numbers(value: Any, path: pathlib.Path, name: str) -> np.ndarray:
    """`value` as float64, or a DatasetError that names the file and the variable."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: '{name}' does not hold numbers; it is not the official file."
        ) from error


def cell_text(cell: Any) -> str:
    """The string in a MATLAB cell.

    Raises:
      ValueError: if the cell holds anything but one non-empty string.
    """
    value = np.ravel(np.asarray(cell, object))
    while value.size == 1 and isinstance(value[0], np.ndarray):
        value = np.ravel(value[0])
    if value.size != 1 or not isinstance(value[0], str) or not value[0]:
        raise ValueError("a name is not text")
    return str(value[0])


def forget_folders() -> None:
    """Looks at the folders anew from now on; to be called before each search of a dataset."""
    _images_by_stem.cache_clear()
