"""CSRI Table 5 and Figure 7: recognition of native low-resolution faces, super-resolved or not."""

from __future__ import annotations

from experiments import cheng, people
from experiments.cheng import percent
from experiments.common import Context
from lrjax.report.results import Result

PAPER = {
    "CentreFace": percent(32.1, 44.5, 48.4, 24.6),
    "SRCNN + CentreFace": percent(28.8, 38.6, 42.3, 21.7),
    "VDSR + CentreFace": percent(26.0, 34.5, 37.7, 19.1),
    "DRRN + CentreFace": percent(29.4, 39.4, 43.0, 22.2),
    "VggFace": percent(30.4, 40.4, 42.7, 23.1),
    "SRCNN + VggFace": percent(29.6, 39.2, 41.4, 22.7),
    "VDSR + VggFace": percent(28.8, 38.3, 40.3, 22.1),
    "DRRN + VggFace": percent(29.4, 39.8, 41.9, 22.4),
    "RPCN": percent(18.6, 25.3, 27.4, 12.9),
    "CSRI": percent(44.8, 60.4, 65.1, 36.2),
}
# "All SR methods degrade the performance"; "CSRI outperforms significantly all the competitors".
CLAIMS = (
    *(
        (recogniser, f"{resolver} + {recogniser}")
        for recogniser in ("CentreFace", "VggFace")
        for resolver in ("SRCNN", "VDSR", "DRRN")
    ),
    *(("CSRI", other) for other in PAPER if other != "CSRI"),
)


def run(context: Context) -> Result:
    """Train what is missing, and tell TinyFace's people apart."""
    return people.conclude(
        context,
        "csri_table5",
        "CSRI Table 5 and Figure 7: with super-resolution",
        3.5,
        PAPER,
        cheng.tell_apart(context, *PAPER),
        CLAIMS,
        protocol=people.CHENG,
        note="RPCN is our reading of a network whose code was not published.",
    )
