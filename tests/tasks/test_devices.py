"""The real tasks on one device and on four: the same gradients, statistics and losses."""

from __future__ import annotations

from pathlib import Path

import child
import numpy as np
import pytest

NAMES = ("landmarks:s4", "landmarks:shipped", "degradation")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of gradient descent of each of NAMES, on one device and on four."""
    folder = tmp_path_factory.mktemp("steps")
    child.finish(child.start("step_faces.py", folder, *NAMES, devices=4))
    return folder


@pytest.mark.parametrize("way", ["4-pmap", "4-mesh"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_four_devices_are_those_of_one(name: str, way: str, steps: Path) -> None:
    name = name.replace(":", "-")
    with np.load(steps / f"{name}-1-pmap.npz") as one, np.load(steps / f"{name}-{way}.npz") as four:
        assert set(one) == set(four)
        trained = {path.split("'")[3] for path in one if "['nets']" in path and one[path].any()}
        # G1 is frozen while landmarks are learned.
        assert (
            trained
            == {
                "landmarks-s4": {"g2", "d2", "d3"},
                "landmarks-shipped": {"g2"},
                "degradation": {"g1", "d1"},
            }[name]
        )
        for path in one:
            scale = max(np.abs(one[path]).max(), 1e-3)
            np.testing.assert_allclose(four[path], one[path], atol=1e-4 * scale, err_msg=path)
