"""`lrjax report` as a user calls it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lrjax.cli.report import report
from lrjax.errors import InputError
from lrjax.report import draw
from lrjax.report.results import Figure, Result
from lrjax.report.tables import Table


def test_gathers_folders_into_one_page(tmp_path: Path) -> None:
    table = Table("Ablation", ("Setting", "NRMSE"), (("S1", 11.33),))
    Result("Later", 2, tables=(table,)).save(tmp_path / "a" / "later.json")
    Result("Sooner", 1, figures=(Figure("f.png", "faces"),)).save(tmp_path / "b" / "sooner.json")
    draw.save_png(tmp_path / "b" / "f.png", np.zeros((2, 2, 3), np.uint8))
    out = tmp_path / "page.html"
    arguments = [str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out), "--title", "Mine"]
    done = CliRunner().invoke(report, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output == f"{out}: 2 results, 1 tables, 1 pictures\n"
    text = out.read_text(encoding="utf-8")
    assert text.index("Sooner") < text.index("Later")
    assert "<title>Mine</title>" in text
    assert text.index("Later") < text.index("lrjax train csri:csri")  # last, all systems


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{}", "No result lies below .*; run an experiment first"),
        ("a.json", "{", "a.json is not JSON"),
        (
            "a.json",
            '{"title": "A", "tables": [], "figures": [{"file": "no.png", "caption": ""}]}',
            "no.png cannot be read",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    out = tmp_path / "page.html"
    done = CliRunner().invoke(report, [str(tmp_path), "--out", str(out)])
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise done.exception
    assert not out.exists()
