"""The pretrained landmark network at work on native low-resolution faces."""

from __future__ import annotations

import numpy as np

from lrjax.data.records import open_split
from lrjax.evaluation import landmarks as metrics
from lrjax.experiments.context import Context
from lrjax.geometry.crop import crop, square_box, square_transform
from lrjax.inference.images import decode_rgb
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.report import draw
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.measure import measure_photographs

SHOWN, CELL, COLUMNS = 24, 160, 8


def pretrained(context: Context) -> Result:
    """The pretrained network at work: points on native low-resolution faces."""
    predictor, spec = LandmarkPredictor.load(), context.tests.native
    measured = measure_photographs(predictor, spec, context.data_dir)
    values = metrics.summary(measured.errors("face_size"))
    shown = ("nrmse", "median", "auc@0.08", "failure@0.08")
    table = Table(
        title="Pretrained weights on native low-resolution faces",
        columns=("Set", "faces", "NRMSE", "median", "AUC@0.08", "failures at 0.08"),
        rows=((spec, len(measured.truth), *(values[name] for name in shown)),),
        note="In percent of √(w·h) of the annotated box.",
        data=measured.data,
    )
    figure = context.figure(
        "pretrained.png",
        "The first faces of the set, none left out.",
        _sheet(predictor, spec, context),
    )
    return Result(
        "The pretrained network", 0.0, tables=(table,), figures=(figure,), data=measured.data
    )


def _sheet(predictor: LandmarkPredictor, spec: str, context: Context) -> np.ndarray:
    """The first faces of a split, each enlarged to a cell, with the points found."""
    records = open_split(spec, context.data_dir)
    cells = []
    for record in (records[i] for i in range(min(SHOWN, len(records)))):
        image = decode_rgb(record["image"], record["name"].decode())
        box = np.asarray(record["face_box"], float)
        found = predictor(image, box[None])
        centre, side = box[:2] + (box[2:] - 1) / 2, 1.5 * float(np.sqrt(box[2] * box[3]))
        step, offset = square_transform(centre, side, CELL)
        cell = crop(image, square_box(centre, side), CELL, CELL)
        cells.append(draw.draw_points(cell, (found.points[0] - offset) / step))
    return draw.sample_grid(np.stack(cells), COLUMNS)


EXPERIMENTS = {"pretrained": pretrained}
