"""Many image files: each is read once, and order is kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax.inference import files
from lrjax.inference.rows import Row


def row(file: str, *box: float) -> Row:
    return Row((file, *map(str, box)), box)


def test_each_file_is_read_once_and_rows_find_their_faces(
    find_dots, draw_dots, face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of five files in turn, each face elsewhere; only two images may wait for a batch."""
    monkeypatch.setattr(files, "_IMAGES", 2)
    middles = {f"{i}.png": np.array([[20.0 + i, 25], [60, 30.0 + i]]) for i in range(5)}
    for name, middle in middles.items():
        truth = middle[:, None] + face * (20 / 32)
        draw_dots(truth, np.full(2, 20.0), (60, 90)).save(tmp_path / name)
    boxes = {name: middle - 9.5 for name, middle in middles.items()}
    rows = [row(name, *boxes[name][k], 20.0, 20.0) for k in (1, 0) for name in middles]
    rows.insert(3, row("absent.png", 1, 1, 5, 5))
    read: list[str] = []
    monkeypatch.setattr(
        files, "read_rgb", lambda path, once=files.read_rgb: read.append(path.name) or once(path)
    )
    found = {}
    for looked in files.look_at_files(find_dots(), rows, tmp_path, "native"):
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
    (looked,) = files.look_at_files(find_dots(), rows, tmp_path, "native")
    assert looked.photo is None
    assert looked.problems == {0: "x is ''"}
