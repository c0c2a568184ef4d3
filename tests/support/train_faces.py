"""The command line, with faces of noise in place of prepared records.

With a seed in $STAND_IN, landmarks are the toy task; with "real" there, all tasks are as they are.
"""

import os
from functools import partial

import tiny

from lrjax.cli.main import main
from lrjax.tasks import runs

seed = os.environ["STAND_IN"]
if seed == "real":
    runs.TASKS |= {name: entry._replace(load=tiny.noise) for name, entry in runs.TASKS.items()}
else:
    runs.TASKS["landmarks"] = tiny.toy_entry(partial(tiny.noise_sources, seed=int(seed)))
main()
