"""What was found, as the text of a file: CSV for tables, JSON with named points, COCO keypoints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrjax.geometry.points import Scheme
from lrjax.inference.landmarks import DOUBTFUL, Prediction
from lrjax.inference.tables import Found, Row, table_lines

COCO = ".coco.json"
"""How the names of files of COCO keypoints end."""


def faces_lines(
    path: Path | None,
    faces: Iterable[tuple[Row, Found]],
    scheme: Scheme,
    more: Sequence[str] = (),
) -> Iterator[str]:
    """Write faces, line by line, in the format that a file's name asks for.

    Args:
      path: name of the file, which ends in .json, .coco.json, or else is CSV; None, for the
        terminal: CSV.
      faces: rows, and what was found of each, in the order in which they are written.
      scheme: of the points.
      more: what CSV has besides, see `tables.table_lines`; JSON has all that is known.
    """
    kind = format_of(path)
    if kind == "coco":
        rows, found = [], []
        for row, place in faces:
            rows.append(row)
            found.append(place)
        yield coco_text(rows, found, scheme)
    elif kind == "json":
        yield from json_lines(faces, scheme)
    else:
        yield from table_lines(faces, scheme, more)


def format_of(path: Path | None) -> str:
    """Say what a file's name asks for: "coco", "json" or "csv"."""
    name = "" if path is None else path.name.lower()
    return "coco" if name.endswith(COCO) else "json" if name.endswith(".json") else "csv"


def json_lines(faces: Iterable[tuple[Row, Found]], scheme: Scheme) -> Iterator[str]:
    """JSON: a list of faces, one a line, each an object with these fields.

    file; of a video frame, time and track; box, [x, y, w, h] or null; landmarks, an object of
    [x, y] by the points' names, or null; landmark_confidence, of numbers by the same names, where a
    landmark network looked; confidence, or null; doubtful, whether that is so low that there may be
    no face; and problem, why there are no landmarks, or null.
    """
    yield "["
    for number, (row, place) in enumerate(faces):
        record = json.dumps(face_record(row, place, scheme), allow_nan=False)
        yield f"{',' if number else ''}\n{record}"
    yield "\n]\n"


def face_record(row: Row, place: Found, scheme: Scheme) -> dict[str, Any]:
    """Describe one face by the fields of `json_lines`."""
    known = row.box is not None and all(map(math.isfinite, row.box))
    record: dict[str, Any] = {"file": row.file, **row.more, "box": row.box if known else None}
    if place is None:
        return record | {"landmarks": None, "confidence": None, "problem": row.problem}
    faces, i = place
    record["box"] = _box(row, place)
    points = np.round(faces.points[i].astype(np.float64), 2).tolist()
    record["landmarks"] = dict(zip(scheme.names, points, strict=True))
    confidence = round(float(faces.confidence[i]), 4)
    if isinstance(faces, Prediction):
        sure = np.round(faces.point_confidence[i].astype(np.float64), 4).tolist()
        record["landmark_confidence"] = dict(zip(scheme.names, sure, strict=True))
        record["doubtful"] = bool(faces.confidence[i] < DOUBTFUL)
    return record | {"confidence": confidence, "problem": None}


def coco_text(rows: Sequence[Row], found: Sequence[Found], scheme: Scheme) -> str:
    """JSON text as COCO's keypoint annotations are, each with its confidence as its score.

    An image whose size is not known, as it could not be read, is left out, as is a row without
    points. A point beyond its image is labelled, and not visible (v = 1). Images are frames of a
    video where rows are (`Row.picture`), and faces have the number of their track.
    """
    images = {row.picture: row for row in rows if row.size is not None}
    ids = {picture: number for number, picture in enumerate(images, start=1)}
    annotations: list[dict[str, Any]] = []
    for row, place in zip(rows, found, strict=True):
        if place is None or row.size is None:
            continue
        faces, i = place
        box = _box(row, place)
        points = np.round(faces.points[i].astype(np.float64), 2)
        # Pixels have their centres at whole numbers.
        inside = ((points >= -0.5) & (points < np.array(row.size) - 0.5)).all(-1)
        labelled = [[x, y, 1 + int(v)] for (x, y), v in zip(points.tolist(), inside, strict=True)]
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": ids[row.picture],
                "category_id": 1,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "keypoints": [value for point in labelled for value in point],
                "num_keypoints": len(labelled),
                "score": round(float(faces.confidence[i]), 4),
                **{name: row.more[name] for name in ("track",) if name in row.more},
            }
        )
    listed = [
        {
            "id": ids[picture],
            "file_name": picture,
            "width": size[0],
            "height": size[1],
            **{name: row.more[name] for name in ("frame", "time") if name in row.more},
        }
        for picture, row in images.items()
        if (size := row.size) is not None
    ]
    face = {"id": 1, "name": "face", "supercategory": "person", "keypoints": [*scheme.names]}
    face["skeleton"] = [[a + 1, b + 1] for a, b in scheme.lines]  # COCO counts points from 1
    sections = {
        "info": {"description": f"{scheme.name} landmarks of faces, found by lrjax"},
        "licenses": [],
        "images": listed,
        "categories": [face],
        "annotations": annotations,
    }
    return json.dumps(sections, allow_nan=False) + "\n"


def _box(row: Row, place: tuple[Any, int]) -> list[float]:
    """The box as the row has it, or else as it was looked at."""
    faces, i = place
    return [*(faces.boxes[i].tolist() if row.box is None else row.box)]
