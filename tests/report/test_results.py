"""Results on disk: round trip, gathering, and sentences for what cannot be used."""

import dataclasses
import re
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.evaluation.intervals import Sample
from lrjax.report.results import Claim, Figure, Result, claims, gather, stamp
from lrjax.report.tables import Table

RESULT = Result(
    title="Table 1b: S1 to S4 on generated faces",
    order=2,
    tables=(
        Table("Ablation", ("Setting", "NRMSE"), (("S1", 11.33), ("S2", None)), "n", "c", "d", 4),
        Table("Numbers", ("a", "b"), (("x", 0.1 + 0.2), (None, 3), ("—", float("nan")))),
    ),
    figures=(Figure("ced.png", "Cumulative errors, σ = 2"),),
    notes=("S3 is not better than S2 here.",),
    command="python -m experiments.table1b",
    data="300W test, 165 faces",
    hardware="2 CPU cores",
    summary="Four networks.",
    claims=(Claim("S1 > S2", (11.33, 4.2), (8.0, 3.0), (6.5, 7.5), "error"),),
    date="2025-03-01",
    seconds=12.5,
    commit="abc1234",
)


def test_round_trip(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "table1b.json")
    assert Result.load(tmp_path / "table1b.json") == RESULT
    assert "σ" in (tmp_path / "table1b.json").read_text(encoding="utf-8")


def test_only_the_title_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"title": "A"}')
    assert Result.load(tmp_path / "a.json") == Result("A")


def test_gather_sorts_and_passes_over_other_json(tmp_path: Path) -> None:
    for name, title, order in (("x", "Second", 2), ("y", "First", 1), ("z/deep", "Also 1", 1.0)):
        Result(title, order).save(tmp_path / f"{name}.json")
    (tmp_path / "config.json").write_text('{"title": "not a result", "steps": 3}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "half.json").write_text("{")
    found = gather([tmp_path, tmp_path / "z"])
    assert [result.title for _, result in found] == ["Also 1", "First", "Second"]
    assert found[0][0] == tmp_path / "z" / "deep.json"


def test_hidden_parents_do_not_hide_results(tmp_path: Path) -> None:
    Result("A").save(tmp_path / ".cache" / "runs" / "a.json")
    assert len(gather([tmp_path / ".cache" / "runs"])) == 1


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        gather([tmp_path / "nowhere"])


TABLE = '{"title": "A", "tables": [{"title": "T", "columns": ["a"], "rows": [[1]], %s}]}'
CLAIM = '{"title": "A", "claims": [{"statement": "a > b", "interval": %s}]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"title": "A",\n "tables": [', r"bad\.json is not JSON .*line 2 .*experiment"),
        ("[]", r"\[\] is not an object"),
        ("{}", "required field missing @ title"),
        ('{"title": 3}', "3 is not of type str @ title"),
        ('{"title": "A", "tables": {}}', "{} is not a list @ tables"),
        ('{"title": "A", "tables": [3]}', r"3 is not an object .* @ tables\[0\]"),
        ('{"title": "A", "notes": "abc"}', "'abc' is not a list @ notes"),
        ('{"title": "A", "notes": [1]}', r"1 is not of type str @ notes\[0\]"),
        ('{"title": "A", "order": "1"}', "'1' is not of type float @ order"),
        ('{"title": "A", "data": ["x"]}', r"\['x'\] is not of type str @ data"),
        ('{"title": "A", "seconds": true}', "True is not of type float @ seconds"),
        ('{"title": "A", "figures": [{"file": "a.png"}]}', r"missing @ figures\[0\].caption"),
        ('{"title": "A", "figures": [{"file": "../a.png", "caption": ""}]}', "own folder"),
        ('{"title": "A", "figures": [{"file": "/etc/a.png", "caption": ""}]}', "own folder"),
        ('{"title": "A", "col\\nour": 1}', r"extra fields found \(col our\)"),
        (CLAIM % "[1]", "Not enough values"),
        (CLAIM % '"ab"', "'a' is not of type float"),
        (TABLE % '"digits": "2"', r"'2' is not of type int @ tables\[0\].digits"),
        (TABLE % '"digits": 1000000000', "`digits` is 1000000000; give 0 to 12"),
        (TABLE % '"note": 1', r"1 is not of type str @ tables\[0\].note"),
        (TABLE % '"width": 2', r"extra fields found \(width\) @ tables\[0\]"),
        (TABLE.replace("[[1]]", "[[{}]]") % '"note": ""', "{} is not a text, a number or null"),
        (TABLE.replace("[[1]]", "[[true]]") % '"note": ""', "True is not a text, a number"),
        (TABLE.replace('["a"]', "[1]") % '"note": ""', r"1 is not of type str .*columns\[0\]"),
        (TABLE.replace('["a"]', "[]") % '"note": ""', "has no columns"),
        (
            TABLE.replace("[[1]]", "[[1, 2]]") % '"note": ""',
            r"bad\.json is not a result \(run the experiment .*Table 'T': row 0 has 2 cells",
        ),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    check_refused(tmp_path / "bad.json", text, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"title": "A", "tables": [%s]}' % ("[" * 900 + "]" * 900), "is not an object"),
        ('{"title": "A", "order": %s}' % ("9" * 5000), "4300 digits"),
        ('{"title": "A", "order": %s}' % ("9" * 4000), "too large to convert to float @ order"),
        ('{"title": "A", "order": NaN}', "not JSON compliant"),
        ('{"title": "A", "order": -Infinity}', "not JSON compliant"),
        ('{"title": "A", "order": 1e999}', "not JSON compliant"),
        ('{"title": "A", "notes": ["\\ud800"]}', "surrogates not allowed"),
        ('{"title": "A", "notes": ["a", %s3]}' % ("3, " * 1_000_000), r"str @ notes\[1\]"),
        ('{"title": "A", "notes": "%s"}' % ("a" * 1_000_000), "is not a list"),
        ('{"title": "A", "%s": 1}' % ("a" * 1_000_000), "extra fields found"),
    ],
)
def test_hostile_files_end_in_one_short_sentence(tmp_path: Path, text: str, message: str) -> None:
    assert len(check_refused(tmp_path / "bad.json", text, message)) < 1300


