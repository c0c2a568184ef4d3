"""The shipped network at work: points on native low-resolution faces."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from experiments.common import Context, figure
from lrjax.data.records import open_split
from lrjax.evaluation import landmarks as metrics
from lrjax.geometry.crop import crop, square_box, square_transform
from lrjax.inference.landmarks import Detector
from lrjax.inference.measure import measure_photographs
from lrjax.report import draw
from lrjax.report.results import Result
from lrjax.report.tables import Table

SHOWN, CELL, COLUMNS = 24, 160, 8
# Cells are drawn on as if they were pictures of 40 pixels, enlarged.
SCALE = CELL // 40


def run(context: Context) -> Result:
    """Measure the shipped weights on the native set and draw the first faces."""
    detector = Detector.load()
    spec = context.test.native
    measured = measure_photographs(detector, spec, context.data_dir)
    values = metrics.summary(measured.errors("face_size"))
    table = Table(
        title="Shipped weights on native low-resolution faces",
        columns=("Set", "faces", "NRMSE", "median", "AUC@0.08", "failures at 0.08"),
        rows=(
            (
                spec,
                len(measured.truth),
                values["nrmse"],
                values["median"],
                values["auc@0.08"],
                values["failure@0.08"],
            ),
        ),
        note="In percent of √(w·h) of the annotated box.",
        data=measured.data,
    )
    result = Result(
        title="The shipped network",
        order=0.0,
        tables=(table,),
        figures=(figure("shipped.png", "The first faces of the set, none left out."),),
        data=measured.data,
    )
    context.save("shipped", result, {"shipped.png": _sheet(detector, spec, context)})
    return result


def _sheet(detector: Detector, spec: str, context: Context) -> np.ndarray:
    """The first faces of a split, each enlarged to a cell, with the points found."""
    records = open_split(spec, context.data_dir)
    cells = []
    for record in (records[i] for i in range(min(SHOWN, len(records)))):
        with Image.open(io.BytesIO(record["image"])) as file:
            image = file.convert("RGB")
        box = np.asarray(record["face_box"], float)
        found = detector(image, box[None])
        centre, side = box[:2] + (box[2:] - 1) / 2, 1.5 * float(np.sqrt(box[2] * box[3]))
        step, offset = square_transform(centre, side, CELL)
        cell = crop(image, square_box(centre, side), CELL, CELL)
        points = ((found.points[0] - offset) / step + 0.5) / SCALE - 0.5
        everything = np.ones(len(points), bool)
        cells.append(draw.overlay_points(cell, points, everything, draw.GREEN, SCALE))
    return draw.sample_grid(np.stack(cells), COLUMNS, 1)
