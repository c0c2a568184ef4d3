"""The tables of identification are whole, and measured by the protocols that their papers say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lrjax.config import AlignmentConfig
from lrjax.configs import SIZES, sized
from lrjax.evaluation.identification import Identification
from lrjax.experiments import csri, identification, recognition
from lrjax.experiments.context import Context
from lrjax.experiments.identification import Measured, load_aligner, load_encoder, pooled, write
from lrjax.experiments.protocols import CHENG, KUMAR
from lrjax.inference.encoder import FaceEncoder
from lrjax.models.registry import build
from lrjax.models.weights import Weights
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
    for better, worse in table.orders:
        first, second = (
            table.settings[row].paper.get(f"rank-{table.rank}") for row in (better, worse)
        )
        if first and second:  # "pretrained" and "resized only" are not in the paper
            assert first > second, (better, worse)


@pytest.mark.parametrize("name", TABLES)
def test_the_paper_s_figures_are_at_its_ranks(name: str) -> None:
    table = TABLES[name]
    assert table.protocol == (CHENG if name.startswith("csri") else KUMAR)
    known = [*(f"rank-{rank}" for rank in table.protocol.ranks), "mAP"]
    assert table.rank in table.protocol.ranks
    for label, setting in table.settings.items():
        if name == "table2a":
            assert list(setting.paper) == ["rank-1"]
        elif setting.paper:
            assert list(setting.paper) == known, label
            values = list(setting.paper.values())
            assert values[:-1] == sorted(values[:-1]), label
            assert values[-1] < values[0], label


FACES = np.zeros((2, 8, 8, 3), np.uint8)


def measured(*ranks: int, dataset: str = "people", whole: bool = False) -> Measured:
    """Probes of two people, two each, of whose mates the ranks are said."""
    sizes = (4443, 153_428) if whole else (60, 40)
    result = Identification(np.array(ranks)[:, None], *sizes, "euclidean")
    people = np.arange(len(ranks)) // 2
    return Measured(dataset, "net", (result,), people, ("3 of 4",), FACES)


def test_a_result_has_both_sides_of_the_table_and_its_claims(tmp_path: Path) -> None:
    context = Context.create("w300", tmp_path, tmp_path, tmp_path)
    ours = {"joint": measured(1, 3, 30, 90), "CSRI": measured(1, 1, 60, 1)}
    ours[csri.NATIVE_ONLY] = measured(1, 1, 1, 1)
    ours |= {"raw pixels": measured(2, 2, 2, 2), "untrained network": measured(5, 5, 5, 5)}
    result = write(context, "csri_table7", csri.TABLES["csri_table7"], ours)
    (table,) = result.tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows)[-2:] == ["raw pixels", "untrained network"]
    assert rows["CSRI"]["rank-1, paper"] == 44.8
    assert rows["CSRI"]["rank-1, ours"] == 75.0
    assert rows["joint"]["rank-20, ours"] == 50.0
    assert rows["joint"]["rank-50, ours"] == 75.0
    assert rows["joint"]["aligned, ours"] == "3 of 4"
    assert rows["raw pixels"]["rank-1, paper"] is None
    assert "aligned, paper" not in table.columns
    assert "Euclidean distance, with distractors" in table.note
    assert table.data == "people: 4 probes, 60 gallery pictures, distractors: 40"
    claim, other = result.claims
    # Person 0 gains one probe of two, and so does person 1: so does whoever is drawn.
    assert (claim.statement, claim.ours, claim.paper) == ("CSRI > joint", (75, 25), (44.8, 36.1))
    assert (claim.interval, claim.verdict) == ((50, 50), "held")
    # A row of ours alone has no figure of the paper's. Person 0 loses nothing, person 1 a half.
    assert (other.ours, other.paper, other.interval) == ((75, 100), (), (-50, 0))
    assert other.verdict == "not shown"
    assert [(tmp_path / figure.file).is_file() for figure in result.figures] == [True] * 3
    assert [figure.file for figure in result.figures[:2]] == [
        "csri_table7-cmc.svg",
        "csri_table7-pr.svg",
    ]
    assert "one seed" in result.notes[0]


def test_notes_tell_a_stand_in_and_short_runs_where_they_are(tmp_path: Path) -> None:
    table = dataclasses.replace(csri.TABLES["csri_table7"], orders=())
    whole = np.ones(3728, int)

    def notes(size: str, one: Measured) -> str:
        context = Context.create(size, tmp_path, tmp_path, tmp_path)
        return " ".join(write(context, "x", table, dict.fromkeys(table.rows, one)).notes)

    assert notes("paper", measured(*whole, whole=True)) == ""
    assert "stands in" in notes("paper", measured(1, 1))
    assert "stands in" not in notes("small", measured(*whole, whole=True))
    assert "narrow" in notes("small", measured(*whole, whole=True))
    assert "narrow" not in notes("w300", measured(1, 1))


def test_rows_of_the_same_people_are_not_compared_twice(tmp_path: Path) -> None:
    """At the size "quick" SynLR's people are those of TinyFace."""
    table = csri.TABLES["csri_table4"]
    ours = dict.fromkeys(table.rows, measured(1, 1, 2, 2))
    quick = Context.create("quick", tmp_path, tmp_path, tmp_path)
    result = write(quick, "csri_table4", table, ours)
    assert result.claims == ()
    assert "the same rows twice" in result.notes[0]
    # Elsewhere the two are other people, whose rows are not paired.
    ours |= {row: measured(1, 1, 2, 2, dataset="synlr") for row in csri.SHRUNK}
    found = write(Context.create("small", tmp_path, tmp_path, tmp_path), "x", table, ours).claims
    assert [claim.statement for claim in found] == [
        "VggFace, SynLR > VggFace, TinyFace",
        "CentreFace, SynLR > CentreFace, TinyFace",
    ]
    assert found[0].where == "rank-20"
    assert found[0].paper == (46.8, 40.4)


