"""An experiment of one's own: it trains what is missing, and makes a table."""

from pathlib import Path

from lrjax.experiments.context import Context
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.runs import load_config


def first(context: Context) -> Result:
    """Count the steps of my run."""
    run = context.run(f"{Path(__file__).parent / 'my.py'}:mine")
    steps = load_config(run).train.steps
    return Result("Mine", tables=(Table("Steps", ("run", "steps"), ((run.name, steps),)),))


EXPERIMENTS = {"first": first}
