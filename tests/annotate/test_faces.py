"""Faces that are cut out for people keep their pixels and coordinates."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lrjax.annotate.faces import cut_face, name_of
from lrjax.inference.tables import Row


def row(*box: float, file: str = "a.png") -> Row:
    return Row((file, *map(str, box)), box)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_the_picture_is_the_box_and_what_is_shown_is_more(photo: Image.Image) -> None:
    """A box of 20 x 20 has 7 pixels more on each side."""
    start = np.array([[34.5, 25.0]] * 5)
    face = cut_face(photo, row(30, 20, 20, 20), start, "x.png")
    whole = np.asarray(photo)
    np.testing.assert_array_equal(pixels(face.picture), whole[20:40, 30:50])
    np.testing.assert_array_equal(pixels(face.shown), whole[13:47, 23:57])
    assert face.size == (20, 20)
    assert face.frame == (-7, -7, 34, 34)
    np.testing.assert_allclose(face.start, [[4.5, 5.0]] * 5)


def test_boxes_are_rounded_to_whole_pixels(photo: Image.Image) -> None:
    face = cut_face(photo, row(30.4, 19.5, 20.2, 10.9), None, "x.png")
    np.testing.assert_array_equal(pixels(face.picture), np.asarray(photo)[20:30, 30:51])
    assert face.start is None


@pytest.mark.parametrize(
    ("box", "frame"),
    [((0, 0, 20, 20), (0, 0, 27, 27)), ((-4, 50, 20, 20), (0, -7, 27, 27))],
)
def test_what_is_shown_ends_where_the_image_does(photo: Image.Image, box, frame) -> None:
    """But for the box, which is black there, as a face image of ALRF is."""
    face = cut_face(photo, row(*map(float, box)), None, "x.png")
    left, top = box[0] + face.frame[0], box[1] + face.frame[1]
    assert face.frame == frame
    assert pixels(face.shown).shape == (frame[3], frame[2], 3)
    assert (left, top) == (min(box[0], 0), max(box[1] - 7, 0))
    if box[0] < 0:
        assert not pixels(face.picture)[:, :4].any()
        assert not pixels(face.picture)[10:].any()


def test_a_whole_image_is_its_picture(photo: Image.Image) -> None:
    asked = Row(("a.jpg", "", "", "", ""))
    face = cut_face(photo, asked, None, name_of(asked))
    assert (face.file, face.size, face.frame) == ("a.jpg.png", (90, 60), (0, 0, 90, 60))


def test_names_tell_faces_apart_whatever_others_there_are() -> None:
    assert name_of(row(865.0, 224.0, 24.5, 27.0, file="sub/b c.jpg")) == (
        "sub/b c.jpg_865_224_24.5_27.png"
    )