def test_seeds_are_averaged_over() -> None:
    first, second = measured(1, 3, 30, 90), measured(1, 1, 1, 2)
    both = pooled([first, second])
    assert both.sizes == first.sizes
    assert both.aligned == ("3 of 4", "3 of 4")
    for rank in (1, 20, 50):
        average = (first.result.cmc_at(rank) + second.result.cmc_at(rank)) / 2
        assert both.result.cmc_at(rank) == average
        assert both.hits(rank).mean == pytest.approx(100 * average)
    assert both.result.mean_ap == (first.result.mean_ap + second.result.mean_ap) / 2
    np.testing.assert_array_equal(both.hits(1).units, [0, 0, 1, 1] * 2)


def test_floors_see_the_faces_of_a_row_and_have_learned_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in TABLES.values():
        floors = [label for label, setting in table.rows.items() if setting.floor]
        assert len(floors) == 2 * len(table.floors)
        for label in floors:
            row = table.rows[label]
            of = [s for s in table.settings.values() if s.encoder == row.encoder]
            assert (row.alignment, row.shrunk) in [(s.alignment, s.shrunk) for s in of]
    network = build(find_config("recognition:centreface-small").network)
    trained = Weights(network, network.init(jax.random.key(9)), {}, tmp_path, "trained")
    monkeypatch.setattr(FaceEncoder, "load", lambda *_: FaceEncoder(trained))
    monkeypatch.setattr(Runs, "ensure", lambda self, name: tmp_path)
    rows = csri.TABLES["csri_table3"].rows
    first, second = Context.create("small", tmp_path, tmp_path, tmp_path, seeds=2).seeded()
    faces = np.random.default_rng(0).integers(0, 256, (3, 56, 48, 3), np.uint8)
    pixels = load_encoder(first, rows["raw pixels"])
    assert (pixels.name, pixels.template.height) == ("raw pixels", 56)
    # Squares of two pixels are averaged: 56 are more than 32.
    means = faces.reshape(3, 28, 2, 24, 2, 3).mean((2, 4)) / 127.5 - 1
    np.testing.assert_allclose(
        pixels.embed(faces, "none"), means.reshape(3, -1), rtol=1e-4, atol=1e-5
    )
    drawn, again, other = (
        load_encoder(c, rows["untrained network"]) for c in (first, first, second)
    )
    found = drawn.embed(faces, "none")
    np.testing.assert_array_equal(found, again.embed(faces, "none"))
    for one in (FaceEncoder(trained), other):
        assert np.abs(found - one.embed(faces, "none")).max() > 1e-3
    assert len({one.identity for one in (pixels, drawn, other, FaceEncoder(trained))}) == 4


