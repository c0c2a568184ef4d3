"""CSRI Figure 8: native faces, super-resolved."""

from __future__ import annotations

import numpy as np

from experiments import people
from experiments.cheng import run_of
from experiments.common import Context, figure
from lrjax.data.identities import load_identities
from lrjax.inference.align import Aligner, decode
from lrjax.inference.embed import Recogniser
from lrjax.report import draw
from lrjax.report.results import Result

SHOWN = 12
SHARPENED = ("SRCNN + CentreFace", "VDSR + CentreFace", "DRRN + CentreFace", "joint", "CSRI")


def run(context: Context) -> Result:
    """Draw the first probes, enlarged and as each sharpening network makes them."""
    spec = f"{context.test.people}:probe"
    portraits = people.first_of(load_identities(spec, context.data_dir), SHOWN)
    rows: list[tuple[str, list[np.ndarray]]] = []
    for name in SHARPENED:
        recogniser = Recogniser.load(run_of(context, name), "last")
        faces = Aligner.load("resize", recogniser.template).align(
            [decode(portraits, i) for i in range(SHOWN)]
        )
        if not rows:
            rows.append(("bicubic", list(faces.images)))
        label = name.partition(" ")[0]
        rows.append((label, list(recogniser.sharpened(faces.images))))
    result = Result(
        title="CSRI Figure 8: native faces, super-resolved",
        order=3.8,
        figures=(figure("csri_figure8.png", "The first probes; one row for each network."),),
        data=spec,
    )
    context.save("csri_figure8", result, {"csri_figure8.png": draw.labelled_rows(rows, 96)})
    return result
