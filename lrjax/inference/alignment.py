"""One face of each picture, laid onto a template by its five points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from lrjax.data.examples import read_ahead
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.crop import crop, resample
from lrjax.geometry.fits import Fit, fit_template
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.images import ImageLike, as_rgb, decode_rgb, open_image

RESIZE_MODES = ("stretch", "pad")
"""How a face without usable points is resized: to the template's shape whatever its own is, which
suits tight crops, or with black beside it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """Hold faces on a template.

    Attributes:
      images: uint8 [n, H, W, 3]; black beyond the pictures, but for the border of stretched ones,
        which repeats their edge.
      aligned: bool [n]; False: the points could not be used, and the face box was resized.
      points: float32 [n, 5, 2] in pixels of the pictures; NaN where not visible or not found.
      note: how they were aligned, and how many were not.
    """

    images: np.ndarray
    aligned: np.ndarray
    points: np.ndarray
    note: str

    def __len__(self) -> int:
        return len(self.images)


def align_faces(
    images: Sequence[ImageLike],
    points: np.ndarray,
    visible: np.ndarray,
    template: Template,
    fit: Fit = "similarity",
    *,
    boxes: np.ndarray | None = None,
    resize_mode: str = "stretch",
    border: int = 0,
) -> Aligned:
    """Lay one face of each image onto a template.

    Args:
      images: n pictures.
      points: [n, 5, 2] (x, y) in their pixels: left and right eye, nose tip, left and right mouth
        corner, as the viewer sees them.
      visible: bool [n, 5]; the others are not used.
      template: where the points shall be.
      fit: "similarity", or "affine", which needs three points. Never a reflection.
      boxes: [n, 4] (x, y, w, h) of the faces, which are shown where the points do not determine the
        fit (see `geometry.fits.fit_template`). None: the whole pictures.
      resize_mode: how the boxes are resized then, one of `RESIZE_MODES`.
      border: pixels that each face shows beyond the template on every side. What the template shows
        is the same with any border. Around a face that is stretched to the template, which shows no
        black without a border, the picture's edge goes on: shifted crops shall show none either.
    """
    photos = [as_rgb(image) for image in images]
    points = np.asarray(points, np.float32).reshape(-1, 5, 2)
    visible = np.asarray(visible, bool).reshape(-1, 5)
    sizes = np.array([photo.size for photo in photos], np.float64).reshape(-1, 2)
    if boxes is None:
        boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
    transforms, sound = fit_template(points, visible, template, fit, sizes)
    transforms[..., 2] -= transforms[..., :2].sum(-1) * border
    height, width = template.height + 2 * border, template.width + 2 * border

    def cut(i: int) -> np.ndarray:
        if sound[i]:
            return resample(photos[i], transforms[i], height, width)
        box = np.asarray(boxes[i], np.float64)
        sides = _in_shape(box[2:], template) if resize_mode == "pad" else box[2:]
        sides = sides * (width / template.width, height / template.height)
        box = np.concatenate([box[:2] + (box[2:] - sides) / 2, sides])
        repeat = resize_mode == "stretch"
        return crop(photos[i], box, height, width, fade=False, repeat=repeat)

    crops = list(read_ahead(cut, range(len(photos))))
    return Aligned(
        images=np.array(crops, np.uint8).reshape(-1, height, width, 3),
        aligned=sound,
        points=np.where(visible[..., None], points, np.float32(np.nan)),
        note=describe(sound, template, f"by their points ({fit})"),
    )


def describe(aligned: np.ndarray, template: Template, how: str) -> str:
    """Say in words how faces were aligned, and how many [n] were not; no `how`: none was to be."""
    count, size = len(aligned), f"{template.width}x{template.height}"
    if not how:
        return f"{count:,} faces resized to {size}, none aligned"
    done = int(np.sum(aligned))
    text = f"{done:,} of {count:,} faces aligned to {template.name} {how}"
    return text if done == count else f"{text}; {count - done:,} could not be and were resized"


def _in_shape(sides: np.ndarray, template: Template) -> np.ndarray:
    """The least sides (w, h), in the proportion of the template's, that are not below `sides`."""
    shape = np.array([template.width, template.height])
    return (sides / shape).max() * shape


def resize_longer(photo: Image.Image, side: int) -> Image.Image:
    """Resize a picture in its shape, bilinearly, to a longer side of so many pixels."""
    factor = side / max(photo.size)
    width, height = (max(1, round(length * factor)) for length in photo.size)
    return photo.resize((width, height), Image.Resampling.BILINEAR)


def resize_face(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a face uint8 [h, w, 3] bilinearly."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def scaled_points(points: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Move points with an image that was resized by `factors`, both (x, y) along the last axis."""
    return (points + 0.5) * factors - 0.5


def find_template(name: str) -> Template:
    """Look up a template.

    Raises:
      InputError: there is none of that name.
    """
    if name not in TEMPLATES:
        raise InputError(f"There is no template {name!r}; there are {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def decode_identity(identities: Identities, index: int) -> Image.Image:
    """Decode a picture of a split, as RGB.

    Raises:
      InputError: it cannot be decoded.
    """
    try:
        return decode_rgb(identities.images[index], identities.names[index])
    except InputError as error:
        reason = str(error).removesuffix("; replace the file.")
        raise InputError(f"{reason}; replace it and prepare the dataset again.") from error


def open_identity(identities: Identities, index: int) -> ImageFile:
    """Open a picture of a split, as `images.open_image` does.

    Raises:
      InputError: it is no image.
    """
    return open_image(identities.images[index], identities.names[index])
