"""Pictures of faces: enlarged sheets, and points on them.

Faces of 20 pixels are shown enlarged by a whole number with nearest neighbours, so that a pixel
stays a pixel. Marks are drawn afterwards, at the enlarged resolution and at fractions of a pixel:
half a pixel of error in the picture would hide the errors that it is to show.

Pictures are RGB, uint8. Points are (x, y) with pixel centres at whole numbers: x lies at
(x + 0.5) * scale - 0.5 once enlarged.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.points import FIVE, SCHEMES

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

GREEN: Colour = (64, 255, 128)
ORANGE: Colour = (255, 170, 40)
OUTLINE: Colour = (10, 10, 10)

_GAP, _INK = 4, (40, 40, 40)


LINES = {scheme.count: scheme.lines for scheme in SCHEMES.values() if scheme != FIVE}
"""Which points are connected, by their number; five are drawn without lines."""


def enlarge(image: Picture, scale: int) -> Picture:
    """Enlarge [H, W, 3] or [n, H, W, 3] by a whole number, repeating pixels."""
    _check_image(image)
    if scale < 1:
        raise InputError(f"Scale {scale} is below 1; pictures are enlarged by whole numbers.")
    return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def draw_points(
    image: Picture,
    points: ArrayLike,
    scale: int = 1,
    visible: ArrayLike | None = None,
    colour: Colour = GREEN,
) -> Picture:
    """Draw points on one enlarged image and, for 68 and 19 points, lines between them.

    Args:
      image: [H, W, 3].
      points: [N, 2] in pixels of `image`; those outside are cut off at the border.
      scale: enlargement, a whole number.
      visible: [N] bool, all by default; other points, and lines that end in them, are not drawn.
      colour: RGB, 0..255.

    Returns:
      [H * scale, W * scale, 3], a new array.
    """
    return _mark_enlarged(enlarge(image, scale), points, visible, scale, colour)


def face_cells(
    images: Picture,
    points: ArrayLike,
    truth: ArrayLike | None = None,
    visible: ArrayLike | None = None,
    side: int = 128,
) -> list[Picture]:
    """Enlarge small faces to `side` pixels or more, with their points in green.

    Args:
      images: [n, s, s, 3].
      points: [n, N, 2] in pixels of the images.
      truth, visible: [n, M, 2] and [n, M], drawn over them in orange.
    """
    scale = max(1, side // images.shape[1])
    cells = [draw_points(*face, scale) for face in zip(images, np.asarray(points), strict=True)]
    if truth is None:
        return cells
    shown = [None] * len(cells) if visible is None else np.asarray(visible)
    return [
        _mark_enlarged(cell, at, seen, scale, ORANGE)
        for cell, at, seen in zip(cells, np.asarray(truth), shown, strict=True)
    ]


def face_sheet(
    images: Picture,
    points: ArrayLike,
    columns: int,
    truth: ArrayLike | None = None,
    visible: ArrayLike | None = None,
) -> Picture:
    """Show `face_cells` in a grid of so many columns."""
    return sample_grid(np.stack(face_cells(images, points, truth, visible)), columns)


def sample_grid(images: Picture, columns: int, scale: int = 1) -> Picture:
    """Show images [n, H, W, 3], enlarged, in rows of `columns` with a narrow white gap."""
    _check_image(images)
    if images.ndim != 4 or not len(images) or columns < 1:
        raise InputError("A grid needs at least one image [n, height, width, 3] and one column.")
    cells = enlarge(images, scale)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return _paste([("", list(row)) for row in rows], *cells.shape[1:3])


def labelled_rows(rows: Sequence[tuple[str, Sequence[Picture]]], cell: int) -> Picture:
    """Show rows of faces with a heading above each, as in K&C's Figure 4.

    Args:
      rows: (heading, images) each. Images may differ in size: the longer side of each becomes
        `cell` pixels, by repeating pixels where it divides it and bicubically elsewhere, and white
        fills up the rest of the square.
      cell: side of one face in the picture, in pixels.
    """
    if not rows or not all(len(images) for _, images in rows):
        raise InputError("Each row of a picture needs at least one image.")
    squares = [(heading, [_square(image, cell) for image in images]) for heading, images in rows]
    return _paste(squares, cell, cell)


def encode_png(image: Picture) -> bytes:
    """Return the bytes of a PNG file of [H, W, 3]."""
    _check_image(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def save_png(path: str | Path, image: Picture) -> None:
    """Write [H, W, 3] as a PNG file, atomically."""
    write_atomically(path, encode_png(image))


def mark(canvas: Picture, points: ArrayLike, colour: Colour, least: float = 1.2) -> None:
    """Draw the points of a face on a picture, in place: lines, and over them discs with a rim.

    Args:
      canvas: [H, W, 3].
      points: [N, 2] in its pixels; those that are NaN are not drawn.
      colour: RGB, 0..255.
      least: radius of the smallest disc.
    """
    points = np.asarray(points, np.float64)
    visible = np.isfinite(points).all(-1)
    if not visible.any():
        return
    radius = _mark_radius(points[visible], least)
    low = np.floor(points[visible].min(0) - radius - 3).astype(int).clip(0)
    high = np.ceil(points[visible].max(0) + radius + 4).astype(int)
    part = canvas[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if not part.size:
        return
    lines, rims, discs = np.zeros((3, *part.shape[:2]))
    at = points - low
    for i, j in LINES.get(len(at), ()):
        if visible[i] and visible[j]:
            _cover(lines, at[i], at[j], 0.45 * radius)
    for point in at[visible]:
        _cover(rims, point, point, radius + min(1.0, radius / 2))
        _cover(discs, point, point, radius)
    mixed = part.astype(np.float64)
    for cover, ink in ((0.75 * lines, colour), (0.7 * rims, OUTLINE), (discs, colour)):
        mixed += cover[..., None] * (ink - mixed)
    part[:] = np.rint(mixed)


def _cover(layer: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    """Cover a layer [H, W] in place by what lies within `radius` of a line, which has round ends.

    A pixel is covered by the share of it that a straight edge at its distance would leave.
    """
    low = np.floor(np.minimum(start, end) - radius - 1).astype(int).clip(0)
    high = np.ceil(np.maximum(start, end) + radius + 2).astype(int).clip(0)
    part = layer[low[1] : high[1], low[0] : high[0]]
    y, x = np.ogrid[low[1] : low[1] + part.shape[0], low[0] : low[0] + part.shape[1]]
    x, y, (across, down) = x - start[0], y - start[1], end - start
    length = across**2 + down**2
    along = ((x * across + y * down) / length).clip(0, 1) if length else 0.0
    distance = np.hypot(x - along * across, y - along * down)
    np.maximum(part, (radius + 0.5 - distance).clip(0, 1), out=part)


def _mark_enlarged(
    canvas: Picture, points: ArrayLike, visible: ArrayLike | None, scale: int, colour: Colour
) -> Picture:
    """Draw points [N, 2], visible [N], on a copy of a picture enlarged by `scale`."""
    points, visible = _check_points(points, visible)
    canvas = canvas.copy()
    at = np.where(visible[:, None], (points + 0.5) * scale - 0.5, np.nan)
    mark(canvas, at, colour, max(1.2, 0.2 * scale))
    return canvas


def _check_points(points: ArrayLike, visible: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    points = np.asarray(points, np.float64)
    visible = np.ones(len(points), bool) if visible is None else np.asarray(visible, bool)
    if points.ndim != 2 or points.shape[1] != 2 or visible.shape != points.shape[:1]:
        raise InputError(
            f"Points of shape {points.shape} with visibility {visible.shape} cannot be drawn; "
            "give [N, 2] and [N]."
        )
    if not np.isfinite(points[visible]).all():
        raise InputError("A visible point is not a finite number; mark it invisible to draw it.")
    return points, visible


def _mark_radius(points: NDArray[np.float64], least: float) -> float:
    """Radius of a mark that suits the face's size and number of points."""
    extent = float(np.ptp(points, axis=0).max())
    share = extent / (75.0 if len(points) > 30 else 40.0 if len(points) > 10 else 24.0)
    return max(least, min(share, 6.0))


