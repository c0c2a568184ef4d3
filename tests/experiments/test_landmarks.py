"""K&C's Table 1b has its control, and Table 4 the paper's quantities beside each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lrjax.experiments import high_resolution, landmarks
from lrjax.experiments.context import Context
from lrjax.geometry.points import FIVE, IBUG68, Scheme
from lrjax.tasks.measure import Measured


def measured(error: float, scheme: Scheme = FIVE, data: str = "a:b: 2 faces") -> Measured:
    """Two faces of side 10 whose points are so many pixels off."""
    truth = np.random.default_rng(0).uniform(2, 8, (2, scheme.count, 2))
    if scheme is IBUG68:
        truth[:, 36:42], truth[:, 42:48] = (2, 4), (6, 4)  # pupils are 4 apart
        truth[:, 36], truth[:, 45] = (0, 4), (8, 4)  # and outer corners 8
        truth[:, 37], truth[:, 46] = (4, 4), (4, 4)
    return Measured(
        label="a:b",
        data=data,
        names=("0", "1"),
        predicted=truth + np.array([error, 0]),
        truth=truth,
        visible=np.ones(truth.shape[:2], bool),
        boxes=np.array([[0.0, 0, 10, 10]] * 2),
        confidence=np.ones(2),
        scheme=scheme,
        images=np.zeros((2, 8, 8, 3), np.uint8),
        found=truth,
    )


def test_s2_for_as_long_as_s3_and_s4_is_a_row_and_a_claim() -> None:
    errors = {"S1": 5.0, "S2": 3.0, "S3": 1.0, "S4": 2.0, landmarks.LONGER: 1.5}
    found = {name: measured(error) for name, error in errors.items()}
    table = landmarks._generated_table(found)
    assert [row[0] for row in table.rows] == list(errors)
    assert "15°" in table.note
    claims = landmarks._claims(found, landmarks.TABLE1B_NRMSE, "here")
    assert [(claim.statement, claim.verdict) for claim in claims[-2:]] == [
        ("S2, longer > S3", "held"),
        ("S2, longer > S4", "not held"),
    ]
    # Where all are equally long there is no such row.
    del found[landmarks.LONGER]
    assert len(landmarks._claims(found, {}, "here")) == 4
    assert "equally long" in landmarks._generated_table(found).note


def test_table_4_is_two_networks_by_the_papers_normalisers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def found(network: str, spec: str, *_: object) -> Measured:
        asked.append((network, spec))
        return measured(0.4, IBUG68 if network == "hr68" else FIVE, f"{spec}: 2 faces")

    monkeypatch.setattr(high_resolution, "measure_degraded", found)
    monkeypatch.setattr(Context, "landmarks", lambda self, setting: setting)
    context = Context.create("paper", tmp_path, tmp_path, tmp_path)
    (table,) = high_resolution.table4(context).tables
    assert asked == [
        ("hr68", "w300:common"),
        ("hr68", "w300:challenging"),
        ("hr68", "w300:full"),
        ("hr68", "w300:private_test"),
        ("hr", "aflw:test"),
        ("hr", "aflw:frontal"),
    ]
    rows = {row[:2]: row[2:4] for row in table.rows}
    assert rows["Full", "inter-pupil"] == (4.325, pytest.approx(10.0))
    assert rows["Full", "inter-ocular"] == (None, pytest.approx(5.0))
    assert rows["AFLW", "face-size"] == (1.753, pytest.approx(4.0))
    assert rows["AFLW frontal", "face-size"][0] is None


def test_aflw_is_normalised_by_its_own_box() -> None:
    own = dataclasses.replace(measured(0.4), face_share=0.8)  # of a side of 12.5
    np.testing.assert_allclose(own.errors("face_size"), 0.4 / 12.5)
