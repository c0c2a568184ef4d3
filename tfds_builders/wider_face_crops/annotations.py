"""The official WIDER FACE annotation, as text or as a MATLAB file; both say the same."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from lrjax.geometry.points import LARGEST_COORDINATE

from ..common import DatasetError, Report, cell_text, load_mat, parse_numbers, read_lines
from ..common.files import IMAGE_SUFFIXES


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One photograph: `name` is `<event>/<file>.jpg`, `boxes` [n, 4] hold x, y, w, h in pixels.

    Boxes keep the rows' order and include those of no area, so a row's number identifies a face.
    """

    name: str
    boxes: np.ndarray


def read_annotation(folder: pathlib.Path, part: str, report: Report) -> list[Record] | None:
    """Read the records of `part` ("train" or "val"), from the text if it is there, else the mat.

    None if neither file is there.

    Raises:
      DatasetError: if the file holds no usable record.
    """
    text = folder / f"wider_face_{part}_bbx_gt.txt"
    mat = folder / f"wider_face_{part}.mat"
    if text.is_file():
        path, records = text, read_text(text, report)
    elif mat.is_file():
        path, records = mat, read_mat(mat, report)
    else:
        return None
    if not records:
        raise DatasetError(f"{path} holds no usable record; fetch the official file again.")
    return records


def read_text(path: pathlib.Path, report: Report) -> list[Record]:
    """Read `wider_face_*_bbx_gt.txt`: a path, a count, then that many rows of numbers.

    A photograph without faces has the count 0 and one row of zeros nevertheless.
    """
    records = []
    for name, line_number, body in _sections(path):
        try:
            records.append(Record(name, _parse_body(body)))
        except ValueError as error:
            report.skip(f"the annotation record is malformed ({error})", f"{path}:{line_number}")
    return records


def _sections(path: pathlib.Path) -> Iterator[tuple[str, int, list[str]]]:
    """(image name, line number, following lines) of each record, by the lines that are names."""
    name, start, body = "", 0, []
    for number, line in read_lines(path):
        if line.lower().endswith(IMAGE_SUFFIXES):
            if start:
                yield name, start, body
            name, start, body = line, number, []
        elif start:
            body.append(line)
    if start:
        yield name, start, body


def _parse_body(body: list[str]) -> np.ndarray:
    if not body or not body[0].isdigit():
        raise ValueError("no face count")
    rows = [parse_numbers(line.split(), 10, whole=True) for line in body[1:]]
    count = int(body[0])
    if count == 0 and (not rows or (len(rows) == 1 and not rows[0].any())):
        return np.zeros((0, 4))
    if len(rows) != count:
        raise ValueError("the face count and the rows disagree")
    return np.array(rows)[:, :4]


def read_mat(path: pathlib.Path, report: Report) -> list[Record]:
    """Read `wider_face_*.mat`: cells of events, of files per event, of boxes per file."""
    names = ("event_list", "file_list", "face_bbx_list")
    content = load_mat(path, *names)
    events, files, boxes = (content[name] for name in names)
    if not len(events) == len(files) == len(boxes):
        raise DatasetError(
            f"{path}: event_list, file_list and face_bbx_list differ in length; it is not the "
            "official file."
        )
    records = []
    for i, (event_cell, file_cells, box_cells) in enumerate(zip(events, files, boxes, strict=True)):
        try:
            event = cell_text(event_cell)
            names = [cell_text(cell) for cell in file_cells]
            if len(names) != len(box_cells):
                raise ValueError("files and boxes differ in number")
        except ValueError as error:
            report.skip(f"the annotation record is malformed ({error})", f"{path}: event {i}")
            continue
        for name, cell in zip(names, box_cells, strict=True):
            full_name = f"{event}/{name}.jpg"
            try:
                records.append(Record(full_name, _boxes(cell)))
            except ValueError as error:
                reason = f"the annotation record is malformed ({error})"
                report.skip(reason, f"{path}: {full_name}")
    return records


def _boxes(cell: object) -> np.ndarray:
    """Boxes [n, 4]; the mat, too, has one row of zeros for a photograph without faces."""
    try:
        boxes = np.asarray(cell, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError("the boxes are not numbers") from error
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError("a box does not hold four numbers")
    if not (np.abs(boxes) <= LARGEST_COORDINATE).all():
        raise ValueError("a box is not finite, or too large")
    return np.zeros((0, 4)) if len(boxes) == 1 and not boxes.any() else boxes
