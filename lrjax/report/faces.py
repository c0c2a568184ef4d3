"""Pictures of what was found: photographs with their faces, and sheets of faces.

A photograph is shown about as large as it is. Faces too small for their points to be seen there
stand below it, enlarged, under their numbers. The colour of a face says how sure of it one can be:
red where there may be none, by way of orange and yellow to green.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lrjax.geometry.crop import crop, shrink, square_box
from lrjax.report.draw import Colour, Picture, mark

LONGEST, SHORTEST, VIDEO = 1600, 640, 1280
"""The longer side of a photograph as it is shown: larger ones are shrunk to the first, smaller ones
enlarged by a whole number up to the second; of a video, up to the third."""
READABLE = 64
"""Faces of fewer pixels as they are shown are enlarged below the photograph."""
TILE, SHEET_TILE, MANY = 144, 112, 24
"""Side of an enlarged face below its photograph, about, and on a sheet, or if there are many."""
SHEET_COLUMNS, SHEET_FACES = 9, 360
"""How many faces are in a row of a sheet, and on a sheet."""
MOST_BELOW = 400
"""Of a photograph's faces at most so many are enlarged below it."""

_GAP, _PAPER, _SOFT, _DARK = 6, (24, 26, 30), (150, 156, 164), (16, 16, 16)
_STEPS = (0.0, 0.5, 0.75, 1.0)
_COLOURS = ((255, 84, 84), (255, 110, 64), (255, 214, 72), (72, 235, 120))


def colour_of(confidence: float) -> Colour:
    """Choose the colour that stands for a confidence in 0..1."""
    bands = zip(*_COLOURS, strict=True)
    red, green, blue = (round(float(np.interp(confidence, _STEPS, band))) for band in bands)
    return red, green, blue


