"""CSRI Table 4: native low-resolution faces beside sharp ones made small."""

from __future__ import annotations

from experiments import cheng, people
from experiments.cheng import percent
from experiments.common import Context
from lrjax.report.results import Result

NATIVE, SHRUNK = "TinyFace", "SynLR"
PAPER = {
    f"VggFace, {NATIVE}": percent(30.4, 40.4, 42.7, 23.1),
    f"VggFace, {SHRUNK}": percent(34.8, 46.8, 49.4, 26.0),
    f"CentreFace, {NATIVE}": percent(32.1, 44.5, 48.4, 24.6),
    f"CentreFace, {SHRUNK}": percent(39.2, 63.4, 70.2, 31.4),
}


def run(context: Context) -> Result:
    """Train what is missing, fine-tuned on either dataset, and tell its people apart."""
    told = {}
    for name in ("VggFace", "CentreFace"):
        told |= {f"{name}, {NATIVE}": cheng.measured(context, cheng.run_of(context, name))}
        shrunk = context.recognition_run(f"{name.lower()}_synlr")
        told[f"{name}, {SHRUNK}"] = cheng.measured(context, shrunk, context.test.shrunk)
    return people.conclude(
        context,
        "csri_table4",
        "CSRI Table 4: native low-resolution faces beside synthetic ones",
        3.4,
        PAPER,
        told,
        [(f"{name}, {SHRUNK}", f"{name}, {NATIVE}") for name in ("VggFace", "CentreFace")],
        protocol=people.CHENG,
        note=f"{SHRUNK}: {people.sizes({SHRUNK: told[f'CentreFace, {SHRUNK}']})}.",
    )
