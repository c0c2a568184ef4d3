"""`lrjax sample` as a user calls it."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import lrjax
from lrjax.cli.predict import predict
from lrjax.cli.sample import sample
from lrjax.errors import InputError
from lrjax.geometry.points import IBUG68, face_box
from lrjax.inference.tables import read_points, read_rows
from lrjax.inference.tracks import overlaps
from lrjax.report.faces import encode_jpeg
from lrjax.tfds_builders.synthetic_faces.crowd import Crowd, crowd


@pytest.fixture(scope="module")
def drawn() -> Crowd:
    return crowd(0)


@pytest.fixture
def folder(drawn: Crowd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command wrote, and its output; the crowd is drawn once for all tests."""
    monkeypatch.setattr("lrjax.cli.sample.crowd", lambda seed: drawn)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(sample, ["photos"])
    assert done.exit_code == 0
    (tmp_path / "said.txt").write_text(done.output)
    return tmp_path / "photos"


def test_a_photograph_and_its_table_are_written(folder: Path, drawn: Crowd) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["crowd.csv", "crowd.jpg"]
    assert (folder / "crowd.jpg").stat().st_size < 200_000
    with Image.open(folder / "crowd.jpg") as photo:
        assert abs(np.asarray(photo, float) - drawn.pixels).mean() < 4
    boxes = np.array([row.box for row in read_rows(folder / "crowd.csv")])
    np.testing.assert_allclose(boxes, drawn.boxes, atol=0.0501)
    _, points, visible = read_points(folder / "crowd.csv")
    assert visible.all()
    np.testing.assert_allclose(points[:, 2], drawn.points[:, 30], atol=0.0051)


def test_many_faces_are_small_and_all_within(drawn: Crowd) -> None:
    sides = np.sqrt(drawn.boxes[:, 2] * drawn.boxes[:, 3])
    assert len(sides) == 72
    assert 12 < sides.min() < np.median(sides) < 25 < sides.max() < 50
    assert (drawn.points > -3).all()
    assert (drawn.points < drawn.pixels.shape[1::-1] + np.array([3, 3])).all()
    # Boxes are those of the points that can be seen, which are most.
    of_all = np.asarray(face_box(drawn.points.astype(float), np.ones((72, 68), bool), IBUG68))
    assert np.median(np.diag(overlaps(drawn.boxes, of_all))) > 0.95


def test_its_faces_are_found(drawn: Crowd) -> None:
    """Nearly all, and nothing else, in the file as it is written."""
    with Image.open(io.BytesIO(encode_jpeg(drawn.pixels))) as photo:
        found = lrjax.detect(photo.convert("RGB")).boxes
    overlap = overlaps(drawn.boxes, found)
    assert (overlap.max(1) > 0.5).sum() >= 69
    assert (overlap.max(0) > 0.5).sum() >= len(found) - 1


def test_the_next_command_is_one(folder: Path) -> None:
    said = (folder.parent / "said.txt").read_text()
    words = shlex.split(said.partition("Next: ")[2])
    assert words[:2] == ["lrjax", "predict"]
    assert predict.make_context("predict", words[2:]).params["images"] == Path("photos")


def test_nothing_is_overwritten(folder: Path) -> None:
    done = CliRunner().invoke(sample, [str(folder)])
    assert isinstance(done.exception, InputError)
    assert "crowd.jpg is there already; name another folder, or remove it" in str(done.exception)


def test_the_seed_decides_who_is_there(monkeypatch: pytest.MonkeyPatch, drawn: Crowd) -> None:
    """In one row of two people: the same ones for one seed, and others for another."""
    rows = "lrjax.tfds_builders.synthetic_faces.crowd._ROWS"
    monkeypatch.setattr(rows, ((30, 2),))
    first, again, other = crowd(4), crowd(4), crowd(5)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.points, again.points)
    assert abs(first.points - other.points).max() > 1
