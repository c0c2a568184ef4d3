"""The annotation table: one row per face and annotator, five points, -1 for an invisible one."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping

import numpy as np

from ..common import AnnotationError, DatasetError, Report, official_bytes, parse_numbers

NUM_POINTS = 5
COORDINATES = tuple(f"{axis}{i}" for i in range(NUM_POINTS) for axis in "xy")
BOX = ("x", "y", "w", "h")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """The mean of the annotators' rows for one face.

    Attributes:
      file: name of the image.
      box: [4] in the image, or None in a table of face images.
      points: [5, 2] in the image, each the mean over those who marked it; NaN if nobody did.
      visible: [5] bool, whether anybody marked the point.
    """

    file: str
    box: np.ndarray | None
    points: np.ndarray
    visible: np.ndarray


def read_table(path: pathlib.Path, *, with_boxes: bool, report: Report) -> list[Row]:
    """Read and average a table, in the order of each face's first row.

    The header names `file`, then `x,y,w,h` if `with_boxes`, then `x0,y0` to `x4,y4`; any further
    column, such as `annotator`, may be there.

    Raises:
      DatasetError: if the file is not a table with these columns.
    """
    box = BOX if with_boxes else ()
    marks: dict[tuple, list[np.ndarray]] = {}
    try:
        text = official_bytes(path).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text, newline=""))
        for column in ("file", *box, *COORDINATES):
            if column not in (table.fieldnames or ()):
                raise DatasetError(f"{path} has no column '{column}' in its header.")
        for cells in table:
            try:
                key, points = _parse(cells, box)
                marks.setdefault(key, []).append(points)
            except AnnotationError as error:
                reason = f"the row is malformed ({error})"
                report.skip(reason, f"{path.name}:{table.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a table: {error}.") from error
    return [_mean(key, np.stack(rows)) for key, rows in marks.items()]


def _parse(cells: Mapping[str, str | None], box: tuple[str, ...]) -> tuple[tuple, np.ndarray]:
    """((file, x, y, w, h) or (file,), points [5, 2] with NaN for the invisible)."""
    file = (cells["file"] or "").strip()
    if not file:
        raise AnnotationError("no file name")
    columns = (*box, *COORDINATES)
    values = parse_numbers([cells[column] or "" for column in columns], len(columns))
    points = values[len(box) :].reshape(NUM_POINTS, 2)
    invisible = points == -1
    if (invisible.any(axis=1) != invisible.all(axis=1)).any():
        raise AnnotationError("only one coordinate of a point is -1")
    return (file, *values[: len(box)].tolist()), np.where(invisible, np.nan, points)


def _mean(key: tuple, rows: np.ndarray) -> Row:
    visible = ~np.isnan(rows[..., 0])
    total = np.where(visible[..., None], rows, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        points = total / visible.sum(axis=0)[:, None]
    return Row(key[0], np.array(key[1:]) if len(key) > 1 else None, points, visible.any(axis=0))
