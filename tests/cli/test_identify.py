"""`lrjax identify` as a user calls it, on pictures whose encoder sees their brightness."""

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lrjax.cli import identify as command
from lrjax.cli.identify import identify_command
from lrjax.data.identities import UNKNOWN, Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.encoder import FaceEncoder
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network
from lrjax.models.weights import Weights
from lrjax.report.results import Result as Saved

TEMPLATE = Template("tiny", 8, 8, np.array([(2, 3), (5, 3), (3.5, 4), (2, 6), (5, 6)]))


class Colour:
    """Features: the mean red, green and blue of a face, in [-1, 1]."""

    def apply(self, variables: dict, images: jnp.ndarray, train: bool) -> jnp.ndarray:
        assert not train
        return images.mean((1, 2)) * variables["scale"]


def portrait_split(colours: list[tuple[int, int, int]], labels: list[int], name: str) -> Identities:
    encoded = []
    for colour in colours:
        stream = io.BytesIO()
        Image.new("RGB", (7, 9), colour).save(stream, "PNG")
        encoded.append(stream.getvalue())
    names = tuple(f"{name}/{i}.png" for i in range(len(colours)))
    return Identities(encoded, np.array(labels, np.int32), names, name + str(colours))


SPLITS = {
    # The second probe is nearest to the first distractor; the third to the wrong person.
    "people:probe": portrait_split(
        [(250, 10, 10), (10, 250, 10), (12, 12, 240)], [0, 1, 0], "Probe"
    ),
    "people:gallery_match": portrait_split(
        [(240, 20, 20), (60, 250, 60), (20, 20, 250)], [0, 1, 1], "Gallery_Match"
    ),
    "people:distractors": portrait_split(
        [(12, 248, 12), (128, 128, 128), (90, 90, 90)], [UNKNOWN] * 3, "Gallery_Distractor"
    ),
}


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    def portraits(spec: str, data_dir: Path) -> Identities:
        if spec not in SPLITS:
            raise InputError(f"'people' has no split '{spec}'.")
        return SPLITS[spec]

    monkeypatch.setitem(TEMPLATES, "tiny", TEMPLATE)
    config = EncoderConfig("colour")
    network = Network(config, "encoder", Colour(), ((8, 8, 3),), template="tiny", embedding=3)
    weights = Weights(network, {"scale": jnp.float32(1.0)}, {}, Path("colours"), "colour-1")
    monkeypatch.setattr(command, "load_identities", portraits)
    monkeypatch.setattr(command.FaceEncoder, "load", lambda spec, which: FaceEncoder(weights))

    def run(*words: object, dataset: object = "people") -> Result:
        always = [
            "colours",
            str(dataset),
            "--landmarks",
            "resize",
            "--cache",
            str(tmp_path / "cache"),
        ]
        return CliRunner().invoke(identify_command, [*always, *map(str, words)])

    return run


def row(output: str) -> dict[str, str]:
    lines = [line for line in output.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[2])]
    return dict(zip(*cells, strict=True))


def test_with_and_without_distractors(invoke) -> None:
    """By hand: mates of the probes at ranks 1, 2, 2 with distractors and 1, 1, 2 without."""
    result = invoke("--metric", "cosine", "--batch", 2)
    assert result.exit_code == 0, result.output
    found = row(result.output)
    assert found["rank-1"] == "33.33"
    assert found["distractors"] == "3"
    without = row(invoke("--metric", "cosine", "--no-distractors", "--batch", 2).output)
    assert without["rank-1"] == "66.67"
    assert without["distractors"] == "no"
    assert (without["probes"], without["gallery"], without["metric"]) == ("3", "3", "cosine")
    assert (without["alignment"], without["not aligned"]) == ("resize (stretch)", "all")
    assert "rank-5" in found
    assert "rank-5" not in without
    assert "9 faces resized to 8x8, none aligned" in result.output


