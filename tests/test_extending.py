"""What users add lies in folders of their own, and is used from the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from click.testing import CliRunner
from PIL import Image

from lrjax import tfds_builders
from lrjax.cli.main import cli
from lrjax.data.faces import load_faces
from lrjax.models import registry, weights
from lrjax.report.results import Result
from lrjax.tasks import runs

pytestmark = pytest.mark.usefixtures("quick_compile")

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
# Two steps of small networks.
SMALL = (
    *("--set", "g2.size=16", "--set", "image_size=32", "--set", "train.batch_size=4"),
    *("--set", "train.steps=2", "--set", "train.log_every=1"),
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the documentation's examples; faces of noise stand in for prepared ones."""
    entry = runs.TASKS["landmarks"]._replace(load=tiny.noise)
    monkeypatch.setattr(runs, "TASKS", runs.TASKS | {"landmarks": entry})
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "NETWORKS", dict(registry.NETWORKS))
    monkeypatch.setattr(tfds_builders, "__path__", [*tfds_builders.__path__])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return tmp_path


def lrjax(*words: object) -> str:
    """Standard output of a command that goes well."""
    result = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_network_a_configuration_and_an_experiment(project: Path) -> None:
    assert "runs/my-mine: finished after 2 steps." in lrjax("train", "my.py:mine", *SMALL)
    run = project / "runs" / "my-mine"
    found = weights.load(run, "g2", ("landmarks",))
    assert (found.network.config.name, found.network.config.depth) == ("tiny_net", 1)
    printed = json.loads(lrjax("config", "my.py:mine", "--set", "g2.depth=3"))
    assert printed["g2"]["depth"] == 3
    # The run is found again by the experiment, and its network by what looks at pictures.
    done = lrjax("experiment", "my_experiments.py:first", *SMALL)
    assert "my-mine" in done
    assert Result.load(project / "results" / "first.json").tables[0].rows == (("my-mine", 2),)
    Image.new("RGB", (40, 40), "grey").save(project / "face.png")
    words = ("predict", "--images", "face.png", "--crops", "--weights", run, "--out", "-")
    assert lrjax("--import", "my.py", *words).splitlines()[1].startswith("face.png,0,0,40,40,")


def test_a_loss(project: Path) -> None:
    """That of the task, with a term more."""
    lrjax("train", "my_loss.py:shrinking", *SMALL, "--set", "g2.widths=[4]")
    values = [
        line["size"] for line in records(project / "runs" / "my_loss-shrinking") if "size" in line
    ]
    assert len(values) == 2
    assert all(value > 0 for value in values)
    written = json.loads((project / "runs" / "my_loss-shrinking" / "config.json").read_text())
    assert (written["task"], written["shrink"]) == ("shrinking", 0.5)


def test_a_registered_network_by_its_name() -> None:
    for name in ("mobilefacenet", "sphereface20"):
        printed = json.loads(lrjax("config", "recognition:l1", "--set", f"network={name}"))
        assert printed["network"] == {"name": name, "width": 1.0, "dropout": None}
    printed = json.loads(lrjax("config", "my.py:mine", "--set", "g2=heatmap_generator"))
    assert printed["g2"]["name"] == "heatmap_generator"


def test_a_dataset(project: Path) -> None:
    (project / "pictures").mkdir()
    for i in range(3):
        Image.new("RGB", (64, 64), (60 * i, 90, 90)).save(project / "pictures" / f"{i}.png")
    words = ("--manual-dir", "pictures", "--data-dir", "records")
    assert "my_faces 1.0.0 in records" in lrjax("prepare", "my_faces", *words)
    where = {"data_dir": project / "records", "crop_size": 16, "context": 1.25, "scheme": "five"}
    faces = load_faces("my_faces:train", **where)
    assert faces.names == ("0.png", "1.png", "2.png")
    np.testing.assert_array_equal(faces.visible, True)
    assert "Already prepared" in lrjax("prepare", "my_faces", *words)
