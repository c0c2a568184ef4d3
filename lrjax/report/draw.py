"""Pictures of faces: enlarged grids, points on them, heatmaps over them.

Faces of 20 pixels are shown enlarged by a whole number with nearest neighbours, so that a pixel
stays a pixel. Marks are drawn afterwards, at the enlarged resolution. They are rasterised here from
their distance to each pixel centre, and not with a drawing library, because those round coordinates
to pixels, and half a pixel of error in the picture would hide the errors that it is to show.

Points are (x, y) with pixel centres at whole numbers: x lies at (x + 0.5) * scale - 0.5 once
enlarged.
"""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from lrjax.errors import InputError
from lrjax.files import write_atomically

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

GREEN: Colour = (64, 255, 128)
ORANGE: Colour = (255, 170, 40)
OUTLINE: Colour = (10, 10, 10)

_GAP = 4
_PAPER = 255


def _chain(first: int, last: int, closed: bool = False) -> list[tuple[int, int]]:
    ring = [(last, first)] if closed else []
    return [*pairwise(range(first, last + 1)), *ring]


LINES: dict[int, list[tuple[int, int]]] = {
    # iBUG-68: jaw, brows, nose ridge and base, eyes, outer and inner lips.
    68: _chain(0, 16) + _chain(17, 21) + _chain(22, 26) + _chain(27, 30) + _chain(31, 35)
    + _chain(36, 41, True) + _chain(42, 47, True) + _chain(48, 59, True) + _chain(60, 67, True),
    # AFLW-19: brows, eyes, nose base, mouth.
    19: _chain(0, 2) + _chain(3, 5) + _chain(6, 8) + _chain(9, 11) + _chain(12, 14)
    + _chain(15, 17),
}  # fmt: skip
"""Which points are connected, by their number; other schemes are drawn without lines."""


def enlarge(image: Picture, scale: int) -> Picture:
    """Nearest-neighbour enlargement of [H, W, 3] or [n, H, W, 3] by a whole number."""
    _check_image(image)
    if scale < 1:
        raise InputError(f"Scale {scale} is below 1; pictures are enlarged by whole numbers.")
    return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def sample_grid(images: Picture, columns: int, scale: int) -> Picture:
    """Images [n, H, W, 3] uint8, enlarged, in rows of `columns` with a narrow white gap.

    Returns:
      one picture [height, width, 3] uint8; the last row is filled up with white.
    """
    _check_image(images)
    if images.ndim != 4 or not len(images) or columns < 1:
        raise InputError("A grid needs at least one image [n, height, width, 3] and one column.")
    cells = enlarge(images, scale)
    columns = min(columns, len(cells))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return np.concatenate([_strip(row, columns) for row in rows])[:-_GAP]


def labelled_rows(rows: Sequence[tuple[str, Sequence[Picture]]], cell: int) -> Picture:
    """Rows of faces with a heading above each, as in the paper's Figure 4.

    Args:
      rows: (heading, images uint8) each. Images may differ in size: the longer side of each becomes
        `cell` pixels, by repeating pixels where it divides it and bicubically elsewhere, and white
        fills up the rest of the square.
      cell: side of one face in the picture, in pixels.
    """
    if not rows or not all(len(images) for _, images in rows):
        raise InputError("Each row of a picture needs at least one image.")
    columns = max(len(images) for _, images in rows)
    parts = []
    for heading, images in rows:
        strip = _strip(np.stack([_in_cell(image, cell) for image in images]), columns)
        parts += [_heading(heading, strip.shape[1]), strip]
    return np.concatenate(parts)[:-_GAP]


