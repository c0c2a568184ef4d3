"""K&C Table 1a: landmarks on native low-resolution faces with five human-made points."""

from __future__ import annotations

import time

import numpy as np

from experiments.common import Context, figure
from lrjax.evaluation import landmarks as metrics
from lrjax.inference.landmarks import Detector
from lrjax.inference.measure import Measured, measure_photographs
from lrjax.report import plots
from lrjax.report.results import Result
from lrjax.report.tables import Table

# On ALRF, 700 TinyFace faces that were not published: NRMSE as a fraction of "the face size".
PAPER = {"MTCNN": None, "HRNet": 0.4055, "SAN": 0.3901, "Proposed": 0.257}
PAPER_SECONDS = {"MTCNN": 0.388, "HRNet": 0.076, "SAN": 0.0178, "Proposed": 0.0105}


def run(context: Context) -> Result:
    """Measure S1 to S4 and the shipped network on the native set."""
    detectors = {
        f"{setting.upper()} (ours)": Detector.load(context.landmark_run(setting), which="last")
        for setting in ("s1", "s2", "s3", "s4")
    }
    detectors["shipped (ours, beyond the paper)"] = Detector.load()
    spec = context.test.native
    found = {
        name: measure_photographs(detector, spec, context.data_dir)
        for name, detector in detectors.items()
    }
    rows: list[tuple] = [
        (name, value, None, None, PAPER_SECONDS[name]) for name, value in PAPER.items()
    ]
    rows += [_row(name, found[name], detector) for name, detector in detectors.items()]
    count = len(next(iter(found.values())).truth)
    table = Table(
        title="Table 1a: error on native low-resolution faces, as a fraction of the face size",
        columns=("Method", "NRMSE, paper's 700 faces", "NRMSE, ours", "median", "seconds a face"),
        rows=tuple(rows),
        note=(
            "The paper's faces and normaliser are not published, so its column is not comparable "
            "with ours. Ours: mean distance of five points / √(w·h) of the annotated box, mirrored "
            "view and second pass included. Paper's times: one image on a GTX 1080."
        ),
        data=f"{spec}, {count} faces",
        digits=4,
    )
    errors = {name: m.errors("face_size") for name, m in found.items()}
    result = Result(
        title="Table 1a: native low-resolution faces",
        order=1.1,
        tables=(table,),
        figures=(figure("table1a-ced.svg", "Cumulative errors on native faces."),),
        data=f"{spec}, {count} faces",
    )
    curves = plots.ced_curves(errors, "√(w·h) of the annotated box", 0.15)
    context.save("table1a", result, {"table1a-ced.svg": plots.to_svg(curves)})
    return result


def _row(name: str, measured: Measured, detector: Detector) -> tuple:
    values = metrics.summary(measured.errors("face_size"))
    seconds = _seconds_a_face(detector)
    return (name, None, values["nrmse"] / 100, values["median"] / 100, seconds)


def _seconds_a_face(detector: Detector, repeats: int = 20) -> float:
    """Median time of one face, alone in its image, after compilation."""
    image, box = np.zeros((64, 64, 3), np.uint8), [[16, 16, 28, 32]]
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        detector(image, box)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