def check_refused(path: Path, text: str, message: str) -> str:
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Result.load(path)
    said = str(caught.value)
    assert said.isprintable()
    assert str(path) in said
    assert "run the experiment that wrote it again" in said
    return said


@pytest.mark.parametrize(
    ("ours", "interval", "verdict"),
    [
        ((3.0, 2.0), None, "not shown"),
        ((3.0, 2.0, 1.0), None, "not shown"),
        ((3.0, 2.0), (0.5, 1.5), "held"),
        ((3.0, 2.0), (0.0, 1.5), "not shown"),
        ((2.0, 3.0), (-1.5, -0.5), "not held"),
        ((3.0, 2.0), (-0.1, 2.1), "not shown"),
        ((), None, "not shown"),
        ((3.0, float("nan")), (float("nan"), float("nan")), "not shown"),
    ],
)
def test_verdicts(ours: tuple[float, ...], interval: tuple[float, float], verdict: str) -> None:
    assert Claim("a > b", ours, interval=interval).verdict == verdict


def test_claims_in_words() -> None:
    said = "rank-1: a > b: held (3.00, 2.00 %; difference 0.50, 1.50 %)"
    assert Claim("a > b", (3.0, 2.0), (), (0.5, 1.5), "rank-1").text() == said
    assert Claim("a > b").text() == "a > b: not shown"
    shown = Claim("a > b", (3, 2), interval=(-1, 2.5), unit="").text()
    assert shown == "a > b: not shown (3.00, 2.00; difference -1.00, 2.50)"


def test_claims_stand_beside_the_papers_figures_where_it_has_them_all() -> None:
    people, paper = np.repeat(np.arange(50), 2), {"a": 4.0, "b": 3.0}
    values = {"a": np.tile([1.0, 3.0], 50), "b": np.tile([2.0, 4.0], 50), "c": np.zeros(100)}
    ours = {name: Sample(value, people, "x") for name, value in values.items()}
    first, second = claims([("a", "b"), ("b", "c")], ours, paper, "rank-1")
    assert first == Claim("a > b", (2.0, 3.0), (4.0, 3.0), (-1.0, -1.0), "rank-1")
    assert second == Claim("b > c", (3.0, 0.0), (), (3.0, 3.0), "rank-1")
    assert [first.verdict, second.verdict] == ["not held", "held"]


def test_a_stamp_says_when_and_how_long() -> None:
    stamped = stamp(RESULT, time.monotonic() - 3)
    assert 3 <= stamped.seconds < 60
    assert abs(date.fromisoformat(stamped.date) - datetime.now(UTC).date()) <= timedelta(days=1)
    assert re.fullmatch("[0-9a-f]*", stamped.commit)
    assert dataclasses.replace(stamped, date="", seconds=None, commit="") == dataclasses.replace(
        RESULT, date="", seconds=None, commit=""
    )


def test_results_in_the_repository_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "experiments" / "results"
    assert len(gather([folder])) == len(list(folder.rglob("*.json")))


def test_markdown_holds_everything() -> None:
    text = RESULT.to_markdown()
    assert text.startswith("Four networks.\n\n**Ablation**")
    assert "\n- error: S1 > S2: held (11.33, 4.20 %; difference 6.50, 7.50 %)\n" in text
    assert text.endswith("S3 is not better than S2 here.\n")


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b'{"title": "\xff"}')
    with pytest.raises(InputError, match=r"utf-8.*codec can't decode"):
        gather([tmp_path])


def test_a_number_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Result("A", order=float("nan")).save(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
