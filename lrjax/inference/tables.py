"""The tables of `lrjax predict`: faces in, the same faces with their points out."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lrjax.errors import InputError
from lrjax.files import read_bytes
from lrjax.geometry.points import FIVE, LARGEST_COORDINATE, SCHEMES, Scheme, convert
from lrjax.inference.detector import Detection
from lrjax.inference.landmarks import Prediction

COLUMNS = ("file", "x", "y", "w", "h")

FRAME_COLUMNS = ("frame", "time", "track")
"""Of a face in a video: the frame from 0, its time in seconds, and the face's number from 1."""

NOBODY = "no face was found"
"""What is wrong with an image in which there is none."""

# File names need not be UTF-8: what is not is passed through as it came.
_ENCODING = {"errors": "surrogateescape", "newline": ""}


@dataclasses.dataclass(frozen=True)
class Row:
    """One face asked for.

    Attributes:
      cells: what the table says under COLUMNS, unchanged.
      box: (x, y, w, h), or None for the whole image.
      problem: why the row cannot be used, if that is known already.
      line: where it ends in the table, if it comes from one.
      size: width and height of the image, if they are known.
      more: what else the table says of the face, by column: of a video `FRAME_COLUMNS`.
    """

    cells: tuple[str, ...]
    box: tuple[float, float, float, float] | None = None
    problem: str | None = None
    line: int | None = None
    size: tuple[int, int] | None = None
    more: dict[str, int | float] = dataclasses.field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.cells[0]

    @property
    def picture(self) -> str:
        """Name the picture: the file, and of a video the frame, as in film.mp4#000012."""
        return f"{self.file}#{self.more['frame']:06d}" if "frame" in self.more else self.file


def image_rows(names: Iterable[str]) -> list[Row]:
    """One row for each image: each is one face crop."""
    return [Row((name, "", "", "", "")) for name in names]


def face_rows(file: str, boxes: np.ndarray) -> list[Row]:
    """One row for each box [n, 4] that was found in an image, to a tenth of a pixel.

    Where there is none, one row that says so.
    """
    if not len(boxes):
        return [Row((file, "", "", "", ""), problem=NOBODY)]
    cells = [tuple(f"{value:.1f}" for value in box) for box in boxes]
    return [_row((file, *numbers), range(len(COLUMNS)), None) for numbers in cells]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file with the columns file, x, y, w, h; further columns are ignored.

    A row that cannot be used is kept, with its problem. Empty lines are not rows.

    Raises:
      InputError: there is no such file, it is no CSV text, or a column is missing or doubled.
    """
    header, table = read_csv(path)
    places = _places(header, path)
    return [_row(cells, places, line) for cells, line in table]


def read_points(path: Path) -> tuple[list[Row], np.ndarray, np.ndarray]:
    """The rows of a table as `lrjax predict` writes it, and the five points of each.

    Returns:
      the rows; points float64 [n, 5, 2], zero where not visible; visible bool [n, 5]. Where both
      cells of a point are empty, as in a row without a prediction, it is not visible.

    Raises:
      InputError: as for `read_rows`, or there are no columns x0, y0, x1, ... of points that can be
        made five.
    """
    header, table = read_csv(path)
    places = _places(header, path)
    columns = _coordinates(header, path)
    rows, points, visible = [], [], []
    for cells, line in table:
        row = _row(cells, places, line)
        chosen = [cells[i].strip() if i < len(cells) else "" for i in columns]
        try:
            found = np.array([float(cell or "nan") for cell in chosen]).reshape(-1, 2)
            problem = None
            if (np.abs(found) > LARGEST_COORDINATE).any():
                problem = "a point is infinite, or far away from any image"
        except ValueError:
            problem = "a point is no number"
        if problem is not None:
            found = np.full((len(columns) // 2, 2), np.nan)
            row = dataclasses.replace(row, problem=row.problem or problem)
        rows.append(row)
        points.append(found)
        visible.append(np.isfinite(found).all(-1))
    scheme = {scheme.count: scheme for scheme in SCHEMES.values()}[len(columns) // 2]
    shape = (len(rows), scheme.count)
    seen = np.array(visible, bool).reshape(shape)
    there = np.where(seen[..., None], np.array(points).reshape(*shape, 2), 0.0)
    return rows, *convert(there, seen, scheme, FIVE)


def read_csv(path: Path) -> tuple[list[str], list[tuple[list[str], int]]]:
    """Read a CSV file: its header, and (cells, number of the last line) of each row.

    Raises:
      InputError: there is no such file, or it is no CSV text.
    """
    data = read_bytes(path, "table", "check its name")
    try:
        text = data.decode("utf-8-sig", "surrogateescape")
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [name.strip() for name in next(reader, [])]
        return header, [(cells, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise InputError(f"The table {path} is not CSV text ({error}).") from error


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Write cells as the text of a CSV file that is read as it was written, whatever is in a cell.

    What a spreadsheet takes for a formula, such as a name that begins with "=", stays as it is.
    """
    return "".join(map(csv_line, rows))


