"""`lrjax sample`: draw a photograph of a crowd to try the other commands with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import numpy as np

from lrjax.cli.faces import write_table
from lrjax.cli.options import FOLDER, Click, command
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.points import IBUG68
from lrjax.inference.detector import Detection
from lrjax.inference.tables import face_rows, table_lines
from lrjax.report.faces import encode_jpeg
from lrjax.tfds_builders.synthetic_faces.crowd import crowd

PHOTO, TABLE = "crowd.jpg", "crowd.csv"


@command(seed="Another number draws other people.")
def sample(
    folder: Annotated[Path, FOLDER, Click(metavar="FOLDER")],
    *,
    seed: Annotated[int, Click(type=click.IntRange(0))] = 0,
) -> None:
    """Draw a photograph of a crowd, FOLDER/crowd.jpg, and write where its faces are beside it.

    The faces have 12 to 45 pixels. Nobody in it is real: it may be given away. crowd.csv is a table
    as `lrjax predict` writes it, of the 68 points as they were drawn; it has the boxes for `lrjax
    predict --boxes`, and the points for `lrjax align --points`.
    """
    for name in (PHOTO, TABLE):
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} is there already; name another folder, or remove it."
            )
    seen = crowd(seed)
    count = len(seen.boxes)
    write_atomically(folder / PHOTO, encode_jpeg(seen.pixels))
    truth = Detection(seen.boxes, seen.points, np.ones(count), np.zeros(count, int))
    rows = face_rows(PHOTO, seen.boxes)
    write_table(
        table_lines(zip(rows, ((truth, i) for i in range(count)), strict=True), IBUG68),
        folder / TABLE,
    )
    click.echo(f"{folder / PHOTO}: {count} faces, whose places and points are in {TABLE}.")
    click.echo(f"Next: lrjax predict --images {folder} --points five --out points.csv --draw drawn")
