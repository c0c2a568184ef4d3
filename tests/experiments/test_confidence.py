"""What is said of the pretrained network's confidence."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrjax.experiments import confidence
from lrjax.experiments.context import Context
from lrjax.geometry.points import FIVE
from lrjax.tasks.measure import Measured


def test_corners_end_where_the_face_begins() -> None:
    boxes = confidence.corner_boxes((60, 64), np.array([16.0, 20.0, 20.0, 22.0]))
    # 16 pixels to the left of the face and 24 to its right: three quarters of them, in the middle.
    expected = [(2, 2, 12, 12), (2, 50, 12, 12), (39, 3, 18, 18), (39, 43, 18, 18)]
    np.testing.assert_allclose(boxes, expected)
    seen = boxes[:, :1] + np.array([-1.5, 13.5]) * boxes[:, 2:3] / 12  # 1.25 times as wide
    assert ((seen[:2] <= 16).all(), (seen[2:] >= 36).all()) == (True, True)


def test_corners_of_a_flat_picture_do_not_overlap() -> None:
    boxes = confidence.corner_boxes((200, 40), np.array([80.0, 0.0, 40.0, 40.0]))
    assert boxes[:, 2].tolist() == [15.0] * 4
    assert boxes[:2, 1].tolist() == [2.5, 22.5]


def measured(label: str, errors: list[float], sure: list[float]) -> Measured:
    """Five points, of which each is off by an error; boxes have a side of 100 pixels."""
    count = len(errors)
    truth = np.zeros((count, 5, 2))
    off = 100 * np.array(errors)[:, None] * np.ones((1, 5))
    predicted = np.stack([off, np.zeros_like(off)], -1)
    boxes = np.tile([0.0, 0.0, 100.0, 100.0], (count, 1))
    everything = np.ones((count, 5), bool)
    names = tuple(map(str, range(count)))
    about = (label, label, names, predicted, truth, everything, boxes)
    return Measured(*about, confidence=np.array(sure), scheme=FIVE)


def test_errors_are_told_by_confidence() -> None:
    part = measured("a:b", [0.2, 0.02, 0.04, 0.09, 0.01], [0.49, 0.5, 0.55, 0.59, 1.0])
    rows = confidence.error_table([part]).rows
    assert [row[:3] for row in rows] == [
        ("a:b", "0 to 0.5", 1),
        ("a:b", "0.5 to 0.6", 3),
        ("a:b", "from 0.9", 1),
    ]
    np.testing.assert_allclose(rows[0][3:], [20, 20, 100])
    np.testing.assert_allclose(rows[1][3:], [5, 4, 100 / 3])
    np.testing.assert_allclose(rows[2][3:], [1, 1, 0])


class Brightness:
    """Stands for a predictor: it is as sure as a crop is bright."""

    config = SimpleNamespace(size=8)

    def predict(self, photos: list[Image.Image], boxes: np.ndarray, owner: np.ndarray) -> Any:
        pixels = [np.asarray(photos[i]) for i in owner]
        corners = [(round(x), round(y)) for x, y in boxes[:, :2]]
        sure = [p[y, x].mean() / 255 for p, (x, y) in zip(pixels, corners, strict=True)]
        return SimpleNamespace(confidence=np.array(sure, np.float32))

    def predict_crops(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(pixels), 5, 2)), np.repeat(pixels.mean((1, 2, 3))[:, None], 5, 1) / 255


def test_faces_and_what_is_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three pictures, one without room, and one with two bright corners."""
    pictures = [np.full((64, 64, 3), 20, np.uint8) for _ in range(3)]
    pictures[1][:, :20] = 250
    boxes = [[20.0, 20.0, 24.0, 24.0]] * 2 + [[5.0, 5.0, 54.0, 54.0]]

    def encoded(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    records = [
        {"image": encoded(picture), "name": b"x", "face_box": box}
        for picture, box in zip(pictures, boxes, strict=True)
    ]
    monkeypatch.setattr(confidence, "open_split", lambda spec, folder: records)
    context = Context.create("quick", tmp_path, tmp_path, tmp_path)
    predictor: Any = Brightness()
    beside = confidence.beside_faces(predictor, "a:b", context)
    assert sorted(np.round(255 * beside)) == [20.0] * 6 + [250.0] * 2
    noise = confidence.on_noise(predictor, 40)
    assert noise.shape == (40,)
    assert np.abs(noise - 0.5).max() < 0.1
    table = confidence.doubt_table(
        {"faces": np.array([0.4, 0.8, 0.9]), "beside": beside}, {"beside"}
    )
    assert table.rows[0] == ("faces", "a face", 3, 0.8, pytest.approx(100 / 3))
    assert table.rows[1][1:3] == ("no face", 8)
    assert table.rows[1][4] == 75


def test_the_experiment_says_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[float, float]]] = []

    def measure(predictor: Any, spec: str, folder: Path, *, box_noise: tuple[float, float]) -> Any:
        asked.append((spec, box_noise))
        label = f"{spec} {box_noise}"
        return measured(label, [0.01, 0.2], [0.9, 0.3])

    monkeypatch.setattr(confidence, "measure_photographs", measure)
    monkeypatch.setattr(confidence.LandmarkPredictor, "load", Brightness)
    monkeypatch.setattr(confidence, "beside_faces", lambda *_: np.array([0.1, 0.6]))
    context = Context.create("small", tmp_path, tmp_path, tmp_path)
    result = confidence.confidence(context)
    bad = confidence.BAD_BOXES
    assert asked == [
        (spec, noise) for spec in ("alrf:test", "mtfl:test") for noise in ((0.0, 0.0), bad)
    ]
    assert [len(table.rows) for table in result.tables] == [8, 6]
    assert (tmp_path / "confidence.svg").read_bytes().startswith(b"<?xml")
