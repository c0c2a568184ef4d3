"""Networks at work on pictures that many requests send: one thread, which takes all that wait."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.alignment import Aligned, align_faces
from lrjax.inference.crops import gather_faces
from lrjax.inference.detector import FaceDetector
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.images import decode_in_parts, decode_rgb
from lrjax.inference.landmarks import LandmarkPredictor, Prediction, sizes

_LOG = logging.getLogger(__name__)

MOST_FACES = 256
"""In one picture."""

MOST_WAITING = 32
"""Pictures that wait or are looked at; whoever sends more is told to come again."""

TOGETHER = 16
"""Pictures that are looked at together at most."""

ENCODED = 2
"""Faces in one forward pass of the encoder: those that are compared."""

TEMPLATE = "arcface112"
"""How faces are shown where no encoder says how it wants them."""


class TooManyFacesError(InputError):
    """A picture has more than `MOST_FACES` faces."""


class BusyError(Exception):
    """There is no answer now, but there will be one soon; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Hold what was seen in one picture, in pixels of it as it is shown upright.

    Attributes:
      size: (width, height).
      faces: the landmarks of n faces, the surest found of each picture first.
      found: float32 [n], the detector's probability of a face; None: their boxes were given.
      aligned: the n faces laid onto the engine's template.
      features: [n, D] for recognition, if they were asked for.
    """

    size: tuple[int, int]
    faces: Prediction
    found: np.ndarray | None
    aligned: Aligned
    features: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    image: ImageFile
    boxes: np.ndarray | None
    encode: bool
    answer: Future[Seen] = dataclasses.field(default_factory=Future)


class Engine:
    """Look at pictures on one thread, all that wait together; a context in which it runs.

    Attributes:
      detector: finds faces.
      predictor: finds their landmarks.
      encoder: tells people apart, if there is one.
      template: of the aligned faces.
      doing: what must be done before pictures can be looked at; None when it is.
      problem: why none ever can; None if that is not so.
    """

    def __init__(
        self,
        detector: FaceDetector,
        predictor: LandmarkPredictor,
        encoder: FaceEncoder | None,
        example: Callable[[], bytes],
    ) -> None:
        predictor.scheme_of("five")  # which faces are aligned by
        self.detector, self.predictor, self.encoder = detector, predictor, encoder
        self.template: Template = TEMPLATES[TEMPLATE] if encoder is None else encoder.template
        self.doing: str | None = "starting"
        self.problem: str | None = None
        self._example = example
        self._begun = time.monotonic()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = threading.Semaphore(MOST_WAITING)
        self._closing, self._prepared = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def wait(self) -> Engine:
        """Wait until pictures can be looked at, or there is a problem."""
        self._prepared.wait()
        return self

    def look(
        self, image: ImageFile, boxes: np.ndarray | None = None, encode: bool = False
    ) -> Future[Seen]:
        """Look at a picture when it is its turn.

        Args:
          image: opened, and decoded when it is looked at. An orientation that EXIF asks for is
            applied, as browsers do.
          boxes: [n, 4] (x, y, w, h) of its faces; None: those that are found.
          encode: make features of its faces; of the surest alone, if they are to be found.

        Returns:
          what is seen; or the InputError that says why the picture, or a box, cannot be used.

        Raises:
          BusyError: the networks are not ready, or too many pictures wait.
          RuntimeError: they never will be.
          TooManyFacesError: there are more than `MOST_FACES` boxes.
        """
        if self.problem is not None:
            raise RuntimeError(self.problem)
        if self.doing is not None:
            raise BusyError(
                f"The networks are not ready ({self.doing}, for {self.seconds:.0f} s so far); try "
                "again soon."
            )
        if boxes is not None:
            _check_count(len(boxes))
        if not self._waiting.acquire(blocking=False):
            raise BusyError(f"There are {MOST_WAITING} pictures waiting; try again soon.")
        job = _Job(image, boxes, encode)
        job.answer.add_done_callback(lambda _: self._waiting.release())
        self._jobs.put(job)
        return job.answer

    def _run(self) -> None:
        try:
            for name, step in self._steps():
                if self._closing.is_set():
                    return
                self.doing = name
                step()
        except Exception as error:  # the server goes on, to say so
            _LOG.exception("The networks cannot be used.")
            self.problem = f"The networks cannot be used ({error}); start the program again."
        self.doing = None
        self._prepared.set()
        while not self._closing.is_set():
            jobs = [self._jobs.get()]
            while len(jobs) < TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            self._answer([job for job in jobs if job and job.answer.set_running_or_notify_cancel()])

    def _steps(self) -> list[tuple[str, Callable[[], object]]]:
        """What compiles each program that requests will need, and its name."""
        size, encoder = self.predictor.config.size, self.encoder
        steps: list[tuple[str, Callable[[], object]]] = [
            ("drawing the example", self._example),
            ("compiling the face detector", self._find_example),
        ]
        for count in sizes():
            crops = np.zeros((count, size, size, 3), np.uint8)
            look = partial(self.predictor.predict_crops, crops)
            steps.append(("compiling the landmark network", look))
        if encoder is not None:
            face = np.zeros((1, self.template.height, self.template.width, 3), np.uint8)
            look_at = partial(encoder.embed, face, batch=ENCODED)
            steps.append(("compiling the face encoder", look_at))
        return steps

    def _find_example(self) -> None:
        self.detector.find([decode_rgb(self._example(), "example")])

    def _answer(self, jobs: Sequence[_Job]) -> None:
        done = 0
        for part in decode_in_parts([partial(_opened, job) for job in jobs]):
            self._answer_safely(jobs[done : done + len(part)], part)
            done += len(part)

    def _answer_safely(
        self, jobs: Sequence[_Job], decoded: Sequence[Image.Image | InputError]
    ) -> None:
        """Answer requests; where that fails, one by one, so that none fails for another."""
        try:
            self._answer_part(jobs, decoded)
        except Exception as error:  # whatever it was, the thread goes on
            for job, photo in zip(jobs, decoded, strict=True):
                if job.answer.done():
                    continue
                if len(jobs) > 1:
                    self._answer_safely([job], [photo])
                else:
                    _LOG.exception("A picture could not be looked at.")
                    job.answer.set_exception(error)

    def _answer_part(
        self, jobs: Sequence[_Job], decoded: Sequence[Image.Image | InputError]
    ) -> None:
        """Answer requests whose pictures are decoded: look at all of their faces together."""
        asked, photos, boxes, sure = [], [], [], []
        for job, photo in zip(jobs, decoded, strict=True):
            try:
                if isinstance(photo, InputError):
                    raise photo
                photo = _upright(photo)
                some, found = self._boxes(job, photo)
            except InputError as error:
                job.answer.set_exception(error)
                continue
            asked.append(job)
            photos.append(photo)
            boxes.append(some)
            sure.append(found)
        if not asked:
            return
        owner = np.repeat(np.arange(len(asked)), [len(some) for some in boxes])
        faces = self.predictor.predict(photos, np.concatenate(boxes), owner)
        five = faces.converted("five").points
        shown = [photos[i] for i in owner]
        seen = np.ones(five.shape[:2], bool)
        aligned = align_faces(shown, five, seen, self.template, boxes=faces.boxes)
        for i, job in enumerate(asked):
            mine = owner == i
            part = dataclasses.replace(
                aligned,
                images=aligned.images[mine],
                aligned=aligned.aligned[mine],
                points=aligned.points[mine],
            )
            features = None
            if job.encode and self.encoder is not None:
                features = self.encoder.embed(part.images, batch=ENCODED)
            own = Seen(photos[i].size, faces.take(mine), sure[i], part, features)
            job.answer.set_result(own)

    def _boxes(self, job: _Job, photo: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
        """The boxes of a picture's faces, and how sure the detector is of each."""
        if job.boxes is not None:
            return gather_faces(photo, job.boxes)[1], None
        found = self.detector.find([photo])
        if job.encode:
            return found.boxes[:1], found.confidence[:1]
        _check_count(len(found))
        return found.boxes, found.confidence


def _opened(job: _Job) -> ImageFile:
    return job.image


def _check_count(count: int) -> None:
    if count > MOST_FACES:
        raise TooManyFacesError(
            f"The picture has {count} faces; send a part of it, or boxes of at most {MOST_FACES}."
        )


def _upright(photo: Image.Image) -> Image.Image:
    """A picture as browsers show it."""
    try:
        return ImageOps.exif_transpose(photo)
    except Exception:  # whatever a damaged file makes of it, which then says nothing
        return photo