def test_the_result_is_kept_with_its_curves(invoke, tmp_path: Path) -> None:
    out = tmp_path / "results" / "people.json"
    words = ["--metric", "euclidean", "--mirror", "concatenate", "--no-distractors", "--out", out]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    saved = Saved.load(out)
    assert saved.data == "people: 3 probe, 3 gallery_match"
    assert saved.command.startswith("lrjax identify colours people --landmarks resize")
    assert "--no-distractors --metric euclidean --mirror concatenate" in saved.command
    assert "cache" not in saved.command
    for figure in saved.figures:
        drawing = ElementTree.parse(out.parent / figure.file).getroot()
        assert float(drawing.attrib["width"].removesuffix("pt")) > 100
    assert json.loads(out.read_text())["tables"][0]["rows"][0][3] == "concatenate"


def test_a_full_disk_names_the_result_or_what_is_kept(
    invoke, tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    """A result that has no room was said before, and what was made for it need not be again."""
    with small_files(100):
        done = invoke()
    assert isinstance(done.exception, OSError)
    assert done.exception.filename.startswith(str(tmp_path / "cache"))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []

    out = tmp_path / "results" / "people.json"
    with small_files(3000):
        done = invoke("--out", out)
    assert isinstance(done.exception, OSError)
    assert done.exception.filename.startswith(str(out.with_suffix("")))
    assert row(done.stdout) == row(invoke().stdout)
    assert list(out.parent.iterdir()) == []
    assert list((tmp_path / "cache").iterdir()) != []


def test_by_default_all_is_as_in_the_official_script(invoke) -> None:
    """By hand: mates at rank 1, at 1 and 3, and at 3, where the cosine puts it at rank 2."""
    found = row(invoke("--no-distractors").output)
    assert (found["metric"], found["mirror"], found["rank-1"]) == ("euclidean", "none", "66.67")
    precisions = [(1 + 1) / 2, (1 + 1 + 1 / 2 + 2 / 3) / 4, (0 + 1 / 3) / 2]
    assert float(found["mAP"]) == pytest.approx(100 * sum(precisions) / 3, abs=0.005)


def test_random_halves_are_said_to_be_random(invoke) -> None:
    """Two of person 0 and three of person 1 in all: a probe of each."""
    result = invoke("--halves", 7, "--no-distractors")
    assert result.exit_code == 0, result.output
    found = row(result.output)
    assert (found["probes"], found["gallery"]) == ("2", "4")
    assert "random halves (seed 7), not the official ones" in result.output


def test_a_second_time_nothing_is_embedded(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    first = row(invoke().output)
    monkeypatch.setattr(FaceEncoder, "stream", None)
    assert row(invoke().output) == first


def test_a_folder_of_arrow_files_is_read(
    invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same pictures as in `SPLITS`, and so the same ranks."""
    parts = {name.partition(":")[2]: part for name, part in SPLITS.items()}
    (tmp_path / "data-00000-of-00001.arrow").touch()
    monkeypatch.setattr(command, "load_arrow", lambda folder: parts)
    found = row(invoke("--metric", "cosine", dataset=tmp_path).output)
    assert found["rank-1"] == "33.33"
    monkeypatch.setattr(command, "load_arrow", lambda folder: {"probe": parts["probe"]})
    refused = invoke(dataset=tmp_path).exception
    assert "no pictures of gallery_match, distractors." in str(refused)


def test_missing_distractors_are_said_with_the_remedy(
    invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SPLITS, "people:distractors")
    result = invoke()
    assert isinstance(result.exception, InputError)
    assert "--no-distractors" in str(result.exception)


def test_a_probe_without_a_mate_is_said(invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = portrait_split([(1, 2, 3)], [5], "Probe")
    monkeypatch.setitem(SPLITS, "people:probe", stranger)
    result = invoke()
    assert isinstance(result.exception, InputError)
    assert "no mate" in str(result.exception)
