"""Videos: frames in, faces with their points and tracks out, and pictures to a video again.

PyAV, the extra `video`, decodes and encodes. No more than a few frames are held at a time.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrjax.errors import InputError
from lrjax.files import naming, neighbour
from lrjax.inference.crops import box_problem
from lrjax.inference.detector import FaceDetector
from lrjax.inference.images import MAX_PIXELS
from lrjax.inference.landmarks import LandmarkPredictor, Prediction
from lrjax.inference.tracks import Tracks

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Files that count as videos, in lower case."""

_TURNS = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
# (a, b, c, d) of a display matrix, by which the pixel (x, y) is shown at (ax + cy, bx + dy), y
# downwards -> what Pillow calls it, whose turns go the other way round.


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """Hold one frame.

    Attributes:
      number: from 0.
      time: in seconds from the first one.
      photo: RGB, turned and mirrored as players show it.
    """

    number: int
    time: float
    photo: Image.Image


@dataclasses.dataclass(frozen=True, eq=False)
class FrameFaces:
    """Hold the faces of one frame.

    Attributes:
      frame: the frame.
      prediction: of its faces; there may be none.
      tracks: the number of each face's track, from 1.
    """

    frame: Frame
    prediction: Prediction
    tracks: list[int]


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is a video; a folder of such a name is none."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


class Video:
    """Read a video, frame by frame.

    Attributes:
      path: of the file.
      count: how many frames the file says it has; 0: it says nothing.
      rate: frames per second.

    Raises:
      InputError: PyAV is not there, or the file is no video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (_, stream):
            self.count: int = stream.frames
            self.rate = Fraction(stream.average_rate or 25)

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames.

        Raises:
          InputError: one of them cannot be decoded, or there is none.
        """
        with self._opened() as (container, stream):
            first: float | None = None
            for number, frame in enumerate(container.decode(stream)):
                time = number / float(self.rate) if frame.time is None else float(frame.time)
                first = time if first is None else first
                if frame.width * frame.height > MAX_PIXELS:
                    raise InputError(
                        f"The frames of the video {self.path} have {frame.width}x{frame.height} "
                        f"pixels, which is more than {MAX_PIXELS:,}; make it smaller first."
                    )
                yield Frame(number, time - first, _as_shown(frame))
            if first is None:  # as of a copy that was cut off
                raise InputError(f"The video {self.path} has no frames; replace the file.")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        av = _av(self.path)
        if not self.path.is_file():
            raise InputError(f"The video {self.path} does not exist; check its name.")
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise InputError(f"The file {self.path} holds no video; name one that does.")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                yield container, stream
        except av.FFmpegError as error:
            reason = str(error.strerror or error)
            raise InputError(
                f"The video {self.path} cannot be decoded ({reason}); replace the file."
            ) from error


def _as_shown(frame: Any) -> Image.Image:
    """A decoded frame as RGB; what a telephone has filmed on its side is put upright."""
    photo: Image.Image = frame.to_image()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return photo
    numbers = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]]
    shares = numbers / max(1, abs(numbers).max())
    # Players turn by other angles, too, which no camera asks for: such frames stay as they are.
    turn = _TURNS.get(tuple(np.rint(shares).astype(int).tolist()))
    return photo if turn is None else photo.transpose(turn)


def follow_faces(
    frames: Iterable[Frame],
    detector: FaceDetector,
    predictor: LandmarkPredictor,
    points: str = "native",
    *,
    every: int = 5,
    smooth: bool = True,
) -> Iterator[FrameFaces]:
    """Find the landmarks of faces in frames.

    Args:
      frames: in their order.
      detector: finds faces.
      predictor: finds their points.
      points: scheme of the result, as for `LandmarkPredictor`.
      every: faces are detected every so many frames; in between their points carry them along.
      smooth: whether points are smoothed over time, see `smoothing.SmoothFace`.
    """
    tracks = Tracks(smooth)
    for frame in frames:
        if frame.number % every == 0:
            tracks.detected(detector.find([frame.photo]).boxes)
        boxes = tracks.boxes
        usable = [i for i, box in enumerate(boxes) if box_problem(box, frame.photo.size) is None]
        if len(usable) < len(boxes):  # those that have left the picture
            tracks.keep(usable)
        found = predictor.predict([frame.photo], boxes[usable], np.zeros(len(usable), int))
        going, boxes, shown = tracks.look(found.points, found.confidence, frame.time)
        found = dataclasses.replace(found.take(going), boxes=boxes, points=shown.astype(np.float32))
        yield FrameFaces(frame, found.converted(points), tracks.numbers)


class VideoWriter:
    """Write pictures as an MP4 file, which is there when `close` returns, and not before.

    Attributes:
      path: of the file.
      rate: frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self._av = _av(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = neighbour(path)
        self._container = self._av.open(str(self._partial), "w", format="mp4")
        self._stream: Any = None
        self._last = -1

    def add(self, picture: np.ndarray, time: float) -> None:
        """Add a picture uint8 [H, W, 3], to be shown at a time in seconds; all have one size.

        Raises:
          OSError: it cannot be written; its `filename` is `path`.
        """
        # The codec halves the colours' resolution: sides are even.
        height, width = (side - side % 2 for side in picture.shape[:2])
        if self._stream is None:
            codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=self.rate)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            if codec == "libx264":
                self._stream.options = {"crf": "20", "preset": "veryfast"}
            self._stream.codec_context.time_base = Fraction(1, 90_000)
        frame = self._av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture[:height, :width]), format="rgb24"
        )
        self._last = max(self._last + 1, round(time * 90_000))
        frame.pts, frame.time_base = self._last, Fraction(1, 90_000)
        with naming(self.path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file.

        Raises:
          OSError: as `add` does.
        """
        with naming(self.path):
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if self._stream is not None:
                os.replace(self._partial, self.path)

    def discard(self) -> None:
        """Remove what was not finished."""
        self._partial.unlink(missing_ok=True)


def _av(path: Path) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise InputError(
            f"The video {path} needs PyAV, which is not installed: pip install 'lrjax[video]'."
        ) from error
