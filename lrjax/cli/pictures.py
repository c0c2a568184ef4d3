"""Pictures of the faces that a command has found: a folder of them, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from lrjax.cli.faces import output_file
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.inference.detector import Detection
from lrjax.inference.landmarks import DOUBTFUL, Prediction
from lrjax.inference.tables import Found, Row
from lrjax.report.faces import FaceSheets, encode_jpeg, photo_picture
from lrjax.report.page import write_faces_page
from lrjax.report.tables import Cell, Table

SHEET = "all-faces.jpg"
"""In the folder of pictures: every face found, enlarged. Of many faces there are several."""


def refuse_within(out: Path, images: Path, option: str) -> None:
    """Refuse a folder for results that is in a folder of images: they would be images next time."""
    if images.is_dir() and out.resolve().is_relative_to(images.resolve()):
        raise InputError(
            f"The output {out} is in the folder {images} of images; name another {option}."
        )


class Pictures:
    """Draw what was found, image by image.

    Attributes:
      folder: gets a picture of each image, and sheets of all faces; None: nothing does.
      page: an HTML file, likewise.
      problems: what could not be written.
      count: of the pictures, those included.
    """

    def __init__(self, folder: Path | None, page: Path | None = None) -> None:
        self.folder, self.page = folder, page
        self.problems: list[str] = []
        self.count = 0
        self._sheets = FaceSheets()
        self._taken: set[Path] = set()

    def add(self, file: str, photo: Image.Image, faces: Prediction | Detection | None) -> None:
        """Draw the faces of an image, which may be none."""
        if self.folder is None and self.page is None:
            return
        if faces is None or not len(faces):
            found = np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
        else:
            found = faces.boxes, faces.points, faces.confidence
        self._sheets.add(file, photo, *found)
        if self.folder is not None:
            name = PurePath(file)
            self._write(str(name.parent / f"{name.stem}-faces.jpg"), photo_picture(photo, *found))

    def finish(
        self, title: str, summary: str, rows: Sequence[Row], found: Sequence[Found]
    ) -> tuple[list[str], int, str]:
        """Write the sheets and the page.

        Args:
          title: of the page.
          summary: what the page says first.
          rows, found: of its table, as for `tables.table_text`.

        Returns:
          a group of problems for `faces.report_problems`.
        """
        sheets = self._sheets.finish()
        if self.folder is not None:
            for sheet in sheets:
                self._write(SHEET, sheet)
        if self.page is not None:
            write_faces_page(self.page, title, summary, sheets, _table(rows, found))
        return self.problems, self.count, "pictures could not be drawn"

    def _write(self, name: str, picture: np.ndarray | bytes) -> None:
        assert self.folder is not None
        path = output_file(self.folder, name, self._taken)
        self.count += 1
        try:
            write_atomically(path, picture if isinstance(picture, bytes) else encode_jpeg(picture))
        except OSError as error:  # others may go well
            self.problems.append(f"{error.filename} cannot be written ({error.strerror})")


def _table(rows: Sequence[Row], found: Sequence[Found]) -> Table:
    """One line a row: where the face is, how sure, and what is wrong; numbered as in pictures."""
    lines: list[tuple[Cell, ...]] = []
    numbers: dict[str, int] = {}
    for row, place in zip(rows, found, strict=True):
        name = row.file.encode("utf-8", "replace").decode()
        if place is None:
            lines.append((name, None, None, None, None, None, None, row.problem or ""))
            continue
        faces, i = place
        numbers[row.file] = numbers.get(row.file, 0) + 1
        sure = float(faces.confidence[i])
        note = "may be none" if isinstance(faces, Prediction) and sure < DOUBTFUL else ""
        lines.append((name, numbers[row.file], *faces.boxes[i].tolist(), sure, note))
    columns = ("file", "face", "x", "y", "w", "h", "confidence", "note")
    return Table("Faces", columns, tuple(lines), digits=2)
