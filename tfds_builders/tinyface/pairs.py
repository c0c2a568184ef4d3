"""The official files that say who is on TinyFace's test pictures."""

import dataclasses
import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.common import DatasetError, Report, load_mat
from tfds_builders.common.files import cell_text, numbers

LAST_ID = 2_569


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


class Pairs(NamedTuple):
    """File names and, beside them, ids from 1."""

    names: list[str]
    ids: list[int]


def read_pairs(path: pathlib.Path, file: PairsFile, report: Report) -> Pairs:
    """The usable rows of a file of id pairs, in its order; the others are reported.

    Says in a note if the file is not the official one.

    Raises:
      DatasetError: if the file cannot be read, or is not of the official form.
    """
    content = load_mat(path, file.names_variable, file.ids_variable)
    names = np.ravel(content[file.names_variable])
    ids = np.ravel(numbers(content[file.ids_variable], path, file.ids_variable))
    if len(names) != len(ids):
        raise DatasetError(
            f"{path}: {file.names_variable} has {len(names):,} rows and {file.ids_variable} "
            f"{len(ids):,}; it is not the official file."
        )
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(file.sha256):
        report.note(
            f"{path.name} is not TinyFace's own: it has {len(names):,} rows (official: "
            f"{file.rows:,}) and its SHA-256 does not begin with {file.sha256}. Results on it are "
            "not results on TinyFace."
        )
    pairs = Pairs([], [])
    seen: set[str] = set()
    for row, (cell, number) in enumerate(zip(names, ids, strict=True), 1):
        try:
            name = cell_text(cell)
        except ValueError as error:
            report.skip(f"the row of id pairs is malformed ({error})", f"{path.name}: row {row}")
            continue
        if not 1 <= number <= LAST_ID or number % 1:
            report.skip(f"the id is not one of 1 to {LAST_ID:,}", f"{path.name}: {name}")
        elif name in seen:
            report.skip("the name is listed before", f"{path.name}: {name} (row {row})")
        else:
            seen.add(name)
            pairs.names.append(name)
            pairs.ids.append(int(number))
    return pairs
