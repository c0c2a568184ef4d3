"""FOLDER STEPS PARALLEL/FEED[/KEEP]... [COORDINATOR PROCESSES PROCESS]: train the toy, each way.

Each run is in FOLDER/PARALLEL-FEED. A checkpoint is saved after every step, and the last KEEP of
them (2) are kept.
"""

import sys
from pathlib import Path

import tiny

from lrjax.training import loop, parallel


def main(folder: str, steps: str, ways: str, *cluster: str) -> None:
    """Train."""
    if cluster:
        coordinator, processes, process = cluster
        parallel.join(coordinator, int(processes), int(process))
    for way in ways.split(","):
        mode, feed, keep = (*way.split("/"), "2")[:3]
        config = tiny.train_config(parallel=mode, feed=feed, checkpoint_every=1, keep=int(keep))
        loop.fit(
            tiny.toy(),
            config,
            int(steps),
            tiny.toy_data(),
            Path(folder) / f"{mode}-{feed}",
            held_out=tiny.toy_data(10, seed=1)["points"],
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
