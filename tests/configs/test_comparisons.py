"""Rows that a table of K&C's compares differ in what the paper changes between them, and no more.

Fields of the configurations are compared, those of the runs that they name included: the fields of
a run are written behind a slash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from lrjax.configs import SIZES, sized
from lrjax.experiments import ablation, landmarks
from lrjax.experiments.context import TESTS
from lrjax.experiments.recognition import PRETRAINED, RESIZED, TABLES
from lrjax.tasks import runs

# What G2 looks at, from S1 on.
CRITICS = {"critics"}
MADE_BY = {"degradation", "stage1"}
# L4 and I3 after L3 and I2: G1 has seen TinyFace, and "we reduce the amount of data-augmentation".
END_TO_END = {"stage1/real", "stage1/augment", "augment"}
# HR-LD is trained on other faces, of 128 pixels, and at a CPU's sizes with wider peaks, deeper,
# and from nothing.
HIGH_RESOLUTION = {"labelled", "degradation", "stage1", "g2.size", "critics"}
ON_A_CPU = {"g2.widths", "g2.sigma", "initial", "train"}


def of(field: str, *fields: set[str]) -> set[str]:
    """Fields of the run that is named in a field."""
    return {f"{field}/{inner}" for some in fields for inner in some}


def by(*fields: set[str]) -> set[str]:
    """Fields of what aligns faces."""
    return of("alignment.landmarks", *fields)


# Table -> pairs of rows -> fields in which they may differ, and do in some.
_SMALL_FACES = {"alignment.resize_to", "alignment.align_at"}
_BASELINE = _SMALL_FACES | by(HIGH_RESOLUTION, ON_A_CPU)
COMPARED: dict[str, dict[tuple[str, str], set[str]]] = {
    "table1b": {
        ("s1", "s2"): {"labelled", "degradation", "stage1"},
        # At a CPU's sizes S3 and S4 go on from S2, and so does what they are compared with.
        ("s2_longer", "s3"): CRITICS,
        ("s3", "s4"): CRITICS,
        ("s2_longer", "s4"): CRITICS,
        # Not the paper's: a camera that somebody wrote down.
        ("s1", "camera"): {"labelled", "degradation"},
        ("camera", "s2"): MADE_BY,
        ("camera_longer", "s4"): CRITICS | MADE_BY | of("initial", MADE_BY),
        ("camera_longer", "camera_d3"): CRITICS,
    },
    "table2a": {
        ("L1", "L2"): by(CRITICS),
        ("L2", "L3"): by(CRITICS, {"real"}),
        ("L3", "L4"): by(END_TO_END),
        ("L4", "L5"): {"initial"},
    },
    "table2b": {
        ("Baseline", "I1"): _BASELINE,
        ("Baseline", "I2"): _BASELINE | by({"real"}),
        ("Baseline", "I3"): _BASELINE | by({"real", "augment"}),
        ("I1", "I2"): by(CRITICS, {"real"}),
        ("I2", "I3"): by(END_TO_END),
        # Not the paper's: no landmarks, or those of the network that comes along.
        (RESIZED, PRETRAINED): {"alignment.landmarks"},
        ("Baseline", PRETRAINED): {"alignment.landmarks"} | _SMALL_FACES,
    },
    "table3": {
        ("A1", "A2"): {"alignment.upsample"},
        ("A1", "Baseline"): {"alignment.upsample", "alignment.resize_to"},
        ("A2", "Baseline"): {"alignment.upsample", "alignment.resize_to"},
    },
    # Of one row of the paper: 300W's 68 points, and AFLW's 19.
    "table4": {("hr", "hr68"): {"labelled", "g2.points"}},
}
PAIRS = [(table, *pair) for table, pairs in COMPARED.items() for pair in pairs]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row whose encoder is the same as all others'."""

    alignment: Any
    needs = ("alignment.landmarks", "alignment.upsample")