def _square(image: Picture, side: int) -> Picture:
    """Resize one image to the middle of a white square."""
    _check_image(image)
    if image.ndim != 3:
        raise InputError(f"An image of a row has shape {image.shape}; give [height, width, 3].")
    whole = side % max(image.shape[:2]) == 0
    method = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    return np.asarray(ImageOps.pad(Image.fromarray(image), (side, side), method, "white"))


def _paste(rows: Sequence[tuple[str, Sequence[Picture]]], height: int, width: int) -> Picture:
    """Put images of one size into rows, with a heading above each row that has one."""
    across = max(len(images) for _, images in rows) * (width + _GAP) - _GAP
    # A wide sheet is seen at a third of its size on a phone.
    size = max(14, across // 45)
    font, line = ImageFont.load_default(size), size + 8
    label = max(math.ceil(font.getlength(heading)) + 4 for heading, _ in rows)
    down = sum((line if heading else 0) + height + _GAP for heading, _ in rows) - _GAP
    sheet = Image.new("RGB", (max(across, label), down), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for heading, images in rows:
        if heading:
            pen.text((2, top + 2), heading, fill=_INK, font=font)
            top += line
        for i, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (i * (width + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def _check_image(image: Picture) -> None:
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
        raise InputError(
            f"A picture has shape {image.shape} and type {image.dtype}; give RGB uint8."
        )