def photo_picture(
    photo: Image.Image, boxes: np.ndarray, points: np.ndarray, confidence: np.ndarray
) -> Picture:
    """Show a photograph with its faces, numbered from 1, and the small ones enlarged below.

    Args:
      photo: RGB.
      boxes: [n, 4] (x, y, w, h) in its pixels.
      points: [n, N, 2] in its pixels.
      confidence: [n] in 0..1.

    Returns:
      [H, W, 3]; of a photograph without faces, and not too large, its own pixels.
    """
    scale = _scale(photo, SHORTEST if len(boxes) else 0)
    small = np.sqrt(boxes[:, 2] * boxes[:, 3]) * scale < READABLE
    colours = [colour_of(sure) for sure in confidence]
    numbers = range(1, len(boxes) + 1)
    picture = _overlay(photo, scale, boxes, points, colours, numbers, ~small)
    below = np.flatnonzero(small)[:MOST_BELOW]
    if not len(below):
        return np.asarray(picture)
    about = TILE if len(below) <= MANY else SHEET_TILE
    columns = max(1, round((picture.width - _GAP) / (about + _GAP)))
    side = max(about // 2, (picture.width - _GAP) // columns - _GAP)
    tiles = [face_tile(photo, boxes[i], points[i], colours[i], side) for i in below]
    captions = [[(_caption(i + 1, confidence[i]), colours[i])] for i in below]
    strip = _laid_out(tiles, captions, columns)
    size = max(picture.width, strip.width), picture.height + strip.height
    whole = Image.new("RGB", size, _PAPER)
    whole.paste(picture)
    whole.paste(strip, (0, picture.height))
    return np.asarray(whole)


def frame_picture(
    photo: Image.Image,
    boxes: np.ndarray,
    points: np.ndarray,
    confidence: np.ndarray,
    numbers: Sequence[int],
) -> Picture:
    """Show a frame of a video with its faces under their numbers; for arrays see `photo_picture`.

    Nothing stands below it, and it is as large whether there are faces or not.
    """
    colours = [colour_of(sure) for sure in confidence]
    marked, scale = np.ones(len(boxes), bool), _scale(photo, VIDEO)
    return np.asarray(_overlay(photo, scale, boxes, points, colours, numbers, marked))


def face_tile(
    photo: Image.Image, box: np.ndarray, points: np.ndarray, colour: Colour, side: int
) -> Picture:
    """Show one face and its points, as a square of `side` pixels.

    Args:
      photo: RGB.
      box: [4] (x, y, w, h).
      points: [N, 2].
      colour: of the points.
      side: of the result.

    Returns:
      [side, side, 3], black beyond the photograph.
    """
    extent = max(float(box[2]), float(box[3]), 1.0)
    middle = box[:2] + (box[2:] - 1) / 2
    reach = float(np.abs(points - middle).max(initial=0.0))
    # Room for points beyond the box, but not for those that are lost altogether.
    seen = 2 * min(max(0.66 * extent, 1.08 * reach), extent)
    tile = crop(photo, square_box(middle, seen), side, side).copy()
    mark(tile, (points - middle) * (side / seen) + (side - 1) / 2, colour)
    return tile


class FaceSheets:
    """Collect faces, and lay them out as sheets of at most `SHEET_FACES`, which are JPEG files.

    Attributes:
      done: the bytes of the sheets that are full; `finish` adds the last one.
    """

    def __init__(self) -> None:
        self.done: list[bytes] = []
        self._tiles: list[Picture] = []
        self._captions: list[list[tuple[str, Colour]]] = []

    def add(
        self,
        file: str,
        photo: Image.Image,
        boxes: np.ndarray,
        points: np.ndarray,
        confidence: np.ndarray,
    ) -> None:
        """Add the faces of an image; for the arrays see `photo_picture`."""
        for number, (box, face, sure) in enumerate(zip(boxes, points, confidence, strict=True), 1):
            tile = face_tile(photo, box, face, colour_of(sure), SHEET_TILE)
            self.add_tile(number, file, tile, sure)

    def add_tile(self, number: int, text: str, tile: Picture, confidence: float) -> None:
        """Add a face that is drawn already (`face_tile`, of side `SHEET_TILE`), with a text."""
        caption = _caption(number, confidence), colour_of(confidence)
        self._tiles.append(tile)
        self._captions.append([caption, (text, _SOFT)])
        if len(self._tiles) == SHEET_FACES:
            self.finish()

    def finish(self) -> list[bytes]:
        """Lay out the faces that are left, and return all sheets."""
        if self._tiles:
            columns = min(SHEET_COLUMNS, len(self._tiles))
            sheet = _laid_out(self._tiles, self._captions, columns)
            self.done.append(encode_jpeg(np.asarray(sheet)))
            self._tiles, self._captions = [], []
        return self.done


def encode_jpeg(image: Picture) -> bytes:
    """Return the bytes of a JPEG file of [H, W, 3], whose colours are as fine as its light."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def _scale(photo: Image.Image, least: int) -> float:
    """How many times as large as it is a photograph is shown, for a side of `least` pixels."""
    longer = max(photo.size)
    return LONGEST / longer if longer > LONGEST else float(max(1, min(16, least // longer)))


def _overlay(
    photo: Image.Image,
    scale: float,
    boxes: np.ndarray,
    points: np.ndarray,
    colours: Sequence[Colour],
    numbers: Iterable[int],
    marked: np.ndarray,
) -> Image.Image:
    """A photograph `scale` times as large, with boxes and the points of the `marked` faces."""
    if scale < 1:
        photo = shrink(photo, scale)
    elif scale > 1:
        size = round(photo.width * scale), round(photo.height * scale)
        photo = photo.resize(size, Image.Resampling.BICUBIC)
    canvas = np.array(photo)
    for i in map(int, np.flatnonzero(marked)):
        mark(canvas, (points[i] + 0.5) * scale - 0.5, colours[i], least=1.0)
    picture = Image.fromarray(canvas)
    _frame(picture, boxes * scale, colours, numbers)
    return picture


def _frame(
    picture: Image.Image, boxes: np.ndarray, colours: Sequence[Colour], numbers: Iterable[int]
) -> None:
    """Draw boxes in the picture's pixels with their numbers, in place."""
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for box, colour, number in zip(boxes, colours, numbers, strict=True):
        low = np.round(box[:2])
        high = np.maximum(np.round(box[:2] + box[2:]) - 1, low)
        pen.rectangle([*(low - 1), *(high + 1)], outline=_DARK)
        pen.rectangle([*low, *high], outline=colour)
        text = str(number)
        left, width = low[0] - 1, math.ceil(font.getlength(text)) + 5
        # Above the face where there is room, else below it, else within.
        top = low[1] - 16 if low[1] >= 16 else high[1] + 2
        top = float(np.clip(top, 0, max(0, picture.height - 15)))
        left = float(np.clip(left, 0, max(0, picture.width - width)))
        pen.rectangle([left, top, left + width - 1, top + 14], fill=colour)
        pen.text((left + width / 2, top + 7.5), text, fill=_DARK, font=font, anchor="mm")


def _laid_out(
    tiles: Sequence[Picture], captions: Sequence[Sequence[tuple[str, Colour]]], columns: int
) -> Image.Image:
    """Lay out square tiles in rows, each with lines of text below it."""
    side, font = len(tiles[0]), ImageFont.load_default(12)
    wide, high = side + _GAP, side + _GAP + 15 * len(captions[0]) + 3
    size = columns * wide + _GAP, -(-len(tiles) // columns) * high + _GAP
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (tile, lines) in enumerate(zip(tiles, captions, strict=True)):
        left, top = _GAP + i % columns * wide, _GAP + i // columns * high
        sheet.paste(Image.fromarray(tile), (left, top))
        for k, (text, colour) in enumerate(lines):
            at = (left + 1, top + side + 2 + 15 * k)
            pen.text(at, _fitting(text, font, side - 2), fill=colour, font=font)
    return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """A text, or its end, which tells file names apart, in so many pixels."""
    text = text.encode("utf-8", "replace").decode()
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"…{text}") > room:
        text = text[1:]
    return f"…{text}"


def _caption(number: int, confidence: float) -> str:
    return f"{number}   {confidence:.2f}"