def row(table: str, name: str, size: str) -> Any:
    """What makes a row, at a size."""
    if table in ("table1b", "table4"):
        return runs.find_config(sized(f"landmarks:{name}", size))
    setting = TABLES[table].settings[name]
    if setting.encoder is not None:
        assert setting.alignment is None  # it is the encoder's own
        return runs.find_config(sized(setting.encoder, size))
    how = setting.alignment
    named = {
        field: sized(getattr(how, field), size)
        for field in ("landmarks", "upsample")
        if ":" in (getattr(how, field) or "")
    }
    return Row(dataclasses.replace(how, **named))


def differences(a: Any, b: Any, needs: tuple[str, ...], before: str = "") -> Iterator[str]:
    """The fields in which two configurations differ, those of the runs that they name included."""
    if type(a) is not type(b):
        yield before.rstrip("./")
        return
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        path = before + field.name
        if x == y:
            continue
        if dataclasses.is_dataclass(x) and dataclasses.is_dataclass(y):
            yield from differences(x, y, needs, f"{path}.")
        elif x and y and path in needs and runs.names_run(x) and runs.names_run(y):
            there = runs.find_config(x), runs.find_config(y)
            yield from (f"{path}/{inner}" for inner in differences(*there, there[0].needs))
        else:
            yield path


def covered(path: str, expected: set[str]) -> bool:
    """Whether a field, or one that it is a part of, is expected to differ."""
    return any(path == one or path.startswith((f"{one}.", f"{one}/")) for one in expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("table", "first", "second"), PAIRS)
def test_compared_rows_differ_as_in_the_paper(
    table: str, first: str, second: str, size: str
) -> None:
    a, b = row(table, first, size), row(table, second, size)
    found, expected = sorted(differences(a, b, a.needs)), COMPARED[table][first, second]
    print(f"{table}, {size}: {first} and {second} differ in {', '.join(found)}")
    assert found or (table, size) == ("table4", "w300")  # without AFLW there is one HR-LD
    assert [path for path in found if not covered(path, expected)] == []


@pytest.mark.parametrize(("table", "first", "second"), PAIRS)
def test_nothing_is_expected_in_vain(table: str, first: str, second: str) -> None:
    found = {
        path
        for size in SIZES
        for a, b in [(row(table, first, size), row(table, second, size))]
        for path in differences(a, b, a.needs)
    }
    expected = COMPARED[table][first, second]
    assert [one for one in expected if not any(covered(path, {one}) for path in found)] == []


def test_every_pair_that_a_table_compares_is_here() -> None:
    orders = {name: table.orders for name, table in TABLES.items()}
    assert orders.keys() | {"table1b", "table4"} == COMPARED.keys()
    for name, pairs in orders.items():
        there = {frozenset(pair) for pair in COMPARED[name]}
        assert {frozenset(pair) for pair in pairs} <= there, name
    there = {frozenset(pair) for pair in COMPARED["table1b"]}
    orders = ablation.orders_of(landmarks.ROWS)
    assert {frozenset(landmarks.ROWS[row] for row in pair) for pair in orders} == there
    sharp = {setting for tests in TESTS.values() for setting, _ in tests.sharp.values()}
    assert {frozenset(sharp)} == {frozenset(pair) for pair in COMPARED["table4"]}


@pytest.mark.parametrize("size", ["paper", "w300"])
def test_s2_longer_is_s2_where_none_goes_on_from_it(size: str) -> None:
    assert row("table1b", "s2_longer", size) == row("table1b", "s2", size)


def test_every_row_is_compared() -> None:
    for name in ("table2a", "table2b", "table3"):
        table = TABLES[name]
        compared = {label for pair in COMPARED[name] for label in pair}
        assert compared == table.settings.keys()


def test_another_difference_would_be_found() -> None:
    a = runs.find_config("recognition:l3")
    other = runs.find_config("recognition:l4")
    fewer = dataclasses.replace(other, train=dataclasses.replace(other.train, seed=1))
    assert {"train.seed"} == {
        path for path in differences(a, fewer, a.needs) if not covered(path, by(END_TO_END))
    }
