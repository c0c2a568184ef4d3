"""Files that are either whole or absent, whenever the program is stopped."""

import os
from pathlib import Path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder; readers see the old file or the new one.

    The bytes go to a hidden neighbour first and reach the disk before the rename, so that neither
    a crash of the program nor of the machine leaves half a file under the real name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