def test_the_notes_of_csri_say_what_the_configurations_are() -> None:
    for name in ("deepid2", "sphereface", "vggface", "centreface", "rpcn"):
        distilled = find_config(f"recognition:{name}-small")
        assert distilled.teacher == "mobilefacenet.safetensors"
        assert (distilled.train.steps, distilled.train.batch_size) == (2000, 32)
        assert distilled.coarse == 0.5
    assert "2,000 steps of 32 faces, half of them made small" in csri.DISTILLED
    for name in ("recognition:centreface_tuned", "recognition:centreface_aux", "csri:joint"):
        later = find_config(f"{name}-small")
        assert (later.train.steps, later.train.batch_size) == (300, 32)
    both = find_config("csri:csri-small").train
    assert (both.steps, both.batch_size) == (300, 2 * 32)
    assert "300 steps with 32 native faces each" in csri.DISTILLED
    assert all(table.small == csri.DISTILLED for table in csri.TABLES.values())
    for name in ("csri_table5", "csri_table6"):
        assert "centre loss" in csri.TABLES[name].note
    assert find_config("recognition:centreface").centre > 0
    assert find_config("csri:vdsr_centreface").initial_encoder == "recognition:centreface"
    assert find_config("csri:joint").centre == 0


def test_k_and_c_s_random_halves_are_an_option_of_their_tables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two people, each picture's feature is its own number: of 0, 1, 2 and 10, 11, 12, 13.
    people = {"probe": [0, 0, 1, 1], "gallery_match": [0, 1, 1], "distractors": [-1]}
    values = {"probe": [0, 1, 10, 11], "gallery_match": [2, 12, 13], "distractors": [50]}

    def loaded(spec: str, data_dir: Path) -> SimpleNamespace:
        split = spec.partition(":")[2]
        return SimpleNamespace(split=split, label=np.array(people[split]))

    def embedded(*args: object, **_: object) -> SimpleNamespace:
        split = args[2].split
        features = np.array(values[split], np.float32)[:, None] + [[0, 100]]
        return SimpleNamespace(features=features, aligned=np.ones(len(features), bool))

    shown = SimpleNamespace(images=np.zeros((1, 8, 8, 3), np.uint8))
    aligner = SimpleNamespace(parts=lambda *_: iter([shown]))
    monkeypatch.setattr(identification, "load_encoder", lambda *_: SimpleNamespace(name="net"))
    monkeypatch.setattr(identification, "load_aligner", lambda *_: aligner)
    monkeypatch.setattr(identification, "load_identities", loaded)
    monkeypatch.setattr(identification, "cached_embeddings", embedded)
    row = identification.Setting({}, None)
    official = Context.create("quick", tmp_path, tmp_path, tmp_path)
    drawn = dataclasses.replace(official, halves=3)
    assert drawn.command("table2b").endswith("--halves 3")

    def sizes(context: Context, protocol: identification.Protocol) -> tuple[int, int]:
        result = identification.measure(context, row, protocol).result
        return result.probes, result.gallery

    # Three and four pictures: one and two of them are probes, the rest is the gallery.
    assert sizes(drawn, KUMAR) == (3, 4)
    assert sizes(official, KUMAR) == sizes(drawn, CHENG) == sizes(official, CHENG) == (4, 3)
    one = identification.measure(drawn, row, KUMAR)
    few = dataclasses.replace(KUMAR, ranks=(1,))
    table = dataclasses.replace(recognition.TABLES["table3"], protocol=few)
    note = write(drawn, "table3", table, dict.fromkeys(table.settings, one)).tables[0].note
    assert "Probes and gallery are random halves (seed 3)." in note
    assert len(one.people) == len(one.result.ranks)
    # All of TinyFace is all of it, however it is halved; what other halves give is not known.
    halved = dataclasses.replace(one.result, ranks=np.ones(4000, int), gallery=4171)
    assert KUMAR.is_whole(halved)
    assert not KUMAR.is_whole(dataclasses.replace(halved, gallery=4170))
    assert "other halves" in drawn.judged("people")
    assert "other halves" not in official.judged("people")


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
