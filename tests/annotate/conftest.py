"""Small faces to annotate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax.annotate.faces import Face, cut_face, name_of
from lrjax.annotate.store import PICTURES
from lrjax.inference.tables import Row


@pytest.fixture
def photo() -> Image.Image:
    """A photograph of which every pixel has another colour."""
    rows, columns = np.indices((60, 90))
    return Image.fromarray(np.stack([columns, rows, rows + columns], -1).astype(np.uint8))


@pytest.fixture
def make_faces(photo: Image.Image) -> Callable[..., list[Face]]:
    """`(folder, start) -> faces` of one photograph, whose pictures are in the folder."""

    def make(folder: Path, start: np.ndarray | None = None) -> list[Face]:
        boxes = [(20.0, 10.0, 20.0, 24.0), (50.4, 30.6, 16.0, 16.0), (0.0, 0.0, 25.0, 16.0)]
        rows = [Row(("a b.png", *map(str, box)), box) for box in boxes]
        faces = [cut_face(photo, row, start, name_of(row)) for row in rows]
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for face in faces:
            (folder / PICTURES / face.file).write_bytes(face.picture)
        return faces

    return make
