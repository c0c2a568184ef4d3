"""Faces laid onto a template: once, in the same way, for training, tests and the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from grain import MapDataset
from PIL import Image
from tqdm import tqdm

from lrjax.config import AlignmentConfig
from lrjax.data.cache import cached, default_folder, key_of
from lrjax.data.examples import read_ahead
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.fits import FITS
from lrjax.geometry.templates import Template, scaled
from lrjax.inference.alignment import (
    RESIZE_MODES,
    Aligned,
    align_faces,
    decode_identity,
    describe,
    find_template,
    resize_face,
    resize_longer,
    scaled_points,
)
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.inference.squares import Squares
from lrjax.inference.upsampler import Upsampler

CHUNK = 256
"""Pictures that are decoded, looked at and resampled together."""

# To be raised when aligned faces change: what was kept is then made again.
_VERSION = 3


class Frames(NamedTuple):
    """Aligned faces to learn from.

    Attributes:
      images: uint8 [n, H, W, 3], or a dataset of n single images, each read when it is needed.
      note: how they are aligned.
    """

    images: np.ndarray | MapDataset[np.ndarray]
    note: str


@dataclasses.dataclass(frozen=True, eq=False)
class Aligner:
    """Find five points of each face, and lay them onto a template.

    Attributes:
      template: where the points shall be.
      alignment: how faces are aligned.
      border: pixels that each face shows beyond the template on every side.
      predictor: finds the points; None if they come with the pictures, or there are none.
      squares: finds them as AdaFace did, in pictures of its own; or None.
      upsampler: enlarges the faces, cut as those that it has learned with, before anything else
        happens to them (settings A1 and A2); None leaves the pictures as they are.
      description: where the points come from, in words; empty if there are none.
      identity: of all that the aligned faces depend on besides the pictures.
    """

    template: Template
    alignment: AlignmentConfig
    border: int
    predictor: LandmarkPredictor | None
    squares: Squares | None
    upsampler: Upsampler | None
    description: str
    identity: str

    @classmethod
    def load(
        cls,
        alignment: AlignmentConfig | str,
        template: Template | str,
        *,
        border: int = 0,
        which: str | None = None,
        options: PredictConfig | None = None,
    ) -> Aligner:
        """Load what an alignment names.

        Args:
          alignment: how; a string stands for the defaults with these `landmarks`.
          template: or its name.
          border: see the class.
          which: of a landmark network's run folder, "best" or "last".
          options: how the landmark network looks at faces, where it is more than the alignment
            says; its `flip` and `passes` are the ones that count then.

        Raises:
          InputError: there is no such network or template, or the region is not in the picture.
        """
        if isinstance(alignment, str):
            alignment = AlignmentConfig(alignment)
        template = find_template(template) if isinstance(template, str) else template
        _check(alignment)
        options = options or PredictConfig(alignment.flip, alignment.passes)
        source, predictor, squares, upsampler = alignment.landmarks, None, None, None
        how: list[object] = [source]
        if source == "adaface":
            squares = Squares.load()
            how = [source, squares.identity]
        elif source not in ("points", "resize"):
            predictor = LandmarkPredictor.load(source, options, which)
            how = [predictor.weights.identity, dataclasses.asdict(options)]
        known = {
            "pretrained": "by the pretrained network",
            "points": "by the dataset's points",
            "adaface": "by MTCNN on 38 pixels, as AdaFace did",
            "resize": "",
        }
        description = known.get(source, f"by {source}")
        if alignment.upsample is not None:
            upsampler = Upsampler.load(alignment.upsample)
            description += " on enlarged faces" if description else ""
        shape = [template.height, template.width, template.points.tolist()]
        parts: list[Any] = [shape, alignment.fit, alignment.resize_mode, border]
        parts += [list(alignment.region), how, alignment.resize_to, alignment.align_at]
        _small(alignment, template, border)
        first = None if upsampler is None else upsampler.identity
        identity = key_of("align", _VERSION, *parts, first)
        found = predictor, squares, upsampler
        return cls(template, alignment, border, *found, description, identity)

    @property
    def height(self) -> int:
        """Height of the aligned faces, border included."""
        return self.template.height + 2 * self.border

    @property
    def width(self) -> int:
        """Width of the aligned faces, border included."""
        return self.template.width + 2 * self.border

    @property
    def needs_points(self) -> bool:
        """Whether the points must come with the pictures."""
        return self.alignment.landmarks == "points"

    def __call__(self, identities: Identities, cache: Path | None = None) -> Aligned:
        """Align all faces of a split.

        Args:
          identities: the split.
          cache: folder of what was made before (see `data.cache`); None makes everything now, in
            memory.

        Raises:
          InputError: a picture cannot be decoded, or there are no points where some were promised.
        """

        def parts() -> Iterator[dict[str, np.ndarray]]:
            for part in self.parts(identities):
                yield {"images": part.images, "aligned": part.aligned, "points": part.points}

        key = key_of("aligned", identities.fingerprint, self.identity)
        arrays = kept(cache, "aligned", key, len(identities), parts)
        return Aligned(**arrays, note=self.note(arrays["aligned"]))

    def parts(self, identities: Identities, count: int = CHUNK) -> Iterator[Aligned]:
        """Align a split's faces in their order, `count` at a time, however many there are.

        Raises:
          InputError: as for a call.
        """
        self._check_points(identities)
        photos = read_ahead(partial(decode_identity, identities), range(len(identities)))
        with tqdm(total=len(identities), desc="align", unit="face", dynamic_ncols=True) as bar:
            for start in range(0, len(identities), count):
                rows = slice(start, min(start + count, len(identities)))
                some = [next(photos) for _ in range(rows.stop - start)]
                yield self.align(some, points=self._own(identities, rows))
                bar.update(len(some))

    def frames(
        self, identities: Identities, *, streamed: bool = False, cache: Path | None = None
    ) -> Frames:
        """Align the faces of a split for training.

        They are aligned once, kept, and read from there by the next run (see `data.cache`). Faces
        that are wanted one by one and need no network are aligned when they are read, and not kept:
        there may be millions of them.

        Args:
          identities: the split.
          streamed: whether single faces are wanted.
          cache: folder of what is kept; None for the user's own.

        Raises:
          InputError: as for a call.
        """
        self._check_points(identities)
        if streamed and (self.predictor, self.squares, self.upsampler) == (None, None, None):
            how = self.description or "resized only"
            one = partial(self._align_one, identities)
            note = f"{len(identities):,} faces aligned when read, {how}"
            return Frames(MapDataset.source(range(len(identities))).map(one), note)
        faces = self(identities, default_folder() if cache is None else cache)
        return Frames(MapDataset.source(faces.images) if streamed else faces.images, faces.note)

    def align(
        self,
        photos: Sequence[Image.Image],
        boxes: np.ndarray | None = None,
        points: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Aligned:
        """Align one face of each RGB picture.

        Args:
          photos: n pictures.
          boxes: [n, 4] (x, y, w, h) of the faces; None: the region of each picture.
          points: ([n, 5, 2], visible [n, 5]) that come with the pictures, if they are to be used.
        """
        sizes = np.array([photo.size for photo in photos], np.float64).reshape(-1, 2)
        if boxes is None:
            boxes = np.array([self.box(photo.size) for photo in photos])
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        # What each picture shows of the one that was given: from where on, and how much.
        origin, extent = np.zeros_like(sizes), sizes
        given, whole, cutter = photos, boxes, self.upsampler or self.squares
        if cutter is not None:
            cut, shown = cutter.faces(photos, boxes)
            photos = [Image.fromarray(image) for image in cut]
            origin, extent = shown[:, :2], shown[:, 2:]
        if self.alignment.resize_to is not None:
            photos = [resize_longer(photo, self.alignment.resize_to) for photo in photos]
        factors = np.array([photo.size for photo in photos]).reshape(-1, 2) / extent
        boxes = np.concatenate([boxes[:, :2] - origin, boxes[:, 2:]], 1) * np.tile(factors, 2)
        if self.predictor is not None:
            owner = np.arange(len(photos))
            found = self.predictor.predict(photos, boxes, owner).converted("five").points
            visible = np.isfinite(found).all(-1)
        elif self.squares is not None:
            found, visible = self.squares.points(photos)
            seen = np.asarray(visible.any(1))
            photos = [photos[i] if seen[i] else given[i] for i in range(len(photos))]
            boxes = np.where(seen[:, None], boxes, whole)
        elif self.needs_points and points is not None:
            found, visible = scaled_points(points[0] - origin[:, None], factors[:, None]), points[1]
        else:
            found, visible = np.zeros((len(photos), 5, 2)), np.zeros((len(photos), 5), bool)
        template, border = _small(self.alignment, self.template, self.border)
        result = align_faces(
            photos,
            found,
            visible,
            template,
            self.alignment.fit,
            boxes=boxes,
            resize_mode=self.alignment.resize_mode,
            border=border,
        )
        images = result.images
        if template is not self.template:
            enlarged = [resize_face(image, self.height, self.width) for image in images]
            images = np.array(enlarged, np.uint8).reshape(-1, self.height, self.width, 3)
        there = scaled_points(result.points, 1 / factors[:, None]) + origin[:, None]
        return dataclasses.replace(
            result,
            images=images,
            points=there.astype(np.float32),
            note=self.note(result.aligned),
        )

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return the box [4] of the face in a picture of (width, height) pixels: the region."""
        return np.array(self.alignment.region) * np.tile(size, 2)

    def note(self, aligned: np.ndarray) -> str:
        """Say in words how faces were aligned, and how many [n] were not."""
        how = f"{self.description} ({self.alignment.fit})" if self.description else ""
        return describe(aligned, self.template, how)

    def _align_one(self, identities: Identities, index: int) -> np.ndarray:
        photo = decode_identity(identities, index)
        return self.align([photo], points=self._own(identities, slice(index, index + 1))).images[0]

    def _own(self, identities: Identities, rows: slice) -> tuple[np.ndarray, np.ndarray] | None:
        points, visible = identities.points, identities.visible
        if not self.needs_points or points is None or visible is None:
            return None
        return points[rows], visible[rows]

    def _check_points(self, identities: Identities) -> None:
        if self.needs_points and identities.points is None:
            raise InputError(
                "These pictures come without points; prepare a dataset that has them, or let a "
                "network find them, or resize: set landmarks of the alignment to 'pretrained' or "
                "'resize'."
            )


