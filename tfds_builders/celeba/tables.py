"""CelebA's text files: one picture per line."""

import pathlib
from collections.abc import Iterator

import numpy as np

from tfds_builders.common import DatasetError, Report


def read_numbers(path: pathlib.Path, count: int, header: int, report: Report) -> dict[str, tuple]:
    """`count` whole numbers [count] for each picture's name; of a name listed twice the first.

    Lines of any other form are reported by their number.

    Raises:
      DatasetError: if the file cannot be read or has no usable line.
    """
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in _lines(path, header):
        name, *values = line.split()
        try:
            row = tuple(int(value) for value in values)
        except ValueError:
            row = ()
        if len(row) != count:
            reason = f"the line does not hold a name and {count} whole numbers"
            report.skip(reason, f"{path.name}:{number}")
        elif name in rows:
            report.skip("the picture is listed before", f"{path.name}:{number} ({name})")
        else:
            rows[name] = row
    if not rows:
        raise DatasetError(f"{path} holds no usable line; fetch the official file again.")
    return rows


def read_points(path: pathlib.Path, report: Report) -> dict[str, np.ndarray]:
    """Five points [5, 2] for each picture's name, in pixels of a picture of the official size.

    Raises:
      DatasetError: if the file cannot be read or has no usable line.
    """
    rows = read_numbers(path, 10, 2, report)
    stated = next(iter(_lines(path, 0)))[1].strip()
    if stated != str(len(rows)):
        report.note(f"{path.name} states {stated[:20]} pictures and lists {len(rows):,}.")
    return {name: np.array(row, np.float32).reshape(5, 2) for name, row in rows.items()}


def _lines(path: pathlib.Path, header: int) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines after the header that are not empty."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if number > header and line.strip():
            yield number, line
