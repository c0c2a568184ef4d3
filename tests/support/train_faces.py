"""The command line, with faces of noise in place of prepared records.

With a seed in $STAND_IN, landmarks are the toy task; with "real" there, they are landmarks.
"""

import os

import tiny

from lrjax.cli.main import main
from lrjax.tasks import runs

seed = os.environ["STAND_IN"]
parts = tiny.stand_ins(0 if seed == "real" else int(seed))
for name in ("load_sources",) if seed == "real" else parts:
    setattr(runs, name, parts[name])
main()
