"""Sample pictures of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lrjax.report.draw import GREEN
from lrjax.report.samples import save_pictures


def test_pictures_are_enlarged_and_points_drawn(tmp_path: Path) -> None:
    images = np.full((3, 16, 16, 3), 128, np.uint8)
    points = np.full((3, 5, 2), 8.0) + np.arange(10).reshape(5, 2)[None] / 4
    save_pictures(tmp_path, 12, {"real": {"images": images, "points": points}})
    save_pictures(tmp_path, 12, {"plain": {"images": images}})
    assert sorted(file.name for file in (tmp_path / "samples").iterdir()) == [
        "0000012-plain.png",
        "0000012-real.png",
    ]
    for name, drawn in (("real", True), ("plain", False)):
        sheet = np.asarray(Image.open(tmp_path / "samples" / f"0000012-{name}.png"))
        assert sheet.shape[0] == 128  # 16 pixels, enlarged eight times
        assert bool((sheet == np.array(GREEN)).all(-1).any()) == drawn
