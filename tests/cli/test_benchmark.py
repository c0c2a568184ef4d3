import json
from pathlib import Path

import people
import pytest
from click.testing import CliRunner
from PIL import Image

from lrjax.benchmark import measure, suite, workload
from lrjax.benchmark.timing import Times
from lrjax.cli.benchmark import as_result, benchmark
from lrjax.config import CriticConfig, HighToLowConfig
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.inference.align import decode
from lrjax.report.results import Result
from lrjax.tasks import recognition
from lrjax.tasks.degradation import DegradationConfig

FED = ("constant batch", "device feed", "host feed")
TINY = (
    "image_size=32",
    "size=8",
    "scheme=five",
    "generator.stem=4",
    "generator.widths=[4]",
    "heatmap_critic.stem=4",
    "heatmap_critic.widths=[4]",
    "confidence_critic.widths=[4]",
    "confidence_critic.pooled_blocks=1",
    "confidence_critic.hidden=4",
    "train.batch_size=4",
)


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    stage1 = DegradationConfig(
        image_size=32,
        size=8,
        generator=HighToLowConfig(stem=4, encoder=(4, 4), decoder=(4,), noise=4),
        critic=CriticConfig(widths=(4,), pooled_blocks=1, hidden=4),
    )
    workload.untrained_degradation(stage1, tmp_path / "stage1")
    settings = [f"--set={s}" for s in (*TINY, f"stage1={tmp_path / 'stage1'}")]
    effort = ["--rounds=2", "--seconds=0.01", "--faces=8", "--no-torch"]
    where = [f"--results-dir={tmp_path / 'out'}", f"--profile={tmp_path / 'trace'}"]
    result = CliRunner().invoke(
        benchmark, ["landmarks:s4-quick", *settings, *effort, *where], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "device feed" in result.output
    saved = Result.load(tmp_path / "out" / "benchmark.json")
    assert [table.title for table in saved.tables] == [
        "Training step of landmarks:s4-quick",
        "Compilation and work",
        "Forward pass of G2",
    ]
    raw = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert raw["images"] == 8
    assert raw["flops"] > 1e6
    assert set(raw["steps"]) == {
        "constant batch",
        "device feed",
        "host feed",
        "matrix product",
    }
    assert all(len(times["samples"]) == 2 for times in raw["steps"].values())
    assert any((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.usefixtures("quick_compile")
def test_recognition_is_measured_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RECOGNISERS", "TEMPLATES"):  # to be as they were, afterwards
        monkeypatch.setattr(recognition, name, getattr(recognition, name))
    people.use_small()
    read = []

    def decoded(portraits: Identities, index: int) -> Image.Image:
        read.append(index)
        return decode(portraits, index)

    monkeypatch.setattr("lrjax.inference.framing.decode", decoded)
    product = measure.matrix_product
    monkeypatch.setattr(measure, "matrix_product", lambda size: product(64))
    settings = ["--set=network=small", "--set=width=1", "--set=train.batch_size=4"]
    effort = ["--rounds=2", "--seconds=0.001", "--faces=6", "--no-torch"]
    result = CliRunner().invoke(
        benchmark,
        ["recognition", *settings, *effort, f"--results-dir={tmp_path}"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    saved = Result.load(tmp_path / "benchmark-recognition.json")
    assert [table.title for table in saved.tables] == [
        "Training step of recognition:casia-quick",
        "Compilation and work",
    ]
    assert [row[0] for row in saved.tables[0].rows] == list(FED)
    assert "A step takes 4 pictures" in saved.tables[0].note
    assert not (tmp_path / "benchmark.json").exists()
    raw = json.loads((tmp_path / "benchmark-recognition-measurements.json").read_text())
    assert raw["images"] == 4
    assert raw["forwards"] == {}
    assert set(raw["steps"]) == {*FED, "matrix product"}
    assert all(len(times["samples"]) == 2 for times in raw["steps"].values())
    # The host feed's: a first step, one to see how long it takes, and two for each sample at least.
    assert len(read) >= 4 * (2 + 2 * 2)


def test_tables_by_hand() -> None:
    found = suite.Measurements(
        images=64,
        flops=4e9,
        product_flops=2.0 * 100**3,
        first={"constant batch": 30.0, "device feed": 31.0},
        steps={
            "constant batch": Times((2.0, 2.0, 4.0)),
            "device feed": Times((2.0, 2.5, 4.0)),
            "host feed": Times((2.5, 2.5, 5.0)),
            "matrix product": Times((1e-4, 1e-4, 1e-4)),
            "PyTorch, eager": Times((4.0, 5.0, 8.0)),
            "torch.compile": Times((1.0, 1.0, 4.0)),
        },
        forwards={
            batch: {
                "JAX": Times((0.01,) * 3),
                "PyTorch, eager": Times((0.02,) * 3),
                "torch.compile": Times((0.005,) * 3),
            }
            for batch in (1, 256)
        },
        machine={"device": "cpu", "devices": 2, "cores": 2, "jax": "0", "torch": "1"},
    )
    training, work, forward, torch = as_result(found, "landmarks:s4-small", "command").tables
    assert training.rows[0] == ("constant batch", 0.5, 32.0, 2000.0, 2000.0, 4000.0, 1.0)
    assert training.rows[2][-1] == 0.8
    assert [value for _, value in work.rows] == pytest.approx([30, 31, 4, 2, 40, 5])
    assert forward.rows[1][-1] == pytest.approx(25600)
    assert torch.rows[0] == (
        *("training step", 2000.0),
        *(5000.0, 2.0, "2.00-2.50"),
        *(1000.0, 0.5, "0.50-1.00"),
    )


def test_what_cannot_be_measured_is_refused() -> None:
    for arguments, words in (
        (["degradation:small"], "Only configurations of landmarks and recognition"),
        (["recognition", "--size=quick"], "not both"),
        (["recognition", "--torch"], "recognition has no PyTorch twin"),
        (["recognition", '--set=labelled=["lfw:test"]'], "the pictures of 'lfw'"),
        (["landmarks:s4-small", "--size=quick"], "not both"),
    ):
        with pytest.raises(InputError, match=words):
            CliRunner().invoke(benchmark, arguments, catch_exceptions=False)
