"""What `lrjax predict` does with a video."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lrjax.cli.faces import summary, write_table
from lrjax.cli.say import say
from lrjax.errors import InputError
from lrjax.inference.detector import FaceDetector
from lrjax.inference.formats import faces_lines, format_of
from lrjax.inference.landmarks import DOUBTFUL, LandmarkPredictor
from lrjax.inference.tables import FRAME_COLUMNS, Found, Row
from lrjax.inference.video import FrameFaces, Video, VideoWriter, follow_faces
from lrjax.report.faces import frame_picture


def predict_video(
    path: Path,
    predictor: LandmarkPredictor,
    points: str,
    target: Path | None,
    draw: Path | None,
    *,
    every: int,
    smooth: bool,
) -> None:
    """Write the faces of a video as rows, and the video with them drawn in, if asked for.

    Rows are written as the frames come, so that long videos need no more memory than short ones.

    Args:
      path: of the video.
      predictor, points: what finds the points, and their scheme.
      target: file of the rows, None for the terminal.
      draw: folder for the video.
      every, smooth: see `video.follow_faces`.

    Raises:
      InputError: the video cannot be decoded to its end; there is no row, and no video, then.
    """
    began = time.monotonic()
    if format_of(target) == "coco":
        raise InputError("COCO describes images; for a video name a file .csv or .json.")
    video = Video(path)
    drawn = None if draw is None else VideoWriter(draw / f"{path.stem}-faces.mp4", video.rate)
    faces: list[int] = []
    doubtful = 0
    tracks: set[int] = set()

    def rows() -> Iterator[tuple[Row, Found]]:
        nonlocal doubtful
        frames = tqdm(video, "frames", video.count or None, unit="frame", dynamic_ncols=True)
        detector = FaceDetector.load()
        for part in follow_faces(frames, detector, predictor, points, every=every, smooth=smooth):
            found = part.prediction
            faces.append(len(found))
            doubtful += int((found.confidence < DOUBTFUL).sum())
            tracks.update(part.tracks)
            if drawn is not None:
                picture = frame_picture(
                    part.frame.photo, found.boxes, found.points, found.confidence, part.tracks
                )
                drawn.add(picture, part.frame.time)
            yield from frame_rows(path.name, part)

    with contextlib.ExitStack() as stack:
        if drawn is not None:
            stack.callback(drawn.discard)
        write_table(faces_lines(target, rows(), predictor.scheme_of(points), FRAME_COLUMNS), target)
        if drawn is not None:
            drawn.close()
    text = f"{len(tracks):,} tracks in {len(faces):,} frames; "
    text += summary(sum(faces), 1, began, [path.name] * doubtful)
    say(text)


def frame_rows(file: str, part: FrameFaces) -> Iterator[tuple[Row, Found]]:
    """Make the rows of the faces of a frame."""
    for i, (box, track) in enumerate(zip(part.prediction.boxes, part.tracks, strict=True)):
        x, y, w, h = (round(float(value), 1) for value in box)
        more = {"frame": part.frame.number, "time": round(part.frame.time, 4), "track": track}
        cells = (file, *(f"{value:.1f}" for value in (x, y, w, h)))
        yield Row(cells, (x, y, w, h), more=more), (part.prediction, i)
