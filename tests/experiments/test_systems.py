"""The list of systems agrees with the configurations, the experiments, and the docs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lrjax.experiments import csri, recognition, runner, systems
from lrjax.experiments.context import TESTS
from lrjax.report.page import render_page
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.runs import find_config

ROOT = Path(__file__).parents[2]
README, RESULTS = ROOT / "README.md", ROOT / "docs" / "results.md"
MEASURED = ROOT / "experiments" / "results"


def test_every_system_can_be_trained_and_is_measured_by_an_experiment() -> None:
    names = runner.names()
    for system in systems.SYSTEMS:
        assert dataclasses.is_dataclass(find_config(system.config)), system
        assert system.experiment in names, system
    for paper, count in (("K&C", 16), ("CSRI", 13)):
        names = [one.name for one in systems.SYSTEMS if one.paper == paper]
        assert len(set(names)) == len(names) == count


def test_the_tables_measure_what_the_list_says() -> None:
    tables = recognition.TABLES | csri.TABLES
    for system in systems.SYSTEMS:
        if system.experiment in tables:
            setting = tables[system.experiment].settings[system.name]
            how = setting.alignment
            measured = setting.encoder or how.upsample or how.landmarks
            assert measured == system.config, system


def test_the_docs_list_them_all() -> None:
    text = RESULTS.read_text()
    table = text.split("<!-- systems -->")[1].split("<!-- /systems -->")[0].strip().splitlines()
    cells = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table[2:]]
    assert cells == [
        [one.name, one.paper, one.config, one.experiment, systems.state(one)]
        for one in systems.SYSTEMS
    ]


def verdicts(names: tuple[str, ...], kinds: tuple[str, ...]) -> list[list[str]]:
    """Rows of README: each order, and by kind of faces whether it held, and the interval."""
    claims = [claim for name in names for claim in Result.load(MEASURED / f"{name}.json").claims]
    rows: dict[str, dict[str, str]] = {}
    for claim in claims:
        bounds = " to ".join(f"{bound:.2f}" for bound in claim.interval or ())
        said = f"{claim.verdict}: {bounds}".replace("-", "−")
        rows.setdefault(claim.statement, {})[claim.where] = said
    return [[order, *(found.get(kind, "") for kind in kinds)] for order, found in rows.items()]


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("csri_table6", "csri_table7"), ("rank-1",)),
        (
            ("table1b",),
            (
                "error on w300:full, degraded by generator",
                "error on alrf:test",
                "error on mtfl:test",
            ),
        ),
    ],
)
def test_the_readme_says_which_orders_held(names: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    shown = README.read_text().split(f"<!-- {names[0]} -->")[1].split("<!-- /")[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.split("\n")[3:]]
    assert [row for row in cells if row != [""]] == verdicts(names, kinds)


def test_the_state_is_what_the_row_of_a_result_says(tmp_path: Path) -> None:
    system = systems.System("A", "B", "landmarks:s1", "table9")
    assert systems.state(system, [tmp_path]) == "not measured here"
    table = {"columns": ["Setting", "NRMSE, paper", "NRMSE, ours"], "rows": [["Z", 1.0, 2.0]]}
    result = {"command": "lrjax experiment table9 --size small --set seed=1", "tables": [table]}
    file = tmp_path / "table9.json"
    # Another row, or one that is the paper's alone, does not count.
    for row in (["Z", 1.0, 2.0], ["A", 1.0, None], ["A", 1.0, "no"]):
        table["rows"] = [row]
        file.write_text(json.dumps(result))
        assert systems.state(system, [tmp_path]) == "not measured here"
    table["rows"].append(["A", None, 2.0])
    table["rows"].pop(0)
    file.write_text(json.dumps(result))
    assert systems.state(system, [tmp_path]) == "measured (small)"
    named = dataclasses.replace(system, name="C", row="A")
    assert systems.state(named, [tmp_path]) == "measured (small)"


def test_the_page_lists_them(tmp_path: Path) -> None:
    rows = systems.rows([tmp_path])
    assert all(row[4] == "not measured here" for row in rows)
    table = Table("Systems", ("a", "b", "c", "d", "e"), tuple(rows))
    page = render_page("All", [(Path(), Result("All", tables=(table,)))])
    assert "lrjax train csri:csri" in page


def test_hr_ld_is_the_network_of_300w() -> None:
    (system,) = (one for one in systems.SYSTEMS if one.name == "HR-LD")
    for size in ("paper", "w300", "small"):
        assert TESTS[size].sharp[system.row] == (system.config.partition(":")[2], "w300:common")
