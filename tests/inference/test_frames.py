"""Faces for training: aligned once and kept, or when they are read, always the same ones."""

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from grain import MapDataset
from PIL import Image

from lrjax.data.examples import gather, select
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference import aligner
from lrjax.inference.aligner import Aligner, Frames
from lrjax.inference.landmarks import LandmarkPredictor

FACE32 = TEMPLATES["face32"]


def frames(
    people: Identities,
    cache: Path | None = None,
    *,
    landmarks: str = "points",
    streamed: bool = False,
) -> Frames:
    """The frames of `people` with a border of three pixels."""
    return Aligner.load(landmarks, FACE32, border=3).frames(people, streamed=streamed, cache=cache)


@pytest.fixture
def people() -> Identities:
    """Four pictures with points; those of the second one are useless."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(4):
        stream = io.BytesIO()
        pixels = rng.integers(0, 256, (44, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "PNG")
        encoded.append(stream.getvalue())
    points = np.tile(FACE32.points + np.array([3, 5]), (4, 1, 1)).astype(np.float32)
    points[1] = 8
    names = tuple("abcd")
    return Identities(encoded, np.arange(4, dtype=np.int32), names, "p", points, points[..., 0] > 0)


def test_the_middle_of_a_frame_is_the_aligned_face(people: Identities, tmp_path: Path) -> None:
    made = frames(people, tmp_path)
    faces = Aligner.load("points", "face32")(people)
    assert made.images.shape == (4, 38, 38, 3)
    aligned = faces.aligned
    assert aligned.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(made.images[aligned, 3:-3, 3:-3], faces.images[aligned])
    assert "3 of 4 faces aligned to face32 by the dataset's points" in made.note


def test_they_are_kept(people: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = frames(people, tmp_path)
    monkeypatch.setattr(aligner, "decode_identity", None)
    again = frames(people, tmp_path)
    np.testing.assert_array_equal(again.images, first.images)
    assert again.note == first.note


def test_the_users_cache_is_used_unless_told_otherwise(
    people: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    frames(people)
    assert len(list((tmp_path / "lrjax" / "aligned").iterdir())) == 1


@pytest.mark.parametrize("landmarks", ["points", "resize"])
def test_streamed_faces_are_the_same_ones(
    people: Identities, tmp_path: Path, landmarks: str
) -> None:
    whole = frames(people, tmp_path / "whole", landmarks=landmarks)
    streamed = frames(people, tmp_path / "streamed", landmarks=landmarks, streamed=True)
    assert isinstance(streamed.images, MapDataset)
    assert len(streamed.images) == 4
    for rows in (np.array([3, 1, 1]), np.arange(1, 3)):
        np.testing.assert_array_equal(gather(streamed.images, rows), whole.images[rows])
    some = select(streamed.images, np.array([3, 0]))
    np.testing.assert_array_equal(gather(some, np.array([1])), whole.images[:1])
    assert not (tmp_path / "streamed").exists()


def test_what_a_network_has_aligned_is_streamed_from_the_disk(
    people: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at each face once, not once an epoch."""
    looked = []

    class Middle:
        weights = SimpleNamespace(identity="middle")

        def predict(self, photos: list, boxes: np.ndarray, owner: np.ndarray) -> "Middle":
            looked.append(len(photos))
            self.points = np.stack([FACE32.points] * len(photos))
            return self

        def converted(self, points: str) -> "Middle":
            return self

    monkeypatch.setattr(LandmarkPredictor, "load", lambda *_: Middle())
    made = frames(people, tmp_path, landmarks="pretrained", streamed=True)
    assert isinstance(made.images, MapDataset)
    whole = frames(people, tmp_path, landmarks="pretrained")
    for _ in range(2):
        rows = np.array([2, 0])
        np.testing.assert_array_equal(gather(made.images, rows), whole.images[rows])
    assert looked == [4]


def test_missing_points_are_said(people: Identities, tmp_path: Path) -> None:
    bare = dataclasses.replace(people, points=None, visible=None)
    for streamed in (True, False):
        with pytest.raises(InputError, match="set landmarks of the alignment"):
            frames(bare, tmp_path, streamed=streamed)