def kept(
    cache: Path | None,
    kind: str,
    key: str,
    count: int,
    parts: Callable[[], Iterable[dict[str, np.ndarray]]],
) -> dict[str, np.ndarray]:
    """Make arrays in parts, in memory, or in a folder where they stay (see `data.cache.cached`)."""
    if cache is not None:
        return cached(cache / kind, key, count, parts)[0]
    pieces = list(parts())
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _check(alignment: AlignmentConfig) -> None:
    known = ((alignment.fit, FITS), (alignment.resize_mode, RESIZE_MODES))
    for value, values in known:
        if value not in values:
            raise InputError(f"{value!r} is unknown; choose one of {', '.join(values)}.")
    if alignment.resize_to is not None and alignment.resize_to < 1:
        raise InputError(f"resize_to is {alignment.resize_to}; give a side in pixels.")
    if alignment.landmarks == "adaface" and (alignment.upsample or alignment.resize_to):
        raise InputError("'adaface' makes pictures of its own; leave out upsample and resize_to.")
    left, top, width, height = alignment.region
    inside = left >= 0 and top >= 0 and left + width <= 1 and top + height <= 1
    if not inside or width <= 0 or height <= 0:
        raise InputError(
            f"The face region {alignment.region} is not in the picture; give its left, top, width "
            "and height as shares of the picture's, such as 0.25,0.3,0.5,0.5."
        )


def _small(alignment: AlignmentConfig, template: Template, border: int) -> tuple[Template, int]:
    """The template, and its border, at the height at which faces are aligned."""
    height = alignment.align_at
    if height is None:
        return template, border
    widths, rim = template.width * height, border * height
    if height < 1 or widths % template.height or rim % template.height:
        raise InputError(
            f"align_at is {height}, at which the template {template.name} with a border of "
            f"{border} pixels has no whole size; give a height at which it has."
        )
    return scaled(template, height), rim // template.height
