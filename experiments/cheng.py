"""How the systems of CSRI's tables are run and measured."""

from __future__ import annotations

from pathlib import Path

from experiments import people
from experiments.common import Context
from experiments.systems import SYSTEMS
from lrjax.inference.embed import Recogniser


def run_of(context: Context, name: str) -> Path:
    """The run folder of a system."""
    found = next(one for one in SYSTEMS if (one.name, one.paper) == (name, "CSRI"))
    kind, _, setting = found.config.partition(":")
    return {"recognition": context.recognition_run, "csri": context.csri_run}[kind](setting)


def tell_apart(context: Context, *names: str) -> dict[str, people.Told]:
    """Systems by name, on TinyFace as it is: the paper says nothing of alignment."""
    return {name: measured(context, run_of(context, name)) for name in names}


def measured(context: Context, run: Path, dataset: str | None = None) -> people.Told:
    """The recogniser of a run, by the paper's protocol."""
    recogniser = Recogniser.load(run, "last")
    return people.tell_apart(context, recogniser, "resize", protocol=people.CHENG, dataset=dataset)


def percent(rank1: float, rank20: float, rank50: float, mean_ap: float) -> dict[str, float]:
    """A row of the paper."""
    return {"rank-1": rank1, "rank-20": rank20, "rank-50": rank50, "mAP": mean_ap}
