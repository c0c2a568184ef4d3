"""The list of systems agrees with the configurations, the experiments, and the docs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from lrjax.experiments import csri, recognition, runner, systems
from lrjax.report.page import render_page
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.runs import find_config

RESULTS = Path(__file__).parents[2] / "docs" / "results.md"


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


def test_the_state_is_what_a_result_says(tmp_path: Path) -> None:
    system = systems.System("A", "B", "landmarks:s1", "table9")
    assert systems.state(system, [tmp_path]) == "not measured here"
    (tmp_path / "table9.json").write_text(
        json.dumps({"command": "lrjax experiment table9 --size small --set seed=1"})
    )
    assert systems.state(system, [tmp_path]) == "measured (small)"
    rows = systems.rows([tmp_path])
    assert all(row[4] == "not measured here" for row in rows)
    table = Table("Systems", ("a", "b", "c", "d", "e"), tuple(rows))
    page = render_page("All", [(Path(), Result("All", tables=(table,)))])
    assert "lrjax train csri:csri" in page
