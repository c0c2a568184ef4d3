"""The command line, with faces of noise in place of prepared records; NOISE_SEED makes others."""

import os
import sys
from pathlib import Path

import tiny

from lrjax.cli.main import main
from lrjax.tasks import runs


def noise(config: runs.Config, data_dir: Path) -> tuple[dict, object]:
    """Stands in for `runs.load_sources`."""
    return tiny.noise_sources(config, seed=int(os.environ.get("NOISE_SEED", "0")))


runs.load_sources = noise
sys.exit(main())
