"""Points of tiny faces as AdaFace's authors found them, and what becomes of the others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lrjax.config import AlignmentConfig
from lrjax.errors import InputError
from lrjax.inference.aligner import Aligner
from lrjax.inference.detector import Detection
from lrjax.inference.squares import OPTIONS, Squares
from lrjax.tfds_builders.synthetic_faces.faces import high_resolution


@pytest.fixture(scope="module")
def squares() -> Squares:
    return Squares.load()


def test_a_picture_is_made_square_and_padded_with_black(squares: Squares) -> None:
    """By hand: 16×32 becomes 16 of 32 columns, in the middle, with 3 pixels of black about."""
    photo = Image.new("RGB", (8, 16), (200, 100, 50))
    cut, shown = squares.faces([photo], np.array([[0, 0, 8, 16]]))
    assert cut[0].shape == (38, 38, 3)
    assert (cut[0][8:30, 14:24] == (200, 100, 50)).all()
    for black in (cut[0][:3], cut[0][35:], cut[0][:, :8], cut[0][:, 30:]):
        assert not black.any()
    # A pixel of the square is half a pixel of the picture.
    np.testing.assert_allclose(shown, [[-4 - 1.5, -1.5, 19, 19]])


def test_its_settings_are_theirs() -> None:
    assert (OPTIONS.smallest, OPTIONS.enlarge, OPTIONS.step) == (20, 1, 0.85)
    assert OPTIONS.thresholds == (0.6, 0.7, 0.9)


def test_the_surest_face_of_each_picture_counts(
    squares: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    owner = np.array([0, 2, 2])
    found = Detection(np.zeros((3, 4)), points, np.array([0.95, 0.99, 0.9]), owner)
    monkeypatch.setattr(type(squares.detector), "find", lambda self, photos: found)
    there, visible = squares.points([Image.new("RGB", (38, 38))] * 3)
    assert visible.all(-1).tolist() == [True, False, True]
    np.testing.assert_array_equal(there[[0, 2]], points[:2])


def test_faces_are_aligned_and_failures_are_counted() -> None:
    """Drawn faces in tight boxes: what is found is aligned, grey is resized and counted."""
    photos, boxes, where = [], [], []
    for person in range(3):
        (picture,) = high_resolution(0, person, [0], 60)
        photos.append(Image.fromarray(picture.pixels))
        boxes.append(np.asarray(picture.face_box, np.float64))
        where.append(np.asarray(picture.points, np.float64))
    photos.append(Image.new("RGB", (20, 16), (120, 110, 100)))
    boxes.append(np.array([0.0, 0, 20, 16]))
    aligner = Aligner.load("adaface", "arcface112")
    result = aligner.align(photos, np.stack(boxes))
    assert result.images.shape == (4, 112, 112, 3)
    assert not result.aligned[3]
    assert np.isnan(result.points[3]).all()
    # A face without points is resized: all of it is shown, and no black.
    assert (result.images[3] == (120, 110, 100)).all()
    assert result.aligned[:3].sum() >= 1
    for i in np.flatnonzero(result.aligned[:3]):
        eyes = np.stack([where[i][36:42].mean(0), where[i][42:48].mean(0)])
        side = np.sqrt(boxes[i][2:].prod())
        assert np.abs(result.points[i][:2] - eyes).max() < 0.15 * side
    count = int((~result.aligned).sum())
    assert f"{count} could not be and were resized" in result.note
    assert "as AdaFace did" in result.note


def test_it_makes_pictures_of_its_own_size() -> None:
    with pytest.raises(InputError, match="leave out upsample and resize_to"):
        Aligner.load(AlignmentConfig("adaface", resize_to=64), "arcface112")
    one, other = (Aligner.load(name, "arcface112").identity for name in ("adaface", "resize"))
    assert one != other
