"""Faces laid onto a template: once, in the same way, for training, evaluation and `lrjax align`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from lrjax.data.cache import cached, key_of
from lrjax.data.examples import read_ahead
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.fits import FITS, Fit
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.crops import PLAIN, Aligned, Plain, align_faces, in_words
from lrjax.inference.images import decode_rgb
from lrjax.inference.landmarks import Detector, Inference
from lrjax.inference.networks import locate
from lrjax.inference.resolve import Resolver

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The region of a picture (left, top, width, height, as shares of its size) that is the face."""

CHUNK = 256
"""Pictures that are decoded, looked at and resampled together."""

# To be raised when aligned faces change: what was kept is then made again.
_VERSION = 1


# (pictures, face boxes [n, 4]) -> points [n, 5, 2] in the pictures.
Find = Callable[[Sequence[Image.Image], np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Aligner:
    """A way of finding five points and of laying them onto a template.

    Attributes:
      template, fit, plain, border: as for `align_faces`.
      region: the part of each picture that is the face, as shares (left, top, width, height).
      find: the network's points; None if the points come with the pictures, or there are none.
      given: whether points that come with the pictures are used.
      resolve: enlarges the pictures, as the faces that it has learned with, before anything else
        happens to them (settings A1 and A2); None leaves them as they are.
      words: where the points come from, for people.
      identity: of all that the aligned faces depend on besides the pictures.
    """

    template: Template
    fit: Fit
    plain: Plain
    border: int
    region: tuple[float, float, float, float]
    find: Find | None
    given: bool
    resolve: Resolver | None
    words: str
    identity: str

    @property
    def height(self) -> int:
        """Of the aligned faces, border included; so is `width`."""
        return self.template.height + 2 * self.border

    @property
    def width(self) -> int:
        return self.template.width + 2 * self.border

    @classmethod
    def load(
        cls,
        spec: str | Path,
        template: Template | str,
        fit: Fit = "similarity",
        *,
        plain: Plain = "stretch",
        border: int = 0,
        region: tuple[float, float, float, float] = WHOLE,
        resolve: Resolver | None = None,
        which: str | None = None,
        options: Inference = Inference(),
    ) -> Aligner:
        """The aligner of a name.

        Args:
          spec: "shipped" for the landmark network that comes along; a run folder or weights file of
            another one, which may see 32 pixels or, as HR-LD does, faces enlarged to 128; "points"
            for those of the dataset; "resize" for none: all faces are resized.
          template: or its name.
          fit, plain, border, region, resolve: see the class.
          which: of a run folder, "best" or "last".
          options: how the network looks at faces.

        Raises:
          InputError: there is no such network or template, or the region is not in the picture.
        """
        template = find_template(template) if isinstance(template, str) else template
        for value, known in ((fit, FITS), (plain, PLAIN)):
            if value not in known:
                raise InputError(f"{value!r} is unknown; choose one of {', '.join(known)}.")
        left, top, width, height = region
        inside = left >= 0 and top >= 0 and left + width <= 1 and top + height <= 1
        if not inside or width <= 0 or height <= 0:
            raise InputError(
                f"The face region {region} is not in the picture; give its left, top, width and "
                "height as shares of the picture's, such as 0.25,0.3,0.5,0.5."
            )
        find, how = None, [str(spec)]
        words = {
            "shipped": "by the shipped network",
            "points": "by the dataset's points",
            "resize": "",
        }.get(str(spec), f"by {spec}")
        if str(spec) not in ("points", "resize"):
            weights = locate(None if str(spec) == "shipped" else spec, which)
            find = _finder(Detector.load(weights, options))
            with weights.open("rb") as file:
                how = [hashlib.file_digest(file, "sha256").hexdigest(), dataclasses.asdict(options)]
        first = None
        if resolve is not None:
            first = resolve.identity
            words += " on enlarged faces" if words else ""
        shape = [template.height, template.width, template.points.tolist()]
        return cls(
            template=template,
            fit=fit,
            plain=plain,
            border=border,
            region=tuple(map(float, region)),
            find=find,
            given=str(spec) == "points",
            resolve=resolve,
            words=words,
            identity=key_of("align", _VERSION, shape, fit, plain, border, list(region), how, first),
        )

    def __call__(self, portraits: Identities, cache: Path | None = None) -> Aligned:
        """All faces of a split.

        Args:
          portraits: the split.
          cache: folder of what was made before (see `data.cache`); None makes everything now, in
            memory.

        Raises:
          InputError: a picture cannot be decoded, or there are no points where some were promised.
        """

        def parts() -> Iterator[dict[str, np.ndarray]]:
            for part in self.parts(portraits):
                yield {"images": part.images, "aligned": part.aligned, "points": part.points}

        if cache is None:
            pieces = list(parts())
            arrays = {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}
        else:
            key = key_of("aligned", portraits.fingerprint, self.identity)
            arrays, _ = cached(cache / "aligned", key, len(portraits), parts)
        return Aligned(**arrays, note=self.note(arrays["aligned"]))

    def parts(self, portraits: Identities, count: int = CHUNK) -> Iterator[Aligned]:
        """The faces of a split in their order, `count` at a time, however many there are."""
        if self.given and portraits.points is None:
            raise InputError(
                "These pictures come without points; prepare a dataset that has them, or align by "
                "a network."
            )
        decoded = read_ahead(lambda i: decode(portraits, i), range(len(portraits)))
        with tqdm(total=len(portraits), desc="align", unit="face", dynamic_ncols=True) as bar:
            for start in range(0, len(portraits), count):
                rows = slice(start, min(start + count, len(portraits)))
                photos = [next(decoded) for _ in range(rows.stop - start)]
                own = None
                if self.given:
                    own = (portraits.points[rows], portraits.visible[rows])
                yield self.align(photos, points=own)
                bar.update(len(photos))

    def align(
        self,
        photos: Sequence[Image.Image],
        boxes: np.ndarray | None = None,
        points: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Aligned:
        """One face of each RGB picture.

        Args:
          photos: n pictures.
          boxes: [n, 4] (x, y, w, h) of the faces; None: the region of each picture.
          points: ([n, 5, 2], visible [n, 5]) that come with the pictures, if they are to be used.
        """
        sizes = np.array([photo.size for photo in photos], np.float64).reshape(-1, 2)
        if boxes is None:
            boxes = [self.box(photo.size) for photo in photos]
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        factors = np.ones_like(sizes)
        if self.resolve is not None:
            large = self.resolve(photos, side=max(self.resolve.config.size))
            photos = [Image.fromarray(image) for image in large]
            factors = np.array([photo.size for photo in photos]).reshape(-1, 2) / sizes
            boxes = boxes * np.tile(factors, 2)
        if self.find is not None:
            found = self.find(photos, boxes)
            seen = np.isfinite(found).all(-1)
        elif self.given and points is not None:
            found, seen = _scaled(points[0], factors[:, None]), points[1]
        else:
            found, seen = np.zeros((len(photos), 5, 2)), np.zeros((len(photos), 5), bool)
        result = align_faces(
            photos,
            found,
            seen,
            self.template,
            self.fit,
            boxes=boxes,
            plain=self.plain,
            border=self.border,
        )
        there = _scaled(result.points, 1 / factors[:, None]).astype(np.float32)
        return dataclasses.replace(result, points=there, note=self.note(result.aligned))

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """The box [4] of the face in a picture of (width, height) pixels: the region."""
        return np.array(self.region) * np.tile(size, 2)

    def note(self, aligned: np.ndarray) -> str:
        """In words: how faces were aligned, and how many [n] were not."""
        return in_words(aligned, self.template, f"{self.words} ({self.fit})" if self.words else "")


def find_template(name: str) -> Template:
    """The template of a name.

    Raises:
      InputError: there is none.
    """
    if name not in TEMPLATES:
        raise InputError(f"There is no template {name!r}; there are {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def _finder(detector: Detector) -> Find:
    def find(photos: Sequence[Image.Image], boxes: np.ndarray) -> np.ndarray:
        return detector.detect(photos, boxes, np.arange(len(photos))).converted("five").points

    return find


def _scaled(points: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Points in an image that was resized by `factors`, both (x, y) along the last axis."""
    return (points + 0.5) * factors - 0.5


def decode(portraits: Identities, index: int) -> Image.Image:
    """A picture of a split as RGB.

    Raises:
      InputError: it cannot be decoded.
    """
    try:
        return decode_rgb(portraits.images[index], portraits.names[index])
    except InputError as error:
        reason = str(error).removesuffix("; replace the file.")
        raise InputError(f"{reason}; replace it and prepare the dataset again.") from error
