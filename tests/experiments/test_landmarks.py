"""K&C's Table 1b has its control, and Table 4 the paper's quantities beside each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lrjax.experiments import ablation, high_resolution, landmarks
from lrjax.experiments.context import Context
from lrjax.geometry.points import FIVE, IBUG68, Scheme
from lrjax.tasks.measure import Measured
from lrjax.tasks.runs import Runs, find_config


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


PAPER = ablation.TABLE1B_NRMSE


def test_s2_for_as_long_as_s3_and_s4_is_a_row_and_what_they_are_compared_with() -> None:
    errors = {"S1": 5.0, "S2": 3.0, "S3": 1.0, "S4": 2.0, ablation.LONGER: 1.5}
    errors |= {ablation.CAMERA: 4.0, ablation.CAMERA_LONGER: 1.0, ablation.CAMERA_D3: 1.0}
    found = {name: (measured(error),) for name, error in errors.items()}
    steps = {"S1": 600, "S2": 600, "S3": 800, "S4": 800, ablation.LONGER: 800}
    table = ablation._generated_table(found, steps)
    assert [row[0] for row in table.rows] == list(errors)
    assert "S2 600, S3 800, S4 800, S2, longer 800" in table.note
    claims = ablation._claims(found, PAPER, "here")
    assert [(claim.statement, claim.paper, claim.verdict) for claim in claims] == [
        ("S1 > S2", (11.33, 4.23), "held"),
        ("S2, longer > S3", (4.23, 4.120), "held"),
        ("S2, longer > S4", (4.23, 4.123), "not held"),
        ("S4 > S3", (4.123, 4.120), "held"),
        ("S1 > camera", (), "held"),
        ("camera > S2", (), "held"),
        ("camera, longer > S4", (), "not held"),
        ("camera, longer > camera + D3", (), "not shown"),
    ]


def test_where_all_learn_from_the_beginning_s2_is_compared_itself() -> None:
    rows = ("S1", "S2", "S3", "S4", ablation.CAMERA, ablation.CAMERA_D3)
    found = {name: (measured(1.0),) for name in rows}
    claims = ablation._claims(found, {}, "here")
    assert [claim.statement for claim in claims] == [
        *("S1 > S2", "S2 > S3", "S2 > S4", "S4 > S3"),
        *("S1 > camera", "camera > S2", "camera > S4", "camera > camera + D3"),
    ]
    assert {(claim.verdict, claim.paper) for claim in claims} == {("not shown", ())}
    # S1 has AFLW's faces alone, and as many epochs of them.
    paper = {"S1": 118_750, "S2": 145_094, "S3": 145_094, "S4": 145_094}
    note = ablation._generated_table(found, paper).note
    assert "S1 118,750, S2 145,094" in note
    assert "as many epochs" in note
    assert "epochs" not in ablation._generated_table(found, dict.fromkeys(paper, 400)).note


def test_the_quickstart_has_the_paper_s_rows_alone(tmp_path: Path) -> None:
    rows = {
        size: list(landmarks.networks_of(Context.create(size, tmp_path, tmp_path, tmp_path)))
        for size in ("quick", "small", "paper")
    }
    assert rows["quick"] == ["S1", "S2", "S2, longer", "S3", "S4"]
    assert rows["small"] == list(landmarks.ROWS)
    assert rows["paper"] == ["S1", "S2", "S3", "S4", "camera", "camera + D3"]
    found = {name: (measured(1.0),) for name in rows["quick"]}
    assert [claim.statement for claim in ablation._claims(found, {}, "here")] == [
        *("S1 > S2", "S2, longer > S3", "S2, longer > S4", "S4 > S3")
    ]
    note = ablation._generated_table(found, dict.fromkeys(found, 3)).note
    assert note.endswith("with which they are compared.")


def test_steps_are_counted_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context.create("small", tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(Runs, "ensure", lambda self, name: name)

    def load(run: str, which: str) -> SimpleNamespace:
        steps = find_config(run).train.steps
        return SimpleNamespace(weights=SimpleNamespace(provenance={"step": steps}))

    monkeypatch.setattr(ablation.LandmarkPredictor, "load", load)
    counted = [ablation._steps(context, f"landmarks:{s}-small") for s in ("s1", "s2", "s4")]
    assert counted == [2000, 2000, 3000]


def test_faces_are_paired_and_seeds_averaged_over() -> None:
    """The differences of both seeds are of one face, and drawn together."""
    found = {
        name: (measured(first), measured(second))
        for name, (first, second) in {
            "S1": (5.0, 3.0),
            "S2": (4.0, 1.0),
            "S3": (1.0, 1.0),
            "S4": (1.0, 2.0),
            ablation.CAMERA: (1.0, 1.0),
            ablation.CAMERA_D3: (1.0, 1.0),
        }.items()
    }
    first, _, _, last, *_ = ablation._claims(found, PAPER, "here")
    assert (first.ours, first.interval) == (pytest.approx((40, 25)), pytest.approx((15, 15)))
    assert (last.ours, last.interval) == (pytest.approx((15, 10)), pytest.approx((5, 5)))
    row = ablation._generated_table(found, dict.fromkeys(found, 1)).rows[0]
    assert row[2] == "40.00 ± 10.00"


def test_the_floor_is_the_mean_of_the_faces_in_their_boxes() -> None:
    one = measured(3.0)
    floor = ablation._mean_face(one)
    np.testing.assert_allclose(floor.predicted, np.tile(one.truth.mean(0), (2, 1, 1)))
    moved = dataclasses.replace(
        one,
        truth=np.stack([one.truth[0], 2 * one.truth[0] + 5]),
        boxes=np.array([[0.0, 0, 10, 10], [5, 5, 20, 20]]),
    )
    # Both are one face, moved and enlarged.
    np.testing.assert_allclose(ablation._mean_face(moved).errors("face_size"), 0, atol=1e-12)
    hidden = dataclasses.replace(one, visible=np.array([[True] * 5, [False] * 5]))
    assert ablation._mean_face(hidden).errors("face_size")[0] == pytest.approx(0)
    table = ablation._other_table({"S1": (one,)})
    assert [row[0] for row in table.rows] == ["S1", "mean face"]


def test_table_1a_has_the_paper_s_two_columns_and_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = measured(0.5)
    one.predicted[1] += 1.0  # errors of 0.05, and of √(1.5² + 1) / 10
    chosen: list[tuple[frozenset[str], str] | None] = [(frozenset({"1"}), "found by me")]
    monkeypatch.setattr(landmarks, "measure_photographs", lambda *_: one)
    monkeypatch.setattr(landmarks, "detected_faces", lambda *_: chosen[0])
    monkeypatch.setattr(landmarks, "_seconds_a_face", lambda *_: 0.5)
    theirs = ("MTCNN (published weights)", None, None, None, 0.3, None, 0.5)
    monkeypatch.setattr(landmarks.mtcnn, "row", lambda *_: theirs)
    monkeypatch.setattr(landmarks.LandmarkPredictor, "load", lambda *_, **__: None)
    monkeypatch.setattr(Context, "run", lambda self, name: tmp_path)
    context = Context.create("small", tmp_path, tmp_path, tmp_path)

    def rows() -> dict[str, dict[str, object]]:
        (table,) = landmarks.table1a(context).tables
        return {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}

    found = rows()
    paper = [found[name]["NRMSE, paper's 479 detected faces"] for name in landmarks.TABLE1A]
    assert paper == [0.9736, 0.3107, 0.3141, 0.1803]
    second = np.sqrt(1.5**2 + 1) / 10
    assert found["S4 (ours)"]["NRMSE, ours"] == pytest.approx((0.05 + second) / 2)
    assert found["S4 (ours)"]["NRMSE, ours, detected faces"] == pytest.approx(second)
    result = landmarks.table1a(context)
    assert result.data == "alrf:test, 2 faces; detected: 1 of them, found by me"
    # Where none is detected, or nothing can tell, there is no second figure.
    for none in (None, (frozenset[str](), "found by me")):
        chosen[0] = none
        assert rows()["S4 (ours)"]["NRMSE, ours, detected faces"] is None


def test_what_is_not_the_paper_s_is_told_with_the_results(tmp_path: Path) -> None:
    small = Context.create("small", tmp_path, tmp_path, tmp_path).departures("s4")
    assert small == (
        "Training here: learning rate 0.001 (paper: 0.0002); its schedule cosine (paper: halving); "
        "share of training faces without a margin 0.5 (paper: not said)."
    )
    quick = Context.create("quick", tmp_path, tmp_path, tmp_path).departures("s4")
    assert quick == (
        "Training here: σ of the heatmaps 3 (paper: 2); faces are turned by up to ± degrees 15 "
        "(paper: 30); learning rate 0.001 (paper: 0.0002); share of training faces without a "
        "margin 0.5 (paper: not said)."
    )
    changed = ("g2.sigma=2.5", "augment.tight=0")
    paper = Context.create("paper", tmp_path, tmp_path, tmp_path, changed).departures("s4")
    assert paper == (
        "Training here: σ of the heatmaps 2.5 (paper: 2); share of training faces without a margin "
        "0 (paper: not said)."
    )


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
    table, _ = high_resolution.table4(context).tables
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


def test_the_rows_of_table_4_agree_with_themselves_and_name_their_normalisers() -> None:
    table = high_resolution.peers()
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert len(rows) == 11
    for name, row in rows.items():
        # "Full" is Common's 554 faces and Challenge's 135 together.
        full = (554 * row["Common"] + 135 * row["Challenge"]) / 689
        assert row["Full"] == pytest.approx(full, abs=0.03), name
        assert (row["AFLW"] is None) == (row["AFLW's normaliser"] is None)
    outer = {name for name, row in rows.items() if row["300W's normaliser"] == "inter-ocular"}
    assert outer == {"PCD-CNN", "SAN*", "LAB*"}
    ours = {name: value for (name, _), value in high_resolution.PAPER.items()}
    assert {name: rows["HR-LD"][name] for name in ours} == ours


def test_aflw_is_normalised_by_its_own_box() -> None:
    own = dataclasses.replace(measured(0.4), face_share=0.8)  # of a side of 12.5
    np.testing.assert_allclose(own.errors("face_size"), 0.4 / 12.5)
