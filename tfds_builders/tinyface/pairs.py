"""The official files that say who is on TinyFace's test pictures."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from ..common import DatasetError, Report, cell_text, load_mat, numbers, official_bytes

LAST_ID = 2_569

Pairs = list[tuple[str, int]]
"""File names and, with each, its id from 1."""


@dataclasses.dataclass(frozen=True)
class PairsFile:
    """A file of id pairs: its variables, and of the official one the SHA-256's beginning."""

    name: str
    names_variable: str
    ids_variable: str
    rows: int
    sha256: str


PROBE = PairsFile("probe_img_ID_pairs.mat", "probe_set", "probe_ids", 3_728, "31b0c3875172")
GALLERY = PairsFile(
    "gallery_match_img_ID_pairs.mat", "gallery_set", "gallery_ids", 4_443, "7a333180a1f7"
)


def read_pairs(path: pathlib.Path, file: PairsFile, report: Report) -> Pairs:
    """Read the usable rows of a file of id pairs, in its order; the others are reported.

    Says in a note if the file is not the official one.

    Raises:
      DatasetError: if the file cannot be read, or is not of the official form.
    """
    content = load_mat(path, file.names_variable, file.ids_variable)
    names = content[file.names_variable]
    ids = np.ravel(numbers(content[file.ids_variable], path, file.ids_variable))
    if len(names) != len(ids):
        raise DatasetError(
            f"{path}: {file.names_variable} has {len(names):,} rows and {file.ids_variable} "
            f"{len(ids):,}; it is not the official file."
        )
    if not hashlib.sha256(official_bytes(path)).hexdigest().startswith(file.sha256):
        report.note(
            f"{path.name} is not TinyFace's own: it has {len(names):,} rows (official: "
            f"{file.rows:,}) and its SHA-256 does not begin with {file.sha256}. Results on it are "
            "not results on TinyFace."
        )
    found: dict[str, int] = {}
    for row, (cell, number) in enumerate(zip(names, ids, strict=True), 1):
        try:
            name = cell_text(cell)
        except ValueError as error:
            report.skip(f"the row of id pairs is malformed ({error})", f"{path.name}: row {row}")
            continue
        if not 1 <= number <= LAST_ID or number % 1:
            report.skip(f"the id is not one of 1 to {LAST_ID:,}", f"{path.name}: {name}")
        elif name in found:
            report.skip("the name is listed before", f"{path.name}: {name} (row {row})")
        else:
            found[name] = int(number)
    return list(found.items())
