"""`lrjax predict` with a video."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import drawn
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lrjax.cli import videos
from lrjax.cli.predict import predict
from lrjax.errors import InputError
from lrjax.inference.video import FrameFaces, Video, VideoWriter

COUNT = 7


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, who move by 4 pixels to the right and 2 down from frame to frame."""
    pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")
    photo, _ = drawn.crowd()
    path = tmp_path_factory.mktemp("videos") / "crowd.mp4"
    writer = VideoWriter(path, Fraction(25))
    for k in range(COUNT):
        frame = Image.new("RGB", (photo.width + 40, photo.height + 20), (120, 130, 140))
        frame.paste(photo, (4 * k, 2 * k))
        writer.add(np.asarray(frame), k / 25)
    writer.close()
    return path


def run(weights: Path, *words: object) -> Result:
    return CliRunner().invoke(predict, [*map(str, words), "--weights", str(weights)])


def test_every_face_of_every_frame_is_a_row(
    video: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    """With its frame, time and track, as CSV, as JSON, and drawn; detected in the first frame."""
    words = ("--images", video, "--points", "five", "--passes", 1, "--every", COUNT)
    done = run(tiny_weights, *words, "--out", tmp_path / "out.csv", "--draw", tmp_path / "drawn")
    assert done.exit_code == 0, done.output
    assert f"lrjax: 3 tracks in {COUNT} frames; {3 * COUNT} faces in 1 file, " in done.stderr
    lines = [*csv.DictReader((tmp_path / "out.csv").read_text().splitlines())]
    assert [*lines[0]][:8] == ["file", "frame", "time", "track", "x", "y", "w", "h"]
    assert [line["file"] for line in lines] == ["crowd.mp4"] * (3 * COUNT)
    assert [int(line["frame"]) for line in lines] == [k for k in range(COUNT) for _ in range(3)]
    assert [int(line["track"]) for line in lines] == [1, 2, 3] * COUNT
    np.testing.assert_allclose(
        [float(line["time"]) for line in lines], np.repeat(np.arange(COUNT) / 25, 3), atol=1e-3
    )
    assert all(line["x4"] and line["confidence"] for line in lines)
    there = Video(tmp_path / "drawn" / "crowd-faces.mp4")
    before, after = ([frame.photo for frame in one] for one in (Video(video), there))
    assert len(after) == len(before) == COUNT
    factor = after[0].width // before[0].width
    assert factor == 1280 // before[0].width
    changed = abs(
        np.asarray(before[3].resize(after[3].size), float) - np.asarray(after[3], float)
    ).max(-1)
    assert 0.005 < (changed > 90).mean() < 0.2

    done = run(tiny_weights, *words, "--out", tmp_path / "out.json")
    faces = json.loads((tmp_path / "out.json").read_text())
    for face, line in zip(faces, lines, strict=True):
        assert (face["frame"], face["track"]) == (int(line["frame"]), int(line["track"]))
        assert face["landmarks"]["mouth_right"] == [float(line["x4"]), float(line["y4"])]


@pytest.mark.slow
def test_points_move_with_the_faces(video: Path, tmp_path: Path) -> None:
    """As the pretrained network finds them, by hundredths of the face."""
    out = tmp_path / "out.csv"
    words = ["--images", str(video), "--points", "five", "--every", "3", "--out", str(out)]
    assert CliRunner().invoke(predict, words).exit_code == 0
    lines = [*csv.DictReader(out.read_text().splitlines())]
    for track in ("1", "2", "3"):
        own = [line for line in lines if line["track"] == track]
        assert [line["frame"] for line in own] == [str(k) for k in range(COUNT)]
        points = np.array(
            [[float(line[f"{a}{i}"]) for i in range(5) for a in "xy"] for line in own]
        )
        still = points.reshape(COUNT, 5, 2) - np.arange(COUNT)[:, None, None] * [4, 2]
        side = float(own[0]["w"])
        assert abs(still - still.mean(0)).max() < 0.05 * side
        assert np.std(still, axis=0).mean() < 0.015 * side


def test_a_damaged_video_leaves_no_rows(video: Path, tmp_path: Path, tiny_weights: Path) -> None:
    """Nor a picture; the old table stays."""
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + 8
    data[start : start + 4000] = bytes(4000)
    (tmp_path / "cut.mp4").write_bytes(data)
    out = tmp_path / "out.csv"
    out.write_text("old")
    words = ("--images", tmp_path / "cut.mp4", "--out", out, "--draw", tmp_path / "drawn")
    done = run(tiny_weights, *words)
    assert isinstance(done.exception, InputError)
    assert "cut.mp4 cannot be decoded" in str(done.exception)
    assert out.read_text() == "old"
    assert [*(tmp_path / "drawn").iterdir()] == []


def test_frames_are_the_images_of_coco(
    video: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those without a face, too, as from the third one on here; faces keep their tracks."""
    follow = videos.follow_faces

    def first_two(*arguments: Any, **options: Any) -> Iterator[FrameFaces]:
        for part in follow(*arguments, **options):
            some = range(3 if part.frame.number < 2 else 0)
            nobody = part.prediction.take(np.array(some, int))
            yield FrameFaces(part.frame, nobody, [part.tracks[i] for i in some])

    monkeypatch.setattr(videos, "follow_faces", first_two)
    words = ("--images", video, "--points", "five", "--passes", 1, "--every", COUNT)
    for name in ("out.coco.json", "out.json"):
        assert run(tiny_weights, *words, "--out", tmp_path / name).exit_code == 0
    data = json.loads((tmp_path / "out.coco.json").read_text())
    width, height = next(iter(Video(video))).photo.size
    for k, image in enumerate(data["images"]):
        assert image.pop("time") == pytest.approx(k / 25, abs=1e-3)
        name = f"crowd.mp4#00000{k}"
        rest = {"id": k + 1, "file_name": name, "width": width, "height": height, "frame": k}
        assert image == rest
    assert len(data["images"]) == COUNT
    faces = json.loads((tmp_path / "out.json").read_text())
    assert len(data["annotations"]) == len(faces) == 6
    for i, (one, face) in enumerate(zip(data["annotations"], faces, strict=True)):
        assert (one["image_id"], one["track"]) == (1 + i // 3, 1 + i % 3)
        assert (face["frame"], face["track"]) == (i // 3, 1 + i % 3)
        assert one["bbox"] == face["box"]
        assert one["keypoints"][0::3] == [x for x, _ in face["landmarks"].values()]
        assert one["score"] == face["confidence"]


def test_the_page_has_a_line_for_each_track(
    video: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    words = ("--images", video, "--points", "five", "--passes", 1, "--every", COUNT)
    out, page = tmp_path / "out.csv", tmp_path / "page.html"
    done = run(tiny_weights, *words, "--out", out, "--report", page)
    assert done.exit_code == 0, done.output
    html = page.read_text()
    assert f"3 tracks in {COUNT} frames" in html
    assert html.count("data:image/jpeg") == 1
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", html[html.index("<tbody>") :])
    lines = [*csv.DictReader(out.read_text().splitlines())]
    for track, first in enumerate(range(0, len(cells), 7), start=1):
        sure = [float(row["confidence"]) for row in lines if row["track"] == str(track)]
        note = "may be none" if np.mean(sure) < 0.5 else ""
        number, begin, end, frames, mean, best, said = cells[first : first + 7]
        assert (number, begin, end, frames) == (str(track), "0.00", "0.24", str(COUNT))
        assert float(mean) == pytest.approx(np.mean(sure), abs=0.006)
        assert float(best) == pytest.approx(max(sure), abs=0.006)
        assert said == note
    assert len(cells) == 21


@pytest.mark.parametrize("words", [["--crops"], ["--boxes", "a.csv"]])
def test_what_cannot_be_done_with_a_video(
    video: Path, tiny_weights: Path, words: list[str]
) -> None:
    done = run(tiny_weights, "--images", video, "--out", "-", *words)
    assert isinstance(done.exception, InputError)
    assert "is a video; leave out --boxes and --crops" in str(done.exception)
