"""What `lrjax predict` does with a video."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lrjax.cli.faces import summary, write_table
from lrjax.cli.say import say
from lrjax.inference.detector import FaceDetector
from lrjax.inference.formats import faces_lines, format_of
from lrjax.inference.landmarks import DOUBTFUL, LandmarkPredictor
from lrjax.inference.tables import FRAME_COLUMNS, Found, Row
from lrjax.inference.video import FrameFaces, Video, VideoWriter, follow_faces
from lrjax.report.faces import SHEET_TILE, FaceSheets, colour_of, face_tile, frame_picture
from lrjax.report.page import write_faces_page
from lrjax.report.tables import Cell, Table


def predict_video(
    path: Path,
    predictor: LandmarkPredictor,
    points: str,
    target: Path | None,
    draw: Path | None,
    report: Path | None = None,
    *,
    every: int,
    smooth: bool,
) -> None:
    """Write the faces of a video as rows, and the video with them drawn in, if asked for.

    Rows are written as the frames come, so that long videos need no more memory than short ones;
    but for COCO's format, whose images, the frames, are listed before the faces.

    Args:
      path: of the video.
      predictor, points: what finds the points, and their scheme.
      target: file of the rows, None for the terminal.
      draw: folder for the video.
      report: HTML page on the tracks.
      every, smooth: see `video.follow_faces`.

    Raises:
      InputError: the video cannot be decoded to its end; there is no row, and no video, then.
    """
    began = time.monotonic()
    # COCO lists all that was looked at, frames without a face, too.
    of_frames = format_of(target) == "coco"
    video = Video(path)
    drawn = None if draw is None else VideoWriter(draw / f"{path.stem}-faces.mp4", video.rate)
    faces: list[int] = []
    doubtful = 0
    tracks = TrackPage()

    def rows() -> Iterator[tuple[Row, Found]]:
        nonlocal doubtful
        frames = tqdm(video, "frames", video.count or None, unit="frame", dynamic_ncols=True)
        detector = FaceDetector.load()
        for part in follow_faces(frames, detector, predictor, points, every=every, smooth=smooth):
            found = part.prediction
            faces.append(len(found))
            doubtful += int((found.confidence < DOUBTFUL).sum())
            tracks.add(part)
            if drawn is not None:
                picture = frame_picture(
                    part.frame.photo, found.boxes, found.points, found.confidence, part.tracks
                )
                drawn.add(picture, part.frame.time)
            yield from frame_rows(path.name, part)
            if of_frames and not len(found):
                more = {"frame": part.frame.number, "time": round(part.frame.time, 4)}
                cells = (path.name, "", "", "", "")
                yield Row(cells, size=part.frame.photo.size, more=more), None

    with contextlib.ExitStack() as stack:
        if drawn is not None:
            stack.callback(drawn.discard)
        write_table(faces_lines(target, rows(), predictor.scheme_of(points), FRAME_COLUMNS), target)
        if drawn is not None:
            drawn.close()
    text = f"{len(tracks):,} tracks in {len(faces):,} frames; "
    text += summary(sum(faces), 1, began, [path.name] * doubtful)
    if report is not None:
        tracks.write(report, f"Faces in {path}", text)
    say(text)


def frame_rows(file: str, part: FrameFaces) -> Iterator[tuple[Row, Found]]:
    """Make the rows of the faces of a frame."""
    for i, (box, track) in enumerate(zip(part.prediction.boxes, part.tracks, strict=True)):
        x, y, w, h = (round(float(value), 1) for value in box)
        more = {"frame": part.frame.number, "time": round(part.frame.time, 4), "track": track}
        cells = (file, *(f"{value:.1f}" for value in (x, y, w, h)))
        row = Row(cells, (x, y, w, h), size=part.frame.photo.size, more=more)
        yield row, (part.prediction, i)


@dataclasses.dataclass(eq=False)
class _Seen:
    """What is kept of a track: when it was seen, how surely, and its surest face as a picture."""

    first: float
    last: float = 0.0
    frames: int = 0
    total: float = 0.0
    best: float = -1.0
    at: float = 0.0
    tile: np.ndarray | None = None


class TrackPage:
    """Sum the faces of a video up, track by track, as its frames come."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, part: FrameFaces) -> None:
        """Add the faces of the next frame."""
        found, time = part.prediction, part.frame.time
        for i, number in enumerate(part.tracks):
            sure = float(found.confidence[i])
            seen = self._seen.setdefault(number, _Seen(time))
            seen.last, seen.frames, seen.total = time, seen.frames + 1, seen.total + sure
            if sure > seen.best:
                seen.best, seen.at = sure, time
                seen.tile = face_tile(
                    part.frame.photo, found.boxes[i], found.points[i], colour_of(sure), SHEET_TILE
                )

    def write(self, path: Path, title: str, text: str) -> None:
        """Write an HTML page: a text, each track's surest face, and a line for each track."""
        sheets = FaceSheets()
        lines: list[tuple[Cell, ...]] = []
        for number, seen in sorted(self._seen.items()):
            assert seen.tile is not None
            mean = seen.total / seen.frames
            sheets.add_tile(number, f"{seen.at:.2f} s", seen.tile, seen.best)
            note = "may be none" if mean < DOUBTFUL else ""
            lines.append((number, seen.first, seen.last, seen.frames, mean, seen.best, note))
        columns = ("track", "from, s", "to, s", "frames", "confidence", "surest", "note")
        table = Table("Tracks", columns, tuple(lines), digits=2)
        write_faces_page(path, title, text, sheets.finish(), table)
