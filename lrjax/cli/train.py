"""`lrjax train`: train a configuration, or finish a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import click
import jax

from lrjax.cli.options import FOLDER, Click, DataDir, Flag, RunsDir, Settings, command
from lrjax.cli.say import put, say
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.report.samples import save_pictures
from lrjax.tasks import runs
from lrjax.training import loop, parallel

NEXT = {
    "degradation": "lrjax train landmarks:s4 --set stage1={}",
    "landmarks": "lrjax evaluate {} alrf:test",
    "recognition": "lrjax identify {} tinyface",
    "csri": "lrjax identify {} tinyface",
    "super_resolution": "lrjax upsample --weights {} --images DIR --out DIR",
}
"""What one does with a run of each task."""


@command(
    run_dir="Folder of the run.  [default: RUNS_DIR/CONFIG-VARIANT]",
    resume="Go on with the run in the folder, if there is one; or remove it and begin anew.",
    distributed="Be one of the processes of a cluster's job.",
    coordinator="Where the first process listens.",
    processes="How many train together.",
    process="Which one this is, from 0.",
)
def train(
    name: Annotated[str, Click(metavar="CONFIG[:VARIANT]")],
    *,
    run_dir: Annotated[Path, FOLDER] | None = None,
    runs_dir: RunsDir,
    data_dir: DataDir,
    settings: Settings = (),
    resume: Annotated[bool, Click(off="--restart")] = True,
    distributed: Flag = False,
    coordinator: Annotated[str, Click(metavar="HOST:PORT")] | None = None,
    processes: Annotated[int, Click(type=click.IntRange(1))] | None = None,
    process: Annotated[int, Click(type=click.IntRange(0))] | None = None,
) -> None:
    """Train CONFIG, or go on where its run stopped.

    CONFIG is one of `lrjax config --list`, or a file of your own, my_configs/landmarks.py:mine,
    that has get_config(variant) and may register networks and tasks. The runs that it names are
    trained first, unless --runs-dir holds them.

    Several processes (one a host, or one a GPU) share a run folder and split each batch. Under
    SLURM, Open MPI or Kubernetes --distributed is enough; elsewhere each is told --coordinator,
    --processes and its own number, --process.
    """
    config = override(runs.find_config(name), settings)
    folder = run_dir or runs.folder_of(name, runs_dir)
    if distributed or (coordinator, processes, process) != (None, None, None):
        parallel.join(coordinator, processes, process)
    if not resume:
        say(f"--restart removes what is in {folder} once all is checked.")
    before = _steps_done(folder) if resume else None
    try:
        graph = runs.Runs(runs_dir, data_dir, pictures=save_pictures)
        with parallel.together():
            state = graph.train(config, folder, restart=not resume)
    except parallel.Lost as error:
        say(str(error))
        os._exit(1)
    except loop.Diverged as error:
        raise InputError(str(error)) from error
    except loop.Interrupted:
        say(f"saved in {folder}; the same command goes on from there.")
        raise
    if jax.process_index() == 0:
        steps = int(state.step)
        again = ", as before: nothing was left to do" if before == steps else ""
        put(f"{folder}: finished after {steps:,} steps{again}.")
        if command := NEXT.get(runs.task_name(config)):
            put(f"Next: {command.format(folder)}")


def _steps_done(folder: Path) -> int | None:
    """The step of the newest checkpoint of a run, if it has any."""
    names = [path.name for path in (folder / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=None)
