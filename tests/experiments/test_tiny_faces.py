"""K&C's Figures 1 and 6 show test faces, each with the points that were found on it."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import drawn
import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.experiments import detectors, tiny_faces
from lrjax.experiments.context import Context
from lrjax.report import draw
from lrjax.report.results import Result

SIZE, CONTEXT = 32, 1.25


class Brightest:
    """Stands for a landmark network: its one point is the brightest pixel."""

    config = SimpleNamespace(size=SIZE, context=CONTEXT)

    def predict_crops(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = images.astype(int).sum(-1).reshape(len(images), -1).argmax(-1)
        points = np.stack([flat % SIZE, flat // SIZE], -1)[:, None]
        return points.astype(float), np.ones((len(images), 1))


def spotted(width: int, height: int, x: int, y: int) -> Image.Image:
    """A dark picture with one bright pixel."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[y, x] = 255
    return Image.fromarray(pixels)


def test_points_are_in_the_pixels_that_are_shown() -> None:
    spots = [(20, 16, 5, 4), (14, 20, 10, 15)]
    images, points = tiny_faces.look(Brightest(), [spotted(*spot) for spot in spots])
    assert images.shape == (2, SIZE, SIZE, 3)
    for (width, height, x, y), found in zip(spots, points, strict=True):
        # A square of CONTEXT times the picture's side, about its middle, on SIZE pixels.
        step = CONTEXT * np.sqrt(width * height) / SIZE
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        expected = (np.array([x, y]) - middle) / step + (SIZE - 1) / 2
        np.testing.assert_allclose(found[0], expected, atol=0.51)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A context whose networks are stand-ins, and whose probes are eight spotted pictures."""
    probes = [spotted(20, 16, 2 * i, 8) for i in range(8)]
    asked: list[str] = []

    def load(spec: str, data_dir: Path, limit: int) -> list[Image.Image]:
        asked.append(spec)
        return probes[:limit]

    monkeypatch.setattr(tiny_faces, "load_identities", load)
    monkeypatch.setattr(tiny_faces, "decode_identity", lambda faces, i: faces[i])
    monkeypatch.setattr(Context, "landmarks", lambda self, setting: Brightest())
    monkeypatch.setattr(Context, "run", lambda self, name: tmp_path / name)
    monkeypatch.setattr(tiny_faces.LandmarkPredictor, "load", lambda *_: Brightest())

    class Twice:
        size = (16, 16)

        def __call__(self, images: list[Image.Image], side: int) -> list[np.ndarray]:
            assert side == 16
            return [draw.enlarge(np.asarray(image), 2) for image in images]

    monkeypatch.setattr(tiny_faces.Upsampler, "load", lambda run, which: Twice())
    return Context.create("quick", tmp_path, tmp_path, tmp_path)


def test_figure_6_shows_test_faces(context: Context, tmp_path: Path) -> None:
    result = tiny_faces.figure6(context)
    assert result.data == "synthetic_identities:probe"
    picture = np.asarray(Image.open(tmp_path / result.figures[0].file))
    assert picture.shape[:2] == (128, 8 * 128 + 7 * 4)


@pytest.mark.parametrize("found", [None, [[3.0, 8.0]]])
def test_figure_1_has_a_row_for_each_system(
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[list[float]] | None,
) -> None:
    points = None if found is None else np.array(found)
    monkeypatch.setattr(tiny_faces, "detectors", lambda: {"mine": lambda face: points})
    shown: list[list[tuple[str, list[np.ndarray]]]] = []
    drawn = draw.labelled_rows
    monkeypatch.setattr(
        tiny_faces.draw, "labelled_rows", lambda rows, cell: shown.append(rows) or drawn(rows, cell)
    )
    result: Result = tiny_faces.figure1(context)
    assert (tmp_path / result.figures[0].file).is_file()
    (rows,) = shown
    count = 0 if found is None else 6
    assert [heading for heading, _ in rows] == [
        f"mine on 224 pixels: finds {count} of 6",
        "HR-LD, enlarged to 32 pixels",
        "trained on subsampled faces (S1)",
        "HR-LD, super-resolved by SRGAN",
        "HR-LD, super-resolved by ESRGAN",
        "S4, as they are",
        "pretrained weights, as they are",
    ]
    assert all(len(faces) == 6 for _, faces in rows)
    # A face that the detector misses is shown without marks: it has no green.
    green = [bool((cell[..., 1].astype(int) - cell[..., 0] > 60).any()) for cell in rows[0][1]]
    assert green == [found is not None] * 6


def record(name: str, level: int) -> dict[str, Any]:
    """A record of a photograph of which the face box alone has the level."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[4:20, 5:25] = level
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"name": name.encode(), "image": file.getvalue(), "face_box": [5.2, 3.8, 20.0, 16.0]}


def test_detected_faces_are_those_listed_or_those_that_a_detector_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = {"alrf:test": [record(str(level), level) for level in (50, 150, 250)]}

    def opened(spec: str, data_dir: Path) -> list[dict[str, Any]]:
        if spec not in splits:
            raise InputError(f"there is no {spec}")
        return splits[spec]

    monkeypatch.setattr(detectors, "open_split", opened)
    monkeypatch.setattr(detectors, "has_split", lambda spec, data_dir: spec in splits)

    def bright(face: Image.Image) -> np.ndarray | None:
        assert face.size == (20, 16)
        levels = np.unique(np.asarray(face))
        assert len(levels) == 1  # the box, and nothing around it
        return np.zeros((5, 2)) if levels[0] > 100 else None

    assert detectors.detected_faces("alrf:test", Path(), {}) is None
    found = detectors.detected_faces("alrf:test", Path(), {"mine": bright})
    assert found == ({"150", "250"}, "found by mine")
    splits["alrf:detected"] = [record("50", 50)]
    found = detectors.detected_faces("alrf:test", Path(), {"mine": bright})
    assert found == ({"50"}, "listed in alrf:detected")
    with pytest.raises(InputError, match="no mine:test"):
        detectors.detected_faces("mine:test", Path(), {})


def test_dlib_finds_nothing_in_noise() -> None:
    pytest.importorskip("dlib")
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert detectors.detectors()["dlib"](Image.fromarray(noise)) is None


def test_mtcnn_s_points_are_in_the_picture_s_pixels() -> None:
    """A drawn face is found, wherever it is, and noise is not."""
    photo, boxes = drawn.crowd()
    x, y, w, h = (round(v) for v in boxes[0])
    face = photo.crop((x - w // 4, y - h // 4, x + w + w // 4, y + h + h // 4))
    find = detectors.detectors()["MTCNN"]
    points = find(face)
    assert points is not None
    inside = np.array([w // 4, h // 4])
    assert ((points > inside) & (points < inside + np.array([w, h]))).all()
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert find(Image.fromarray(noise)) is None
