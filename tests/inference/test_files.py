"""Many image files: each is read once, and order is kept."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax.geometry.templates import TEMPLATES
from lrjax.inference import files, images
from lrjax.inference.aligner import Aligner
from lrjax.inference.files import FaceRequest, align_files
from lrjax.inference.images import open_image
from lrjax.inference.tables import Row

SEEN = np.ones(5, bool)


def row(file: str, *box: float) -> Row:
    return Row((file, *map(str, box)), box)


def test_each_file_is_read_once_and_rows_find_their_faces(
    find_dots, draw_dots, face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of five files in turn, each face elsewhere; only two images may wait for a batch."""
    monkeypatch.setattr(images, "AT_ONCE", 2)
    middles = {f"{i}.png": np.array([[20.0 + i, 25], [60, 30.0 + i]]) for i in range(5)}
    for name, middle in middles.items():
        truth = middle[:, None] + face * (20 / 32)
        draw_dots(truth, np.full(2, 20.0), (60, 90)).save(tmp_path / name)
    boxes = {name: middle - 9.5 for name, middle in middles.items()}
    rows = [row(name, *boxes[name][k], 20.0, 20.0) for k in (1, 0) for name in middles]
    rows.insert(3, row("absent.png", 1, 1, 5, 5))
    read: list[str] = []
    monkeypatch.setattr(
        files,
        "open_image",
        lambda path, once=files.open_image: read.append(path.name) or once(path),
    )
    found = {}
    for looked in files.predict_files(find_dots(), rows, tmp_path, "native"):
        for i, place in enumerate(looked.rows):
            found[place] = looked.prediction.points[i]
        assert list(looked.problems) == ([3] if looked.file == "absent.png" else [])
    assert sorted(read) == [*sorted(middles), "absent.png"]
    assert sorted(found) == [0, 1, 2, *range(4, 11)]
    order = [(name, k) for k in (1, 0) for name in middles]
    order.insert(3, ("", 0))
    for place, points in found.items():
        name, k = order[place]
        np.testing.assert_allclose(points, middles[name][k] + face * (20 / 32), atol=0.15)


def test_images_that_are_not_read_when_no_row_needs_them(find_dots, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    rows = [Row(("a.png", "", "", "", ""), problem="x is ''")]
    (looked,) = files.predict_files(find_dots(), rows, tmp_path, "native")
    assert looked.photo is None
    assert looked.problems == {0: "x is ''"}


def test_faces_of_many_files_are_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own points, in its own image; the others are named."""
    monkeypatch.setattr(images, "AT_ONCE", 2)
    template = TEMPLATES["face32"]
    rng = np.random.default_rng(0)
    pixels = {n: rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for n in ("a.png", "b.png")}
    for name, values in pixels.items():
        Image.fromarray(values).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no image")

    def asked(name: str, shift: float, **more: object) -> FaceRequest:
        points = template.points + shift
        own = {"box": np.array([shift, shift, 32, 32]), "points": points, "visible": SEEN}
        opener = partial(open_image, tmp_path / name)
        return FaceRequest(name, str(tmp_path / name), opener, **own | more)

    requests = [
        asked("a.png", 2),
        asked("b.png", 5),
        asked("c.png", 0),
        asked("a.png", 7, visible=~SEEN),
        asked("b.png", 0, box=np.array([90.0, 0, 9, 9])),
        asked("d.png", 0, problem="line 3"),
    ]
    found = dict(align_files(Aligner.load("points", template), requests))
    assert sorted(found) == list(range(6))
    for i, (name, shift) in enumerate((("a.png", 2), ("b.png", 5))):
        expected = pixels[name][shift : shift + 32, shift : shift + 32]
        assert np.abs(found[i].image.astype(int) - expected).max() <= 1
        assert found[i].aligned
        np.testing.assert_allclose(found[i].points, requests[i].points, atol=1e-4)
    assert not found[3].aligned
    np.testing.assert_array_equal(found[3].image, pixels["a.png"][7:39, 7:39])
    assert "c.png cannot be decoded" in found[2]
    assert found[4] == "the box lies outside the image"
    assert found[5] == "line 3"
