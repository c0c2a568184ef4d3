"""FOLDER [CASE ...]: records what five steps of each task compute, in every setting of its losses.

`tests/golden/CASE.json` gets the metrics of each step and three numbers for each network's arrays
of a kind, FOLDER/CASE.npz the arrays themselves. Without names of cases, all are recorded.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import people
from golden_adapter import stepped
from golden_cases import CASES

RECORDS = Path(__file__).resolve().parent.parent / "golden"
FLOOR = 1e-6
"""Absolute differences of two records that are allowed beside relative ones."""


def outcome(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a case computes now: its record, and all arrays by their path.

    `folder` is an empty one, in which it keeps what it starts from.
    """
    people.use_small()
    nets, losses, metrics = stepped(*CASES[name](folder))
    kinds = {f"{net}/{kind}": _by_path(tree) for net in nets for kind, tree in nets[net].items()}
    states = _by_path(losses)
    record = {
        "networks": {
            kind: aggregate(kinds[kind].values()) for kind in sorted(kinds) if kinds[kind]
        },
        "losses": {
            path: aggregate([value]) if value.ndim else [_short(value)]
            for path, value in states.items()
        },
        "metrics": {key: [_short(values[key]) for values in metrics] for key in sorted(metrics[0])},
    }
    arrays = {f"{kind}/{path}": x for kind, tree in kinds.items() for path, x in tree.items()}
    return record, arrays | {f"losses/{path}": value for path, value in states.items()}


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def aggregate(arrays: Iterable[np.ndarray]) -> list[float]:
    """The sum of arrays, of their squares, and of their products with fixed random numbers.

    Those numbers depend on an array's size alone: neither names nor order of arrays matter.
    """
    total = np.zeros(3)
    for array in arrays:
        x = np.asarray(array, np.float64).reshape(-1)
        weights = np.random.default_rng(x.size).normal(size=x.size)
        total += x.sum(), np.square(x).sum(), x @ weights
    return [_short(value) for value in total]


def _short(value: Any) -> float:
    """The number with the fewest digits that is the same float32."""
    return float(str(np.float32(value)))


def differences(found: dict[str, Any], recorded: dict[str, Any], tolerance: float) -> list[str]:
    """Where records differ by more than `tolerance`, relative, and `FLOOR`: sentences.

    Sums and projections of arrays are compared relative to the Euclidean length of all of them.
    """
    said = []
    for part in ("networks", "losses", "metrics"):
        ours, theirs = found[part], recorded[part]
        said += [f"{name} is in one record only" for name in sorted(ours.keys() ^ theirs.keys())]
        for name in sorted(ours.keys() & theirs.keys()):
            a, b = (np.array(record[name], np.float64) for record in (ours, theirs))
            scale = np.abs(b)
            if part != "metrics" and len(b) == 3:
                scale[[0, 2]] = np.maximum(scale[[0, 2]], np.sqrt(b[1]))
            worst = (np.abs(a - b) / (tolerance * scale + FLOOR)).max()
            if not worst <= 1:
                said.append(f"{name} is {ours[name]}, not {theirs[name]}: {worst:.2g} tolerances")
    return said


def main(folder: Path, names: list[str]) -> None:
    """Record cases."""
    jax.config.update("jax_disable_most_optimizations", True)  # as the test does
    RECORDS.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            record, arrays = outcome(name, Path(scratch))
        # One line for each list of numbers.
        lines = re.sub(r"\n {3,}|\n {2}(?=\])", " ", json.dumps(record, indent=1))
        (RECORDS / f"{name}.json").write_text(lines + "\n")
        np.savez(folder / f"{name}.npz", **arrays)
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
