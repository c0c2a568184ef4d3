"""The tables of identification are whole, and measured by the protocols that their papers say."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lrjax.config import AlignmentConfig
from lrjax.configs import SIZES, sized
from lrjax.evaluation.identification import Identification
from lrjax.experiments import csri, identification, recognition
from lrjax.experiments.context import Context
from lrjax.experiments.identification import CHENG, KUMAR, Measured, load_aligner, write
from lrjax.tasks import data
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.runs import Runs, find_config

TABLES = recognition.TABLES | csri.TABLES


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_what_can_be_trained_in_every_size(name: str) -> None:
    for setting in TABLES[name].settings.values():
        how = setting.alignment or find_config(setting.encoder).alignment
        for run in (setting.encoder, how.landmarks, how.upsample):
            if run is not None and ":" in run:
                for size in SIZES:
                    find_config(sized(run, size))


@pytest.mark.parametrize("name", TABLES)
def test_the_orders_are_the_paper_s(name: str) -> None:
    table = TABLES[name]
    for order in table.orders:
        figures = [table.settings[row].paper.get("rank-1") for row in order]
        if None not in figures:  # "pretrained" and "resized only" are not in the paper
            assert all(a > b for a, b in pairwise(figures)), order


@pytest.mark.parametrize("name", TABLES)
def test_the_paper_s_figures_are_at_its_ranks(name: str) -> None:
    table = TABLES[name]
    assert table.protocol == (CHENG if name.startswith("csri") else KUMAR)
    known = [*(f"rank-{rank}" for rank in table.protocol.ranks), "mAP"]
    for label, setting in table.settings.items():
        if name == "table2a":
            assert list(setting.paper) == ["rank-1"]
        elif setting.paper:
            assert list(setting.paper) == known, label
            values = list(setting.paper.values())
            assert values[:-1] == sorted(values[:-1]), label
            assert values[-1] < values[0], label


def test_a_result_has_both_sides_of_the_table_and_its_claims(tmp_path: Path) -> None:
    context = Context.create("quick", tmp_path, tmp_path, tmp_path)
    faces = np.zeros((2, 8, 8, 3), np.uint8)

    def measured(*ranks: int) -> Measured:
        result = Identification(np.array(ranks)[:, None], 60, 40, "euclidean")
        return Measured("people", "net", result, "3 of 4", faces)

    ours = {"joint": measured(1, 3, 30, 90), "CSRI": measured(1, 1, 60, 4)}
    ours[csri.NATIVE_ONLY] = measured(1, 1, 1, 4)
    result = write(context, "csri_table7", csri.TABLES["csri_table7"], ours)
    (table,) = result.tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["CSRI"]["rank-1, paper"] == 44.8
    assert rows["CSRI"]["rank-1, ours"] == 50.0
    assert rows["joint"]["rank-20, ours"] == 50.0
    assert rows["joint"]["rank-50, ours"] == 75.0
    assert rows["joint"]["aligned, ours"] == "3 of 4"
    assert "aligned, paper" not in table.columns
    assert "Euclidean distance, with distractors" in table.note
    assert table.data == "people: 4 probes, 60 gallery pictures, distractors: 40"
    claim, other = result.claims
    assert (claim.statement, claim.ours, claim.paper) == ("CSRI > joint", (50, 25), (44.8, 36.1))
    assert claim.verdict == "held"
    # A row of ours alone has no figure of the paper's.
    assert (other.ours, other.paper, other.verdict) == ((50, 75), (), "not held")
    assert [(tmp_path / figure.file).is_file() for figure in result.figures] == [True, True]


@pytest.mark.parametrize("name", ["table2a", "table2b", "table3"])
def test_faces_are_aligned_alike_and_by_last_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training and test faces, by the last weights of whatever is a run."""
    context = Context.create("small", tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(Runs, "ensure", lambda self, name: tmp_path / name.replace(":", "-"))
    monkeypatch.setattr(
        identification, "load_config", lambda run: find_config(run.name.replace("-", ":", 1))
    )
    asked: list[tuple[object, ...]] = []

    def load(alignment: AlignmentConfig, template: object, **options: object) -> None:
        asked.append((alignment, options.get("which")))

    monkeypatch.setattr(identification.Aligner, "load", load)
    encoder = SimpleNamespace(template="face32")
    for setting in TABLES[name].settings.values():
        load_aligner(context, setting, encoder)
        (found, which) = asked.pop()
        how = setting.alignment or find_config(f"{setting.encoder}-small").alignment
        assert which == ("last" if ":" in how.landmarks else None)
        assert (found.flip, found.passes, found.fit) == (False, 1, "similarity")
        if name == "table2a":
            folder = tmp_path / how.landmarks.replace(":", "-")
            assert found == dataclasses.replace(how, landmarks=str(folder))


def test_training_faces_are_aligned_by_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def load(alignment: AlignmentConfig, template: object, **options: object) -> None:
        asked.append(options["which"])
        raise InterruptedError

    monkeypatch.setattr(data.Aligner, "load", load)
    people = SimpleNamespace(names=["a/1", "a/2"], label=np.zeros(2, int))
    config = RecognitionConfig(holdout=0.0)
    monkeypatch.setattr(data, "split_holdout", lambda *args: (np.arange(2), np.arange(0)))
    for landmarks in (str(tmp_path), "pretrained"):
        how = AlignmentConfig(landmarks)
        with pytest.raises(InterruptedError):
            data.aligned(config, how, people, config.template, {}, None)
    assert asked == ["last", None]
