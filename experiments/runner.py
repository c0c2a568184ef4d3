"""Experiments by name: found in this folder or in a file of a user's, run, and recorded.

A module that has experiments lists them in `EXPERIMENTS`, by name: functions from a `Context` to a
`Result`, whose docstring's first line says what they show.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path

from lrjax import experiments
from lrjax.errors import InputError, did_you_mean
from lrjax.experiments.context import Context, hardware
from lrjax.files import import_file
from lrjax.report.results import Result, stamp

Experiment = Callable[[Context], Result]


def known() -> dict[str, Experiment]:
    """Gather the experiments of all modules in this folder."""
    found: dict[str, Experiment] = {}
    for module in pkgutil.iter_modules(experiments.__path__, f"{experiments.__name__}."):
        found |= getattr(importlib.import_module(module.name), "EXPERIMENTS", {})
    return found


def names() -> dict[str, str]:
    """List the experiments by name, with a line on each."""
    return {name: summary(experiment) for name, experiment in known().items()}


def summary(experiment: Experiment) -> str:
    """Return the first line of an experiment's docstring."""
    return (experiment.__doc__ or "").strip().partition("\n")[0]


def find(name: str) -> Experiment:
    """Find an experiment by its name, or by "path/to/file.py:name".

    Raises:
      InputError: there is none; those that exist are named.
    """
    file, _, wanted = name.rpartition(":")
    there = getattr(import_file(Path(file)), "EXPERIMENTS", {}) if file else known()
    if wanted not in there:
        raise InputError(
            f"There is no experiment {wanted!r}{did_you_mean(wanted, there)}; there are "
            f"{', '.join(sorted(there))}, or name one of a file, such as "
            "my_experiments/mine.py:first."
        )
    return there[wanted]


def run(name: str, context: Context) -> Result:
    """Run an experiment and write `<name>.json` beside its figures.

    Raises:
      InputError: there is no such experiment, or what it needs is not there.
    """
    begun, experiment = time.monotonic(), find(name)
    result = dataclasses.replace(
        experiment(context), command=context.command(name), hardware=hardware()
    )
    result = stamp(result, begun)
    result.save(context.results / f"{name.rpartition(':')[2]}.json")
    return result