def _in_cell(image: Picture, cell: int) -> Picture:
    """One image [H, W, 3] in the middle of a white square of side `cell`."""
    _check_image(image)
    if image.ndim != 3:
        raise InputError(f"An image of a row has shape {image.shape}; give [height, width, 3].")
    longer = max(image.shape[:2])
    if cell % longer == 0:
        image = enlarge(image, cell // longer)
    else:
        size = [max(1, round(cell * side / longer)) for side in image.shape[1::-1]]
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = ((cell - side) // 2 for side in image.shape[:2])
    square = np.full((cell, cell, 3), _PAPER, np.uint8)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


def draw_points(
    image: Picture, points: ArrayLike, visible: ArrayLike, colour: Colour, scale: int
) -> Picture:
    """One image [H, W, 3] enlarged, with its points and, for 68 and 19 points, lines.

    Args:
      image: uint8 RGB.
      points: [N, 2] in pixels of `image`; those outside are cut off at the border.
      visible: [N] bool; other points, and lines that end in them, are not drawn.
      colour: RGB, 0..255.
      scale: enlargement, a whole number.

    Returns:
      [H * scale, W * scale, 3] uint8, a new array.
    """
    return overlay_points(enlarge(image, scale), points, visible, colour, scale)


def overlay_points(
    canvas: Picture, points: ArrayLike, visible: ArrayLike, colour: Colour, scale: int
) -> Picture:
    """As `draw_points`, on a picture already enlarged by `scale` (e.g. for a second set)."""
    _check_image(canvas)
    points = (np.asarray(points, np.float64) + 0.5) * scale - 0.5
    visible = np.asarray(visible, bool)
    if points.ndim != 2 or points.shape[1] != 2 or visible.shape != points.shape[:1]:
        raise InputError(
            f"Points of shape {points.shape} with visibility {visible.shape} cannot be drawn; "
            "give [N, 2] and [N]."
        )
    if not np.isfinite(points[visible]).all():
        raise InputError("A visible point is not a finite number; mark it invisible to draw it.")
    out = canvas.astype(np.float64)
    if visible.any():
        radius = _mark_radius(points[visible], scale)
        for a, b in LINES.get(len(points), []):
            if visible[a] and visible[b]:
                _stroke(out, points[a], points[b], 0.45 * radius, colour, 0.75)
        for point in points[visible]:
            _stroke(out, point, point, radius + 1.0, OUTLINE, 0.7)
            _stroke(out, point, point, radius, colour, 1.0)
    return (out + 0.5).astype(np.uint8)


def face_sheet(
    images: Picture,
    points: ArrayLike,
    columns: int,
    truth: ArrayLike | None = None,
    visible: ArrayLike | None = None,
) -> Picture:
    """Small faces in a grid, enlarged to 128 pixels or more, with their points in green.

    Args:
      images: [n, s, s, 3].
      points: [n, N, 2] in pixels of the images.
      columns: of the grid.
      truth, visible: [n, M, 2] and [n, M], drawn over them in orange.
    """
    scale = max(1, 128 // images.shape[1])
    everything = np.ones(np.shape(points)[1], bool)
    cells = []
    for i, image in enumerate(images):
        canvas = draw_points(image, points[i], everything, GREEN, scale)
        if truth is not None:
            canvas = overlay_points(canvas, truth[i], visible[i], ORANGE, scale)
        cells.append(canvas)
    return sample_grid(np.stack(cells), columns, 1)


def heatmap_overlay(image: Picture, heatmaps: ArrayLike, scale: int) -> Picture:
    """The strongest of N heatmaps at each pixel, as a glow over the enlarged image.

    Args:
      image: [H, W, 3] uint8.
      heatmaps: [H, W, N], the points' channels without the background; clipped to [0, 1].
      scale: enlargement, a whole number.
    """
    from matplotlib import colormaps

    _check_image(image)
    heatmaps = np.asarray(heatmaps, np.float64)
    if heatmaps.ndim != 3 or heatmaps.shape[:2] != image.shape[:2] or not heatmaps.shape[2]:
        raise InputError(
            f"Heatmaps of shape {heatmaps.shape} do not lie over an image of shape {image.shape}; "
            "give [H, W, N] of the same size."
        )
    if not np.isfinite(heatmaps).all():
        raise InputError("The heatmaps hold values that are not finite; check the model's state.")
    strength = heatmaps.max(axis=-1).clip(0.0, 1.0)
    glow = 255.0 * colormaps["inferno"](0.25 + 0.75 * strength)[..., :3]
    weight = 0.85 * strength[..., None]
    grey = image.mean(axis=-1, keepdims=True)
    blended = (1 - weight) * (0.5 * image + 0.5 * grey) + weight * glow
    return enlarge((blended + 0.5).astype(np.uint8), scale)


def encode_png(image: Picture) -> bytes:
    """The bytes of a PNG file of [H, W, 3] uint8."""
    _check_image(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: str | Path, image: Picture) -> None:
    """Write [H, W, 3] uint8 as a PNG file, atomically."""
    write_atomically(path, encode_png(image))


def _mark_radius(points: NDArray[np.float64], scale: int) -> float:
    """Radius of a mark, in enlarged pixels, that suits the face's size and number of points."""
    extent = float(np.ptp(points, axis=0).max())
    share = extent / (75.0 if len(points) > 30 else 40.0 if len(points) > 10 else 24.0)
    return max(1.2, 0.2 * scale, min(share, 6.0))


def _stroke(
    canvas: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    colour: Colour,
    opacity: float,
) -> None:
    """Blend a round-ended line (a disc, if it has no length) into `canvas`, in place.

    A pixel is covered by 0.5 + radius - its centre's distance to the line, clipped to [0, 1]: the
    share of it that lies within the line, exact for straight edges.
    """
    height, width = canvas.shape[:2]
    margin = radius + 1.0
    low = np.floor(np.minimum(start, end) - margin).clip(0, (width, height)).astype(int)
    high = np.ceil(np.maximum(start, end) + margin + 1).clip(0, (width, height)).astype(int)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    if not x.size:
        return
    along = end - start
    offset = np.stack([x - start[0], y - start[1]], axis=-1)
    share = (offset @ along / max(float(along @ along), 1e-12)).clip(0.0, 1.0)
    distance = np.linalg.norm(offset - share[..., None] * along, axis=-1)
    alpha = opacity * (0.5 + radius - distance).clip(0.0, 1.0)[..., None]
    window = canvas[low[1] : high[1], low[0] : high[0]]
    window += alpha * (np.asarray(colour, np.float64) - window)


def _strip(cells: Picture, columns: int) -> Picture:
    """Cells [k, H, W, 3] side by side with gaps, filled up to `columns`, and a gap below."""
    _, height, width, _ = cells.shape
    shape = (height + _GAP, columns * (width + _GAP) - _GAP, 3)
    strip = np.full(shape, _PAPER, np.uint8)
    for i, cell in enumerate(cells):
        left = i * (width + _GAP)
        strip[:height, left : left + width] = cell
    return strip


def _heading(text: str, width: int, size: int = 14) -> Picture:
    line = Image.new("RGB", (width, size + 8), (_PAPER,) * 3)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(line).text((2, 2), text, fill=(40, 40, 40), font=font)
    return np.asarray(line)


def _check_image(image: Picture) -> None:
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
        raise InputError(
            f"A picture has shape {image.shape} and type {image.dtype}; give RGB uint8."
        )
