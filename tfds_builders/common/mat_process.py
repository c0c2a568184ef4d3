"""The process that reads a MATLAB file for `mats.load_mat`: a path and variables to an .npz.

Numbers are arrays of their variables' names; all else is in the array of no name, as JSON.
"""

import json
import resource
import sys
from typing import Any

import numpy as np
import scipy.io

MOST_MEMORY = 8 << 30
"""Bytes; a damaged file may ask for any number."""


def plain(value: Any) -> Any:
    """Return a cell array, a text or numbers as nested lists; what is neither is an empty one."""
    kind = value.dtype.kind if isinstance(value, np.ndarray) else ""
    if kind == "O":
        return [plain(cell) for cell in value.ravel()]
    return value.tolist() if kind and kind in "biufU" else []


def main(path: str, *variables: str) -> None:
    """Write the variables of a file that are there to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    found = scipy.io.loadmat(path, variable_names=variables)
    content = {name: found[name] for name in variables if name in found}
    arrays = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    others = {name: plain(value) for name, value in content.items() if name not in arrays}
    text = np.frombuffer(json.dumps(others).encode(), np.uint8)
    np.savez(sys.stdout.buffer, **{"": text}, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
