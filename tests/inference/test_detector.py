"""The cascade: windows, boxes, tiles, and the whole beside a plain transcription."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lrjax
from lrjax.errors import InputError
from lrjax.inference import detector
from lrjax.inference.candidates import kept, moved, pyramid, squared
from lrjax.inference.detector import DetectConfig, FaceDetector, table_of_sums
from lrjax.models import weights
from lrjax.models.mtcnn import NAMES

LOW = (0.3, 0.02, 0.01)
"""Thresholds that something passes which is no face."""


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft spots in all colours and sizes."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((width, height), 3)
        for n in (4, 9, 21)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


@pytest.fixture(scope="module")
def found_low() -> FaceDetector:
    return FaceDetector.load(options=DetectConfig(20, 1, LOW))


def test_averages_are_those_of_the_pixels_touched() -> None:
    pixels = picture(23, 17)
    sums = table_of_sums(pixels)
    for height, width in ((5, 4), (23, 17), (30, 40)):
        rows = detector._windows(np.arange(height), 23, height)
        columns = detector._windows(np.arange(width), 17, width)
        found = detector._averages(sums, rows, columns)
        for i, j in np.ndindex(height, width):
            top, bottom = int(np.floor(i * 23 / height)), int(np.ceil((i + 1) * 23 / height))
            left, right = int(np.floor(j * 17 / width)), int(np.ceil((j + 1) * 17 / width))
            expected = pixels[top:bottom, left:right].reshape(-1, 3).mean(0)
            np.testing.assert_allclose(found[i, j], expected, rtol=1e-6)


def test_sums_that_wrap_around_give_the_same() -> None:
    """White enough for a sum beyond 32 bits."""
    sums = table_of_sums(np.full((4200, 4100, 3), 255, np.uint8))
    assert 4200 * 4100 * 255 > 2**32
    rows, columns = (detector._windows(np.arange(3), n, 3) for n in (4200, 4100))
    assert (detector._averages(sums, rows, columns) == 255).all()


def test_the_surest_of_overlapping_boxes_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [2, 2, 6, 6], [0, 0, 10, 10]])
    scores = np.array([0.8, 0.9, 0.1, 0.7, 0.8])
    # 80 of 100 pixels, 16 of 80, all of 16.
    np.testing.assert_array_equal(kept(boxes, scores, 0.5), [1, 3, 2])
    np.testing.assert_array_equal(kept(boxes, scores, 0.8), [1, 0, 3, 2])
    np.testing.assert_array_equal(kept(boxes, scores, 0.5, least=True), [1, 2])
    assert kept(boxes[:0], scores[:0], 0.5).shape == (0,)
    # With their last pixels: 2 x 11 of 11 x 11 in common.
    pair = np.array([[0, 0, 10, 10], [9, 0, 19, 10]])
    assert len(kept(pair, scores[:2], 22 / 121, least=True)) == 2
    assert len(kept(pair, scores[:2], 21 / 121, least=True)) == 1


def test_boxes_are_moved_and_made_square() -> None:
    box, move = np.array([[10.0, 20, 20, 24]]), np.array([[0.1, -0.5, 0.2, 0.25]])
    np.testing.assert_allclose(moved(box, move, 0), [[11, 18, 22, 25]])
    np.testing.assert_allclose(moved(box, move, 1), [[11.1, 17.5, 22.2, 25.25]])
    np.testing.assert_allclose(squared(box), [[10, 17, 20, 27]])


def test_the_pyramid_ends_at_twelve_pixels() -> None:
    scales = list(pyramid(100, 300, 24))
    np.testing.assert_allclose(scales[:2], [0.5, 0.3545])
    assert 100 * scales[-1] >= 12 > 100 * scales[-1] * 0.709
    np.testing.assert_allclose(list(pyramid(40, 38, 20, 0.85))[:2], [0.6, 0.51])
    assert len(list(pyramid(40, 38, 20, 0.85))) == 4  # 22.8, 19.4, 16.5 and 14 pixels; not 11.9


def test_tiles_together_are_the_level(found_low: FaceDetector) -> None:
    """What P-Net says of a level of several tiles, and of the same pixels at once."""
    pixels = picture(301, 260)
    least = 0.02
    looking = FaceDetector(found_low.weights, DetectConfig(thresholds=(least, 0.5, 0.5)))
    ((boxes, sure, _),) = looking._look_at_levels(table_of_sums(pixels), [1.0])
    # A level of scale 1 has a row and a column more, by which its pixels are averaged.
    rows, columns = (detector._windows(np.arange(n + 1), n, n + 1) for n in (301, 260))
    whole = detector._averages(table_of_sums(pixels), rows, columns)
    scores, _ = looking._forward("propose", whole[None], np.array([[302, 261]], np.int32))
    at = np.argwhere(scores[0] >= least)
    assert len(at) > 20
    order, ours = np.lexsort(at.T), np.lexsort(boxes[:, [1, 0]].T)
    np.testing.assert_array_equal(boxes[ours][:, :2], 2 * at[order][:, ::-1] + 1)
    np.testing.assert_allclose(sure[ours], scores[0][*at[order].T], atol=1e-5)


def test_the_cascade_against_a_transcription(found_low: FaceDetector) -> None:
    """With PyTorch, whole levels, and one box at a time."""
    torch = pytest.importorskip("torch")
    import published_mtcnn

    params = found_low.weights.variables["params"]
    nets = {}
    for name, kind in published_mtcnn.NETS.items():
        net = nets[name] = kind().eval()
        for layer, values in params[name].items():
            for value, array in values.items():
                parameter = getattr(
                    net.get_submodule(layer), "bias" if value == "bias" else "weight"
                )
                theirs = np.asarray(array)
                theirs = theirs.transpose(3, 2, 0, 1) if theirs.ndim == 4 else theirs.T
                parameter.data.copy_(torch.tensor(theirs))
    assert tuple(nets) == NAMES
    pixels = picture(140, 171, 4)
    expected = published_mtcnn.cascade(nets, pixels, 20, LOW)
    boxes, points, sure = found_low.cascade(table_of_sums(pixels), 20)
    assert len(expected) == len(boxes) > 2
    for one, box, point, score in zip(expected, boxes, points, sure, strict=True):
        np.testing.assert_allclose(score, one["score"], atol=1e-4)
        np.testing.assert_allclose(box, one["box"], atol=0.01)
        np.testing.assert_allclose(point + 0.5, one["points"], atol=0.01)


def test_boxes_are_in_pixels_of_the_image(found_low: FaceDetector) -> None:
    """An image that is enlarged first, and one that was enlarged before."""
    pixels = picture(90, 110, 2)
    twice = Image.fromarray(pixels).resize((220, 180), Image.Resampling.BICUBIC)
    one = FaceDetector(found_low.weights, DetectConfig(12, 2, LOW))(pixels)
    other = FaceDetector(found_low.weights, DetectConfig(24, 1, LOW))(twice)
    assert len(one) == len(other) > 2
    np.testing.assert_allclose(one.boxes, other.boxes / 2, atol=1e-3)
    np.testing.assert_allclose(one.points, (other.points + 0.5) / 2 - 0.5, atol=1e-3)
    boxes, points, _ = found_low.cascade(table_of_sums(np.asarray(twice)), 24)
    # The first pixel is 1 there, and the last one counts.
    np.testing.assert_allclose(other.boxes[:, :2], boxes[:, :2] - 1, atol=1e-3)
    np.testing.assert_allclose(other.boxes[:, 2:], boxes[:, 2:] - boxes[:, :2] + 1, atol=1e-3)
    np.testing.assert_allclose(other.points, points, atol=1e-3)


def test_images_of_all_sizes_share_three_programs(found_low: FaceDetector) -> None:
    images = [picture(*size) for size in ((140, 90), (333, 217), (60, 500), (12, 12), (9, 30))]
    found_low(images[0])
    before = detector._forward._cache_size()
    together = found_low(images)
    assert detector._forward._cache_size() == before
    assert set(together.image) <= {0, 1, 2, 3}
    alone = found_low(images[1])
    np.testing.assert_array_equal(together.boxes[together.image == 1], alone.boxes)
    assert (np.diff(alone.confidence) <= 0).all()
    assert set(alone.image) == {0}


def test_where_there_is_nothing_nothing_is_found() -> None:
    found = lrjax.detect([np.zeros((40, 50, 3), np.uint8), np.full((5, 5, 3), 200, np.uint8)])
    assert isinstance(found, lrjax.Detection)
    assert found.boxes.shape == (0, 4)
    assert found.points.shape == (0, 5, 2)
    assert len(found) == len(found.confidence) == len(found.image) == 0
    assert len(lrjax.detect([])) == 0


def test_large_photographs_are_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "PIXELS", 10_000)
    for size, enlarge, expected in (
        ((400, 100), 2, (200, 50)),
        ((100, 50), 2, (141, 71)),
        ((20, 30), 3, (60, 90)),
    ):
        photo, factors = detector._seen(Image.new("RGB", size), enlarge)
        assert photo.size == expected
        np.testing.assert_allclose(factors, np.divide(expected, size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smallest": 2}, "smallest is 2"),
        ({"smallest": float("nan")}, "smallest is nan"),
        ({"enlarge": 0.5}, "enlarge is 0.5"),
        ({"thresholds": (0.5, 1.5, 0.5)}, "thresholds is"),
        ({"thresholds": (0.5, 0.5)}, "give three probabilities"),
        ({"step": 1.0}, "step is 1"),
        ({"weights": "absent.safetensors"}, "There is no weights file"),
        ({"weights": str(weights.PRETRAINED)}, "holds a landmark network .*a face detector"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lrjax.detect(np.zeros((20, 20, 3), np.uint8), **options)


@pytest.mark.slow
def test_small_faces_of_photographs_are_found() -> None:
    """At least 96 of 100 native faces of 20 to 40 pixels, at an overlap of a half."""
    folder = Path(os.environ.get("LRJAX_DATA", "absent")) / "ALRF_dev"
    if not folder.is_dir():
        pytest.skip("LRJAX_DATA holds no ALRF_dev")
    with (folder / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found, distances, count = {}, [], 0
    for row in rows:
        name = row["file"]
        if name not in found:
            found[name] = lrjax.detect(folder / "photos" / name)
        box = np.array([float(row[side]) for side in "xywh"])
        boxes = found[name].boxes
        low = np.maximum(box[:2], boxes[:, :2])
        high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
        common = np.maximum(high - low, 0).prod(-1)
        share = common / (box[2:].prod() + boxes[:, 2:].prod(-1) - common)
        if share.max() >= 0.5:
            count += 1
            truth = np.array([float(row[f"{a}{i}"]) for i in range(5) for a in "xy"]).reshape(5, 2)
            distance = np.linalg.norm(found[name].points[share.argmax()] - truth, axis=-1).mean()
            distances.append(distance / np.sqrt(box[2:].prod()))
    assert len(rows) == 100
    assert count >= 96
    assert np.mean(distances) < 0.05
