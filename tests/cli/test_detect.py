"""`lrjax detect` as a user calls it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import drawn
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import lrjax
from lrjax.cli.detect import detect
from lrjax.errors import InputError
from lrjax.inference.tables import read_points


def run(*words: object) -> Result:
    return CliRunner().invoke(detect, [*map(str, words)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A crowd, nobody, and no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    drawn.crowd()[0].save(folder / "crowd.png")
    Image.new("RGB", (80, 60)).save(folder / "nobody.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


def test_faces_are_written_as_landmarks_are(photos: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out.csv", tmp_path / "drawn"
    done = run("--images", photos, "--out", out, "--draw", folder)
    assert isinstance(done.exception, InputError)
    assert "2 of 3 images have no faces" in str(done.exception)
    assert "lrjax: broken.jpg: The image" in done.stderr
    assert "lrjax: nobody.png: no face was found" in done.stderr
    assert "lrjax: 3 faces in 3 files, " in done.stderr
    lines = list(csv.reader(out.read_text().splitlines()))
    assert ",".join(lines[0]) == "file,x,y,w,h,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4,confidence"
    assert [line[0] for line in lines[1:]] == ["broken.jpg", *["crowd.png"] * 3, "nobody.png"]
    assert not any(lines[1][1:] + lines[5][1:])
    numbers = np.array([line[1:] for line in lines[2:5]], float)
    found = lrjax.detect(photos / "crowd.png")
    np.testing.assert_allclose(numbers[:, :4], found.boxes, atol=0.0501)
    np.testing.assert_allclose(numbers[:, 4:14], found.points.reshape(3, 10), atol=0.0051)
    np.testing.assert_allclose(numbers[:, 14], found.confidence, atol=1e-4)
    rows, points, visible = read_points(out)
    assert [bool(row.problem) for row in rows] == [True, False, False, False, True]
    np.testing.assert_allclose(points[1:4], found.points, atol=0.0051)
    np.testing.assert_array_equal(visible.all(-1), [False, True, True, True, False])
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["all-faces.jpg", "crowd-faces.jpg", "nobody-faces.jpg"]


def test_coco_has_images_without_faces_too(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.coco.json"
    run("--images", photos, "--out", out)
    data = json.loads(out.read_text())
    assert [image["file_name"] for image in data["images"]] == ["crowd.png", "nobody.png"]
    assert [one["image_id"] for one in data["annotations"]] == [1, 1, 1]
    assert min(one["score"] for one in data["annotations"]) > 0.7


def test_a_list_names_the_images(photos: Path) -> None:
    names = photos.parent / "names.txt"
    names.write_text("photos/crowd.png\n../elsewhere.png\n")
    done = run("--images", names, "--out", "-")
    assert "names ../elsewhere.png, which is not in its folder" in str(done.exception)
    done = run("--images", names, "--out", "-", "--allow-outside")
    assert "1 of 2 images have no faces" in str(done.exception)
    assert done.stdout.count("photos/crowd.png") == 3


def test_the_boxes_are_about_the_faces() -> None:
    photo, boxes = drawn.crowd()
    found = lrjax.detect(photo).boxes
    middles = found[:, :2] + found[:, 2:] / 2
    nearest = [
        np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - middle).sum(-1).argmin() for middle in middles
    ]
    assert sorted(nearest) == [0, 1, 2]
    low = np.maximum(found[:, :2], boxes[nearest, :2])
    high = np.minimum((found[:, :2] + found[:, 2:]), (boxes[:, :2] + boxes[:, 2:])[nearest])
    common = (high - low).prod(-1)
    both = found[:, 2:].prod(-1) + boxes[nearest, 2:].prod(-1) - common
    assert (common / both > 0.4).all()


def test_options_reach_the_detector(photos: Path) -> None:
    """Faces of 60 pixels are not found from 160 on, and nobody is sure to the last digit."""
    alone = photos / "crowd.png"
    assert run("--images", alone, "--out", "-").exit_code == 0
    for option in (("--smallest", 160), ("--thresholds", "0.6,0.7,0.9999999")):
        done = run("--images", alone, "--out", "-", *option)
        assert "1 of 1 images have no faces" in str(done.exception), option
        assert done.stdout.splitlines()[1] == "crowd.png" + "," * 15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "absent", "--out", "-"], "no images in absent"),
        (["--images", "photos", "--out", "."], "is not a file"),
        (["--images", "photos", "--out", "-", "--smallest", "1"], "smallest is 1"),
        (["--images", "photos", "--out", "-", "--weights", "gone"], "no weights file gone"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    photos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    done = run(*words)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
