"""Any image as 8-bit RGB, in the pixels in which it is stored."""

from __future__ import annotations

import io
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrjax.errors import InputError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""Files of a folder that count as images, in lower case."""

ImageLike = np.ndarray | Image.Image | str | PathLike[str]
"""An array [H, W, 3] or [H, W] of uint8, a PIL image, or the name of a file."""


def read_rgb(path: str | PathLike[str]) -> Image.Image:
    """An image file as RGB, decoded completely.

    The orientation that EXIF may ask for is *not* applied: boxes and points are in the stored
    pixels, as the annotations of the face datasets are. Of an animation, the first frame counts.

    Raises:
      InputError: there is no such file, or it is not an image that can be decoded to the end.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"The image {path} does not exist; check its name.") from error
    except (OSError, ValueError) as error:
        raise _undecodable(str(path), error) from error
    return decode_rgb(data, str(path))


def decode_rgb(data: bytes, name: str) -> Image.Image:
    """The bytes of an image file as RGB, decoded completely; see `read_rgb`.

    Raises:
      InputError: they cannot be decoded to the end; the message calls them `name`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return _rgb(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _undecodable(name, error) from error


def as_rgb(image: ImageLike) -> Image.Image:
    """An array, a PIL image or a file as RGB.

    Raises:
      InputError: the array has another shape or type, or the file cannot be read.
    """
    if isinstance(image, str | PathLike):
        return read_rgb(image)
    if isinstance(image, Image.Image):
        return _rgb(image)
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    grey, colour = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (grey or colour) or not array.size:
        raise InputError(
            f"An image has shape {array.shape} and type {array.dtype}; give uint8 RGB "
            "[height, width, 3] in 0..255."
        )
    return _rgb(Image.fromarray(array))


def is_one_image(value: Any) -> bool:
    """Whether `value` is an image, and not a sequence of them."""
    if isinstance(value, Sequence) and not isinstance(value, str | PathLike):
        return False
    return getattr(value, "ndim", 0) != 4


def list_images(folder: Path) -> list[str]:
    """The names of a folder's image files, sorted.

    Raises:
      InputError: it is not a folder, or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name a folder with images, or an image.")
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not names:
        raise InputError(f"The folder {folder} holds no image ({', '.join(SUFFIXES)}).")
    return names


def walk_images(folder: Path) -> list[str]:
    """The names, relative to a folder, of the image files in it and in its folders, sorted.

    What is hidden is passed over.

    Raises:
      InputError: it is not a folder, or there is no image.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name a folder with images, or an image.")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not names:
        raise InputError(f"The folder {folder} holds no image ({', '.join(SUFFIXES)}).")
    return names


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; what is transparent turns black, as everything beyond an image is."""
    if min(image.size) < 1:
        raise InputError("An image has no pixels; replace it.")
    if image.mode.startswith("I;16"):  # Pillow would clip these at 255, which is nearly black
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise InputError("An image has 32 bits per pixel; save it with 8 or 16.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")
    return image.convert("RGB")


def _undecodable(name: str, error: Exception) -> InputError:
    return InputError(f"The image {name} cannot be decoded ({_reason(error)}); replace the file.")


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return "not a known image format" if "cannot identify" in text else text or type(error).__name__
