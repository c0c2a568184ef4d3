"""`lrjax annotate`: let people place five points on small faces, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lrjax.annotate.faces import Face, cut_face, name_of
from lrjax.annotate.store import PICTURES, Store
from lrjax.cli.faces import (
    asked_rows,
    images_root,
    named_problems,
    output_file,
    report_problems,
    with_bar,
    write_table,
)
from lrjax.cli.options import FOLDER, Flag, command
from lrjax.cli.pages import invite, need_server
from lrjax.cli.say import put, say
from lrjax.errors import InputError
from lrjax.files import exclusively, write_atomically
from lrjax.geometry.points import FIVE
from lrjax.inference.files import predict_files
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.inference.tables import Row, table_lines

BOXES = "boxes.csv"
"""Faces that were found are kept there, so that they are the same ones the next time."""


@command(
    boxes="CSV file with the columns file,x,y,w,h. Without it, the faces are found as by `lrjax "
    "detect`.",
    crops="Each image is one face crop.",
    out="Folder for the annotations, which `lrjax prepare alrf` reads; it may hold some already.",
    start="Show where a network sees the points, so that they can be taken over.",
    weights="Weights file or run folder of that network, or the one that comes along.",
)
def annotate(
    *,
    images: Path,
    boxes: Path | None = None,
    crops: Flag = False,
    allow_outside: Flag = False,
    out: Annotated[Path, FOLDER],
    start: bool = True,
    weights: Path = Path("pretrained"),
    host: str = "127.0.0.1",
    port: int = 0,
) -> None:
    """Let people place five points on small faces, on a page in the browser of this machine.

    The points are those of ALRF: left eye, right eye, nose tip, left and right corner of the mouth,
    left and right as they are seen. Each face is saved at once, under the annotator's name, in
    OUT/annotations.csv, and the picture it is in is in OUT/faces. The command may be stopped and
    called again at any time: it goes on where it was.

    A row that cannot be used is named before the page is served, and left out.
    """
    need_server()
    from lrjax.annotate.server import site
    from lrjax.web.server import listen, serve

    with listen(host, port) as server:
        out.mkdir(parents=True, exist_ok=True)
        with exclusively(out, "annotating"):
            # What cannot be used is refused now rather than after the work.
            Store(out, ())
            predictor = LandmarkPredictor.load(weights) if start else None
            if predictor is not None:
                predictor.scheme_of("five")
            rows = _rows(images, boxes, crops, allow_outside, out)
            store = Store(out, _faces(rows, images_root(images), predictor, boxes))
            for face in store.faces:
                write_atomically(out / PICTURES / face.file, face.picture)
            what = f"{len(store.faces)} faces; annotate"
            token = invite(server, host, what, "see the faces and write")
            serve(site(store), host, server, token)
    put(summary(store))


def summary(store: Store) -> str:
    """Say who has annotated how many faces, and how far they agree."""
    total = len(store.faces)
    lines = [f"{name}: {len(store.done(name))} of {total} faces" for name in store.annotators]
    for pair in store.agreement():
        if pair.points:
            lines.append(
                f"{' and '.join(pair.annotators)}: {100 * pair.distance:.2f} % of √(w·h) apart, "
                f"over {pair.points} points of {pair.faces} faces"
            )
    if lines:
        lines.append(f"Prepare them with: lrjax prepare alrf --manual-dir {store.folder}")
    return "\n".join(lines or ["Nothing was annotated."])


def _rows(
    images: Path, boxes: Path | None, crops: bool, allow_outside: bool, out: Path
) -> list[Row]:
    """The faces asked for; those that were found are written down, or read where they were."""
    kept = out / BOXES
    if boxes is None and not crops and kept.is_file():
        say(f"the faces are those of {kept}; remove it to look anew.")
        return asked_rows(images, kept, crops, allow_outside)
    rows = asked_rows(images, boxes, crops, allow_outside)
    found = [row for row in rows if row.problem is None]
    if boxes is None and not crops and found:
        write_table(table_lines(((row, None) for row in found), FIVE), kept)
    return rows


def _faces(
    rows: list[Row], root: Path, predictor: LandmarkPredictor | None, table: Path | None
) -> list[Face]:
    """Cut out the faces, in the order of their rows, each once; what is wrong is named.

    Raises:
      InputError: there is none.
    """
    names = {i: name_of(row) for i, row in enumerate(rows) if not row.problem}
    first = {name: i for i, name in reversed(names.items())}
    taken: set[Path] = set()
    files = {i: output_file(Path(), names[i], taken).as_posix() for i in sorted(first.values())}
    faces: dict[int, Face] = {}
    problems: dict[int, str] = {}
    for part in with_bar(predict_files(predictor, rows, root, "five"), len(rows)):
        problems |= part.problems
        for place, i in enumerate(part.rows):
            if part.photo is not None and i in files:
                seen = None if part.prediction is None else part.prediction.points[place]
                faces[i] = cut_face(part.photo, rows[i], seen, files[i])
    named = named_problems(rows, problems, table)
    for problem in named:
        say(problem)
    if not faces:
        report_problems((named, len(rows), "rows have no face"))
        raise InputError("There are no faces to annotate; check --images and --boxes.")
    return [faces[i] for i in sorted(faces)]
