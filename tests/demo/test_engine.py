"""Pictures of many requests: looked at together, each answered for itself."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import drawn
import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

from lrjax.demo import engine as engines
from lrjax.demo.engine import BusyError, Engine, TooManyFacesError
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.alignment import align_faces
from lrjax.inference.images import open_image
from lrjax.inference.landmarks import LandmarkPredictor, Prediction

pytestmark = pytest.mark.usefixtures("quick_compile")


def opened(content: bytes) -> ImageFile:
    return open_image(content, "given")


def test_it_sees_what_the_networks_see(engine: Engine, crowd: bytes) -> None:
    photo, boxes = drawn.crowd()
    seen = engine.look(opened(crowd)).result(30)
    expected = LandmarkPredictor(engine.predictor.weights)(photo, boxes)
    assert seen.size == photo.size
    np.testing.assert_array_equal(seen.faces.boxes, boxes)
    np.testing.assert_allclose(seen.faces.points, expected.points, atol=1e-3)
    np.testing.assert_allclose(seen.found, [0.9, 0.85, 0.8])
    five = expected.converted("five").points
    aligned = align_faces([photo] * 3, five, np.ones((3, 5), bool), TEMPLATES["arcface112"])
    assert np.abs(seen.aligned.images.astype(int) - aligned.images).max() <= 1
    assert seen.features is None


def test_given_boxes_are_looked_at(engine: Engine, crowd: bytes) -> None:
    boxes = drawn.crowd()[1][[2, 0]]
    seen = engine.look(opened(crowd), boxes).result(30)
    np.testing.assert_array_equal(seen.faces.boxes, boxes)
    assert seen.found is None
    assert len(engine.look(opened(crowd), np.zeros((0, 4))).result(30).faces) == 0


def test_what_waits_is_looked_at_together(engine: Engine, crowd: bytes) -> None:
    engine.predictor.go.clear()
    answers = [engine.look(opened(crowd), drawn.crowd()[1][[i % 3]]) for i in range(20)]
    engine.predictor.go.set()
    points = [answer.result(30).faces.points for answer in answers]
    # The first ones are taken as they come.
    assert sum(engine.predictor.shown) == 20
    assert len(engine.predictor.shown) <= 3
    assert max(engine.predictor.shown) <= engines.TOGETHER
    for i, found in enumerate(points):
        alone = engine.look(opened(crowd), drawn.crowd()[1][[i % 3]]).result(30)
        np.testing.assert_allclose(found, alone.faces.points, atol=1e-3)


def test_one_that_is_bad_fails_alone(
    engine: Engine, crowd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.predictor.go.clear()
    first = engine.look(opened(crowd))
    outside = np.array([[5000.0, 5, 10, 10]])
    bad = [engine.look(opened(crowd[:-3000])), engine.look(opened(crowd), outside)]
    good = engine.look(opened(crowd))
    engine.predictor.go.set()
    assert len(first.result(30).faces) == len(good.result(30).faces) == 3
    with pytest.raises(InputError, match="cannot be decoded"):
        bad[0].result(30)
    with pytest.raises(InputError, match="lies outside the image"):
        bad[1].result(30)

    real = engine.predictor.predict

    def broken(photos: object, boxes: np.ndarray, owner: object) -> Prediction:
        if (boxes == 7).any():
            raise ValueError("seven")
        return real(photos, boxes, owner)

    monkeypatch.setattr(engine.predictor, "predict", broken)
    engine.predictor.go.clear()
    boxes = [drawn.crowd()[1], np.full((1, 4), 7.0), drawn.crowd()[1]]
    first, *others = (engine.look(opened(crowd), some) for some in [boxes[0], *boxes])
    engine.predictor.go.set()
    assert [len(one.result(30).faces) for one in (first, others[0], others[2])] == [3, 3, 3]
    with pytest.raises(ValueError, match="seven"):
        others[1].result(30)


def test_pictures_are_seen_as_browsers_show_them(engine: Engine) -> None:
    photo, boxes = drawn.crowd()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    buffer = io.BytesIO()
    photo.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    seen = engine.look(opened(buffer.getvalue()), boxes).result(30)
    assert seen.size == photo.size
    expected = LandmarkPredictor(engine.predictor.weights)(photo, boxes)
    np.testing.assert_allclose(seen.faces.points, expected.points, atol=1e-3)


def test_limits_are_said(engine: Engine, crowd: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MOST_FACES", 2)
    with pytest.raises(TooManyFacesError, match="has 3 faces; send a part"):
        engine.look(opened(crowd), drawn.crowd()[1])
    with pytest.raises(TooManyFacesError, match="boxes of at most 2"):
        engine.look(opened(crowd)).result(30)


def test_too_many_requests_are_told_to_come_again(engine: Engine, crowd: bytes) -> None:
    engine.predictor.go.clear()
    waiting = [engine.look(opened(crowd)) for _ in range(engines.MOST_WAITING)]
    with pytest.raises(BusyError, match="32 pictures waiting"):
        engine.look(opened(crowd))
    # One that nobody waits for any more makes room.
    assert waiting[-1].cancel()
    waiting[-1] = engine.look(opened(crowd))
    engine.predictor.go.set()
    assert all(len(one.result(60).faces) == 3 for one in waiting)
    assert len(engine.look(opened(crowd)).result(30).faces) == 3


def test_before_it_is_ready_it_says_so(make_engine: Callable[..., Engine], crowd: bytes) -> None:
    go = threading.Event()

    def example() -> bytes:
        go.wait(30)
        return crowd

    with make_engine(example=example) as engine:
        threading.Event().wait(0.1)
        with pytest.raises(BusyError, match=r"not ready \(drawing the example, for 0 s so far\)"):
            engine.look(opened(crowd))
        go.set()
    # Closed while it was at it, and waited for.
    assert not engine._thread.is_alive()


def test_what_cannot_be_compiled_is_said(make_engine: Callable[..., Engine], crowd: bytes) -> None:
    def example() -> bytes:
        raise MemoryError("no room")

    with make_engine(example=example) as engine:
        engine.wait()
        assert engine.problem == "The networks cannot be used (no room); start the program again."
        with pytest.raises(RuntimeError, match="no room"):
            engine.look(opened(crowd))


def test_networks_without_five_points_are_refused(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lrjax.inference.landmarks.convert", lambda *given: (_ for _ in ()).throw(ValueError("no"))
    )
    with pytest.raises(InputError, match="cannot give the points asked for"):
        make_engine()
