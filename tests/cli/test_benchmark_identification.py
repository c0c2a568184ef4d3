import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lrjax.benchmark import identification
from lrjax.benchmark.timing import Times
from lrjax.cli import benchmark as command
from lrjax.cli.benchmark_identification import identification_result
from lrjax.errors import InputError
from lrjax.report.results import Result

FOUND = identification.Measurements(
    sizes=identification.Sizes(probes=10, gallery=40, distractors=60, dimensions=500),
    times={
        identification.OURS: Times((3.0, 2.8, 6.0)),
        identification.PRODUCT: Times((2.0, 2.0, 5.0)),
        identification.FAISS: Times((4.0, 4.0, 4.0)),
    },
    memory={50: 300_000_000, 100: 301_000_000},
    memory_probes=10,
    machine={"device": "cpu", "devices": 1, "cores": 2, "jax": "0", "faiss": "1"},
)


def test_tables_by_hand() -> None:
    times, memory = identification_result(FOUND, "command").tables
    # 10 x 100 x 500 x 2 = 1e6 operations.
    assert times.rows[0] == ("lrjax", 3.0, 2.8, 6.0, pytest.approx(1e-3 / 3), 1.4, "1.20-1.50")
    assert times.rows[1][5:] == (1.0, "1.00-1.00")
    assert times.rows[2][5:] == (2.0, "0.80-2.00")
    assert memory.rows == ((50, 0.1, 300.0, 0.0), (100, 0.2, 301.0, 1.0))


def test_the_command_writes_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(*arguments: object) -> identification.Measurements:
        asked.append(arguments[:-1])
        return FOUND

    monkeypatch.setattr(identification, "run", run)
    arguments = ["identification", "--distractors=60", "--largest=80", "--rounds=3"]
    result = CliRunner().invoke(
        command.benchmark, [*arguments, f"--results-dir={tmp_path}"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "faiss, flat" in result.output
    assert asked == [(identification.Sizes(distractors=60), 80, 3, 2.0)]
    saved = Result.load(tmp_path / "identification.json")
    assert [table.title for table in saved.tables] == [
        "Time of TinyFace's protocol",
        "Memory by size of the gallery",
    ]
    raw = json.loads((tmp_path / "identification-measurements.json").read_text())
    assert raw["times"]["lrjax"]["samples"] == [3.0, 2.8, 6.0]


def test_what_belongs_to_training_is_refused() -> None:
    with pytest.raises(InputError, match="of training"):
        CliRunner().invoke(
            command.benchmark, ["identification", "--size=quick"], catch_exceptions=False
        )