def csv_line(cells: Sequence[object]) -> str:
    """Write the cells of one row, see `csv_text`."""
    line = io.StringIO(newline="")
    # Cells with either character of a line's end are quoted only where both end the lines.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _coordinates(header: Sequence[str], path: Path) -> list[int]:
    """The places of x0, y0, x1, ..."""
    for scheme in sorted(SCHEMES.values(), key=lambda scheme: -scheme.count):
        names = [f"{axis}{i}" for i in range(scheme.count) for axis in "xy"]
        if all(header.count(name) == 1 for name in names) and f"x{scheme.count}" not in header:
            return [header.index(name) for name in names]
    counts = ", ".join(str(scheme.count) for scheme in SCHEMES.values())
    raise InputError(
        f"The table {path} has no points: its first line must name x0,y0,x1,y1,... for one of "
        f"{counts} points; write it with `lrjax predict`."
    )


def _places(header: Sequence[str], path: Path) -> list[int]:
    for name in COLUMNS:
        if header.count(name) != 1:
            raise InputError(
                f"The table {path} has {header.count(name) or 'no'} columns named {name!r}; its "
                f"first line must name {','.join(COLUMNS)}, each once."
            )
    return [header.index(name) for name in COLUMNS]


def _row(cells: Sequence[str], places: Sequence[int], line: int | None) -> Row:
    chosen = tuple(cells[i] if i < len(cells) else "" for i in places)
    row = Row(chosen, line=line)
    if not chosen[0].strip():
        return dataclasses.replace(row, problem="the file name is empty")
    numbers = []
    for name, cell in zip(COLUMNS[1:], chosen[1:], strict=True):
        try:
            numbers.append(float(cell))
        except ValueError:
            return dataclasses.replace(row, problem=f"{name} is {cell!r}, which is no number")
    x, y, w, h = numbers
    return dataclasses.replace(row, box=(x, y, w, h))


Found = tuple[Prediction | Detection, int] | None
"""What was found of a row: a prediction or detection and the place in it; or nothing."""


def table_text(rows: Iterable[Row], found: Sequence[Found], scheme: Scheme) -> str:
    """CSV text of rows and what was found of each, see `table_lines`."""
    return "".join(table_lines(zip(rows, found, strict=True), scheme))


def table_lines(
    faces: Iterable[tuple[Row, Found]], scheme: Scheme, more: Sequence[str] = ()
) -> Iterator[str]:
    """CSV lines: the rows' own cells, then x0, y0, x1, ... and confidence.

    Args:
      faces: in the order in which they are written; nothing found leaves the cells empty.
      scheme: of the points.
      more: further columns, which follow the file's name.
    """
    coordinates = [f"{axis}{i}" for i in range(scheme.count) for axis in "xy"]
    yield csv_line([COLUMNS[0], *more, *COLUMNS[1:], *coordinates, "confidence"])
    for row, place in faces:
        also = [row.more.get(name, "") for name in more]
        if place is None:
            numbers = [""] * (2 * scheme.count + 1)
            yield csv_line([row.file, *also, *row.cells[1:], *numbers])
            continue
        prediction, i = place
        box = row.cells[1:]
        if row.box is None:
            box = tuple(f"{v:.0f}" for v in prediction.boxes[i])
        numbers = [f"{v:.2f}" for v in prediction.points[i].ravel()]
        sure = f"{prediction.confidence[i]:.4f}"
        yield csv_line([row.file, *also, *box, *numbers, sure])
