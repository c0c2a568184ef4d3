"""Results on disk: round trip, gathering, and sentences for what cannot be used."""

from pathlib import Path

import pytest

from lrjax.errors import InputError
from lrjax.report.results import Figure, Result, gather
from lrjax.report.tables import Table

RESULT = Result(
    title="Table 1b: S1 to S4 on generated faces",
    order=2,
    tables=(Table("Ablation", ("Setting", "NRMSE"), (("S1", 11.33), ("S2", None))),),
    figures=(Figure("ced.png", "Cumulative errors, σ = 2"),),
    notes=("S3 is not better than S2 here.",),
    command="python -m experiments.table1b",
    data="300W test, 165 faces",
    hardware="2 CPU cores, 3 h",
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"title": "A",\n "tables": [', r"bad\.json is not JSON \(line 2: .*experiment"),
        ("[]", "no `title`"),
        ('{"title": 3}', "no `title`"),
        ('{"title": "A", "tables": {}}', "`tables` is not a list"),
        ('{"title": "A", "notes": [1]}', "`notes` are not all texts"),
        ('{"title": "A", "order": "1"}', "`order` is not a number"),
        ('{"title": "A", "data": ["x"]}', "`data` is not a text"),
        ('{"title": "A", "figures": [{"file": "a.png"}]}', "a figure needs the texts"),
        ('{"title": "A", "figures": [{"file": "../a.png", "caption": ""}]}', "own folder"),
        ('{"title": "A", "figures": [{"file": "/etc/a.png", "caption": ""}]}', "own folder"),
        ('{"title": "A", "colour": 1}', "the field `colour` is unknown"),
        (
            '{"title": "A", "tables": [{"title": "T", "columns": ["a"], "rows": [[1, 2]]}]}',
            r"bad\.json is not a result: Table 'T': row 0 has 2 cells .* run the experiment",
        ),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Result.load(path)
    assert str(caught.value).count("\n") == 0
    assert str(path) in str(caught.value)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b'{"title": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        gather([tmp_path])


def test_a_number_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Result("A", order=float("nan")).save(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
