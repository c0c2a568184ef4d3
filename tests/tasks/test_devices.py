"""The real tasks on one device and on four: the same gradients, statistics and losses."""

from __future__ import annotations

import json
from pathlib import Path

import child
import numpy as np
import pytest
import step_programs

from lrjax.configs.landmarks import get_config
from lrjax.tasks.degradation import DegradationConfig

# What learns. G1 is frozen while landmarks are learned.
LEARNERS = {
    "landmarks:s4": {"g2", "d2", "d3"},
    "landmarks:pretrained": {"g2"},
    "degradation": {"g1", "d1"},
    "super_resolution:esrgan-small": {"upsampler", "discriminator"},
}

# See `step_programs.check`. The critics' own losses follow G2's, which go back through them.
PASSES = {
    "landmarks:s4": {"g2": 2, "d2": 3},
    "landmarks:pretrained": {"g2": 2},
    "degradation": {"g1": 2},
    "super_resolution:esrgan-small": {"discriminator": 5},
}


@pytest.fixture(
    scope="module",
    params=[
        "landmarks:s4",
        # The others need as long again, to compile.
        pytest.param("landmarks:pretrained", marks=pytest.mark.slow),
        pytest.param("degradation", marks=pytest.mark.slow),
        pytest.param("super_resolution:esrgan-small", marks=pytest.mark.slow),
    ],
)
def steps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A configuration's name, and one step of gradient descent on one device and on four."""
    folder = tmp_path_factory.mktemp("steps")
    child.finish(child.start("step_faces.py", folder, request.param, devices=4))
    return request.param, folder


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by their path."""
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("way", ["4-pmap", "4-mesh"])
def test_gradients_of_four_devices_are_those_of_one(way: str, steps: tuple[str, Path]) -> None:
    name, folder = steps
    one, four = (read(folder / f"{w}.npz") for w in ("1-pmap", way))
    assert set(one) == set(four)
    moved = {path.split("'")[3] for path, change in one.items() if "nets" in path and change.any()}
    assert moved == LEARNERS[name]
    for path, value in one.items():
        scale = max(np.abs(value).max(), 1e-3)
        # What hardly moves a parameter near 1 may round it to a neighbour, on either side.
        atol = 1e-4 * scale + 2.5e-7
        np.testing.assert_allclose(four[path], value, atol=atol, err_msg=path)


def test_examples_stay_where_they_are(steps: tuple[str, Path]) -> None:
    """Devices take their examples out of what all of them hold, and exchange none."""
    name, folder = steps
    step_programs.check(json.loads((folder / "program.json").read_text()), PASSES[name])


@pytest.mark.parametrize("steps", ["landmarks:s4"], indirect=True)
def test_s4_balances_d2_and_logs_the_order_of_equation_13(steps: tuple[str, Path]) -> None:
    found = read(steps[1] / "1-pmap.npz")
    values = {p.split("'")[3]: float(v) for p, v in found.items() if "metrics" in p}
    config = get_config("s4")
    balance = config.gamma * values["kp_real"] - values["kp_fake"]
    k = np.clip(config.lambda_k * balance, 0, 1)  # Eq. 8, from k = 0
    assert values["k"] == pytest.approx(k, abs=1e-8)
    assert values["convergence"] == pytest.approx(values["kp_real"] + abs(balance), rel=1e-5)
    weighted = [
        config.a * values["mse"],
        config.b * values["kp_fake"],
        config.c * values["conf"],
    ]
    logged = [values[f"weighted/{term}"] for term in ("a_mse", "b_kp", "c_conf")]
    assert logged == pytest.approx(weighted, rel=1e-5)
    assert values["weighted/ordered"] == float(logged[0] > logged[1] > logged[2])
    assert {"score_real", "score_fake", "conf_d", "update/g2", "update/d2", "update/d3"} < set(
        values
    )


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["degradation"], indirect=True)
def test_stage_one_logs_the_order_of_equation_1(steps: tuple[str, Path]) -> None:
    found = read(steps[1] / "1-pmap.npz")
    values = {p.split("'")[3]: float(v) for p, v in found.items() if "metrics" in p}
    config = DegradationConfig()
    weighted = [config.alpha * values["gan"], config.beta * values["pixel"]]
    logged = [values["weighted/alpha_gan"], values["weighted/beta_pixel"]]
    assert logged == pytest.approx(weighted, rel=1e-5)
    # The order is that of the gradients at G1's output: a hinge loss may pass zero.
    pulls = [values["pull/alpha_gan"], values["pull/beta_pixel"]]
    assert pulls[1] > 0
    assert values["weighted/ordered"] == float(pulls[0] > pulls[1])
    assert values["gan"] == pytest.approx(-values["score_fake"], rel=1e-5)
