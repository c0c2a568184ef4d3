"""MATLAB files, read in a process of their own: a damaged one can end the process that reads it."""

import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np

from .files import DatasetError

TIME_LIMIT = 120
"""Seconds; the largest official file takes two."""


def load_mat(path: pathlib.Path, *variables: str) -> dict[str, Any]:
    """Read the named variables of a MATLAB file of version 4 to 7.2.

    Returns:
      By name an array of numbers, or what a cell array or a text holds, as nested lists of texts
      and numbers; what is neither is an empty list.

    Raises:
      DatasetError: if the file is missing, damaged, of version 7.3, or lacks a variable.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing; put the official file there.")
    with path.open("rb") as file:
        if file.read(10) == b"MATLAB 7.3":
            raise DatasetError(
                f"{path} is a MATLAB 7.3 (HDF5) file; save it again with `save -v7`."
            )
    try:
        content = _read(path, variables)
    except (subprocess.SubprocessError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} is damaged ({_reason(error)}); fetch the official file again."
        ) from error
    for variable in variables:
        if variable not in content:
            raise DatasetError(f"{path} has no variable '{variable}'; it is not the official file.")
    return content


def _read(path: pathlib.Path, variables: tuple[str, ...]) -> dict[str, Any]:
    """The variables that another process finds; it hands over an .npz without objects."""
    program = pathlib.Path(__file__).with_name("mat_process.py")
    done = subprocess.run(
        [sys.executable, "-P", str(program), str(path), *variables],
        capture_output=True,
        check=True,
        timeout=TIME_LIMIT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each reserves memory
    )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        content: dict[str, Any] = {name: arrays[name] for name in arrays.files}
    return content | json.loads(content.pop("").tobytes())


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"reading it took more than {TIME_LIMIT} seconds"
    if isinstance(error, subprocess.CalledProcessError) and error.returncode > 0:
        lines = error.stderr.decode(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        return "".join(c if c.isprintable() else "?" for c in said[:200])
    return "reading it ended the process that read it"


def numbers(value: Any, path: pathlib.Path, name: str) -> np.ndarray:
    """Return a variable as float64, or raise a DatasetError that names the file and it."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: '{name}' does not hold numbers; it is not the official file."
        ) from error


def cell_text(cell: Any) -> str:
    """Return the text in a MATLAB cell.

    Raises:
      ValueError: if the cell holds anything but one non-empty text.
    """
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    if not isinstance(cell, str) or not cell:
        raise ValueError("a name is not text")
    return cell
