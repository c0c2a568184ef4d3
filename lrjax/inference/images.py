"""Any image as 8-bit RGB, in the pixels in which it is stored."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile

from lrjax.data.examples import THREADS, read_ahead
from lrjax.errors import InputError
from lrjax.files import IMAGE_FORMATS

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""Files of a folder that count as images, in lower case."""

MAX_PIXELS = 178_956_970
"""Of an image that is decoded, which takes 512 MiB: Pillow's own limit."""

AT_ONCE, PIXELS_AT_ONCE = 64, 64_000_000
"""Images that are decoded together, and their pixels if they are more than one image's."""

_UPRIGHT = "upright"
# What `open_upright` notes in the `info` of an image.

ImageLike = np.ndarray | Image.Image | str | PathLike[str]
"""An array [H, W, 3] or [H, W] of uint8, a PIL image, or the name of a file."""

Opener = Callable[[], ImageFile]

# What Pillow tells of odd files, a user can do nothing about.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_rgb(path: str | PathLike[str]) -> Image.Image:
    """Decode an image file completely, as RGB.

    The orientation that EXIF may ask for is *not* applied: boxes and points are in the stored
    pixels, as the annotations of the face datasets are. Of an animation, the first frame counts.

    Raises:
      InputError: there is no such file, or it is not an image that can be decoded to the end.
    """
    return decode(open_image(path))


def decode_rgb(data: bytes, name: str) -> Image.Image:
    """Decode the bytes of an image file completely, as RGB; see `read_rgb`.

    Raises:
      InputError: they cannot be decoded to the end; the message calls them `name`.
    """
    return decode(open_image(data, name))


def open_image(source: bytes | str | PathLike[str], name: str | None = None) -> ImageFile:
    """Read the header of an image: its `size` is known then, and `decode` does the rest.

    Args:
      source: name of a regular file, or the bytes of one.
      name: what messages call it; by default the file's name.

    Raises:
      InputError: there is no such file, it is of none of `files.IMAGE_FORMATS`, or has more
        pixels than `MAX_PIXELS`.
    """
    name = str(source) if name is None else name
    file: io.BytesIO | str | PathLike[str]
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif not os.path.exists(source):
        raise InputError(f"The image {name} does not exist; check its name.")
    elif not os.path.isfile(source):
        raise _undecodable(name, "it is no regular file")
    else:
        file = source
    image = _trying(name, partial(Image.open, file, formats=IMAGE_FORMATS))
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _undecodable(name, f"its {image.width}x{image.height} pixels are too many")
    image.filename = name
    return image


def open_upright(source: str | PathLike[str]) -> ImageFile:
    """Do as `open_image`, but have the image turned, when it is decoded, as its EXIF data ask.

    For faces that are looked for, and of which no place in the stored pixels is told: a telephone
    stores what it takes on its side.
    """
    image = open_image(source)
    image.info[_UPRIGHT] = True
    return image


def decode(image: ImageFile) -> Image.Image:
    """Decode what `open_image` or `open_upright` has opened, as RGB, and close its file.

    Raises:
      InputError: it cannot be decoded to the end.
    """
    with image:
        return _trying(str(image.filename), partial(_turned_rgb, image))


def decode_in_parts(openers: Iterable[Opener]) -> Iterator[list[Image.Image | InputError]]:
    """Decode many images ahead of their turn, on threads, with bounded memory.

    Args:
      openers: call `open_image`, one for each image.

    Yields:
      consecutive images, or why there is none: at most `AT_ONCE`, and at most `PIXELS_AT_ONCE`
      pixels unless there is one image alone. The next part is decoded meanwhile.
    """

    def decode_all(part: list[ImageFile | InputError]) -> list[Image.Image | InputError]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(partial(_or_error, decode), part))

    opened = read_ahead(partial(_or_error, lambda opener: opener()), openers)
    return read_ahead(decode_all, _parts(opened), threads=1, ahead=1)


def _or_error(function: Callable[[Any], Any], item: Any) -> Any:
    """What the function makes of an item, or the error that it, or one before it, ended with."""
    if isinstance(item, InputError):
        return item
    try:
        return function(item)
    except InputError as error:
        return error


def _parts(opened: Iterable[ImageFile | InputError]) -> Iterator[list[ImageFile | InputError]]:
    part: list[ImageFile | InputError] = []
    pixels = 0
    for image in opened:
        size = 0 if isinstance(image, InputError) else image.width * image.height
        if part and (len(part) == AT_ONCE or pixels + size > PIXELS_AT_ONCE):
            yield part
            part, pixels = [], 0
        part.append(image)
        pixels += size
    if part:
        yield part


def as_rgb(image: ImageLike) -> Image.Image:
    """Turn an array, a PIL image or a file into RGB.

    Raises:
      InputError: the array has another shape or type, or the file cannot be read.
    """
    if isinstance(image, str | PathLike):
        return read_rgb(image)
    if isinstance(image, Image.Image):
        return _trying("given", partial(_rgb, image))
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
    """Tell an image from a sequence of them."""
    if isinstance(value, Sequence) and not isinstance(value, str | PathLike):
        return False
    return getattr(value, "ndim", 0) != 4


def list_images(folder: Path) -> list[str]:
    """List the image files of a folder and its folders by their names relative to it, sorted.

    What is hidden is passed over.

    Args:
      folder: where.

    Raises:
      InputError: it is not a folder, or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name a folder with images, or an image.")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    names = [name for name in names if not any(p.startswith(".") for p in name.split("/"))]
    if not names:
        raise InputError(
            f"The folder {folder} holds no image ({', '.join(SUFFIXES)}); name another."
        )
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
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _turned_rgb(image: ImageFile) -> Image.Image:
    """RGB, turned if that was asked for and there is a turn to make."""
    upright = image.info.get(_UPRIGHT) and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return _rgb(ImageOps.exif_transpose(image) if upright else image)


def _trying(name: str, function: Callable[[], Any]) -> Any:
    """Do something with Pillow, whose decoders raise whatever a damaged file makes of them."""
    try:
        return function()
    except Exception as error:
        text = str(error).strip().rstrip(".")
        if "cannot identify" in text:
            text = "not a known image format"
        raise _undecodable(name, text or type(error).__name__) from error


def _undecodable(name: str, reason: str) -> InputError:
    return InputError(f"The image {name} cannot be decoded ({reason}); replace the file.")
