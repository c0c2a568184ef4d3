"""What users add lies in folders of their own, and is used from the command line."""

from __future__ import annotations

import json
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

NETWORKS = """
import flax.linen as nn
import jax

class TinyNet(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, images, train):
        return nn.Conv(self.outputs, (3, 3))(images)
"""

CONFIGS = """
from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from lrjax.config import TrainConfig
from lrjax.configs import landmarks
from lrjax.geometry.points import SCHEMES
from lrjax.models.registry import Network, register
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks import runs
from lrjax.tasks.landmarks import LandmarksConfig, make
from lrjax.training.parallel import mean
from my_networks import TinyNet


@dataclasses.dataclass(frozen=True)
class TinyConfig(LandmarkConfig):
    depth: int = 1


def build(config, axis_name):
    module = TinyNet(outputs=SCHEMES[config.points].count + 1)
    return Network(config, "landmarks", module, ((config.size, config.size, 3),))


register("tiny_net", TinyConfig, build)


@dataclasses.dataclass(frozen=True)
class ShrinkingConfig(LandmarksConfig):
    shrink: float = 0.5

    needs: ClassVar[tuple[str, ...]] = ()


def make_shrinking(config, steps):
    task = make(config, steps)

    def losses(nets, state, batch):
        total, metrics, next_state = task.losses(nets, state, batch)
        kernel = nets.params("g2")["Conv_0"]["kernel"]
        size = config.shrink * jnp.square(kernel).mean()
        return total | {"g2": total["g2"] + size}, metrics | mean({"size": size}), next_state

    return dataclasses.replace(task, losses=losses)


load = runs.TASKS["landmarks"].load
runs.TASKS["shrinking"] = runs.TaskType(ShrinkingConfig, make_shrinking, load)

VARIANTS = ("mine", "shrinking")


def get_config(variant="mine"):
    kind = {"mine": LandmarksConfig, "shrinking": ShrinkingConfig}[variant]
    theirs = landmarks.get_config("s1-quick")
    fields = {f.name: getattr(theirs, f.name) for f in dataclasses.fields(theirs)}
    return kind(**fields | {
        "g2": TinyConfig("tiny_net", points="five", size=16),
        "image_size": 32,
        "train": TrainConfig(batch_size=4, steps=2, log_every=1, samples=0),
    })
"""

EXPERIMENTS = """
from pathlib import Path

from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.runs import load_config

def first(context):
    \"\"\"Count the steps of my run.\"\"\"
    run = context.run(f"{Path(__file__).parent / 'my.py'}:mine")
    steps = load_config(run).train.steps
    return Result("Mine", tables=(Table("Steps", ("run", "steps"), ((run.name, steps),)),))

EXPERIMENTS = {"first": first}
"""

BUILDER = """
import numpy as np

from lrjax.geometry.points import FIVE

from ..common import Face, FaceBuilder, Photo, face_features, tight_box


class Builder(FaceBuilder):
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder of pictures"
    FEATURES = face_features(FIVE.count)
    FOLDERS = ("mine",)

    def scan(self, root, report):
        points = np.array([[20, 20], [40, 20], [30, 30], [22, 42], [38, 42]], np.float64)
        box, visible = tight_box(points), np.ones(5, bool)
        photos = [
            Photo(path, path.name, (Face(path.name, box, box, points, visible),))
            for path in sorted(root.glob("*.png"))
        ]
        return {"train": photos}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, in which they are; faces of noise stand in for prepared ones."""
    entry = runs.TASKS["landmarks"]._replace(load=tiny.noise)
    monkeypatch.setattr(runs, "TASKS", runs.TASKS | {"landmarks": entry})
    for name, text in (
        ("my_networks.py", NETWORKS),
        ("my.py", CONFIGS),
        ("my_experiments.py", EXPERIMENTS),
        ("my_faces/my_faces_dataset_builder.py", BUILDER),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
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
    assert "runs/my-mine: finished after 2 steps." in lrjax("train", "my.py:mine")
    run = project / "runs" / "my-mine"
    found = weights.load(run, "g2", ("landmarks",))
    assert (found.network.config.name, found.network.config.depth) == ("tiny_net", 1)
    printed = json.loads(lrjax("config", "my.py:mine", "--set", "g2.depth=3"))
    assert printed["g2"]["depth"] == 3
    # The run is found again by the experiment, and its network by what looks at pictures.
    done = lrjax("experiment", "my_experiments.py:first")
    assert "my-mine" in done
    assert Result.load(project / "results" / "first.json").tables[0].rows == (("my-mine", 2),)
    Image.new("RGB", (40, 40), "grey").save(project / "face.png")
    words = ("predict", "--images", "face.png", "--weights", run, "--out", "-")
    assert lrjax("--import", "my.py", *words).splitlines()[1].startswith("face.png,0,0,40,40,")


def test_a_loss(project: Path) -> None:
    """That of the task, with a term more."""
    lrjax("train", "my.py:shrinking")
    values = [line["size"] for line in records(project / "runs" / "my-shrinking") if "size" in line]
    assert len(values) == 2
    assert all(value > 0 for value in values)
    written = json.loads((project / "runs" / "my-shrinking" / "config.json").read_text())
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
