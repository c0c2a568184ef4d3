"""The picture to try."""

import io

import numpy as np
import pytest
from PIL import Image

from lrjax.demo import example as module
from lrjax.demo.example import PEOPLE, SIDES, SIZE, example


def test_people_of_all_sizes_hang_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    hung: list[tuple[int, int, int, int]] = []
    hang = module._hang

    def noticed(wall: Image.Image, portrait: Image.Image, left: int, top: int) -> None:
        hung.append((left, top, portrait.width, portrait.height))
        hang(wall, portrait, left, top)

    module._drawn.cache_clear()
    monkeypatch.setattr(module, "_hang", noticed)
    photo = Image.open(io.BytesIO(example()))
    assert photo.size == SIZE
    assert len(hung) == 2 * PEOPLE  # each twice
    left, top, width, height = np.array(hung).T
    assert left.min() > 0
    assert (left + width).max() < SIZE[0]
    assert top.min() > 0
    assert (top + height).max() < SIZE[1]
    columns = [hung[i][2] for i in np.unique(left, return_index=True)[1]]
    assert np.corrcoef(columns, SIDES)[0, 1] > 0.999
    # Nobody hangs in front of another.
    for i, (x, y, w, h) in enumerate(hung):
        for a, b, c, d in hung[i + 1 :]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
    assert example() is example()
