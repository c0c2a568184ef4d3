"""Aligned faces with a border, for training: shifted crops of them show what is really there."""

from __future__ import annotations

import dataclasses

import numpy as np

from lrjax.data.identities import Portraits
from lrjax.errors import InputError
from lrjax.geometry.templates import Template
from lrjax.inference.align import Aligner
from lrjax.inference.crops import align_faces, in_words
from lrjax.inference.images import decode_rgb
from lrjax.tasks.recognition_data import Frames, Framing

_CHUNK = 256  # pictures that are decoded and aligned together


def frames(portraits: Portraits, framing: Framing) -> Frames:
    """The faces of a split as `framing` wants them.

    Raises:
      InputError: there is no such aligner, or pictures lack the points that it needs.
    """
    aligner = Aligner.load(
        framing.alignment, framing.template, framing.fit, plain=framing.plain, region=framing.region
    )
    if framing.alignment == "points" and portraits.points is None:
        raise InputError(
            "These pictures come without points; set alignment to a landmark network, or to "
            "'resize'."
        )
    faces = Framed(aligner, portraits, framing)
    identity = f"{aligner.identity}+{framing.border}"
    if framing.streamed:
        how = aligner.words or "resized only"
        return Frames(faces, identity, f"{len(portraits):,} faces aligned when read, {how}")
    images, aligned = faces.all()
    how = f"{aligner.words} ({framing.fit})" if aligner.words else ""
    return Frames(images, identity, in_words(aligned, framing.template, how))


def bordered(template: Template, border: int) -> Template:
    """`template` with so many pixels more on each side."""
    return Template(
        f"{template.name}+{border}",
        template.height + 2 * border,
        template.width + 2 * border,
        template.points + border,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Framed:
    """Faces of a split that are aligned when they are asked for: uint8 images [.., H, W, 3]."""

    aligner: Aligner
    portraits: Portraits
    framing: Framing

    def __len__(self) -> int:
        return len(self.portraits)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        return self._aligned(np.arange(len(self))[index])[0]

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """All images [n, H, W, 3], and which of them are aligned [n]."""
        starts = range(0, len(self), _CHUNK)
        rows = np.arange(len(self))
        parts = [self._aligned(rows[start : start + _CHUNK]) for start in starts]
        images, aligned = zip(*parts, strict=True)
        return np.concatenate(images), np.concatenate(aligned)

    def _aligned(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        portraits, framing = self.portraits, self.framing
        photos = [decode_rgb(portraits.images[int(i)], portraits.names[int(i)]) for i in rows]
        own = None
        if portraits.points is not None:
            own = portraits.points[rows], portraits.visible[rows]
        found = self.aligner.align(photos, points=own)
        if not framing.border:
            return found.images, found.aligned
        edge = (framing.border, framing.border)
        # What could not be aligned has nothing beyond it: black, as beyond every picture.
        images = np.pad(found.images, ((0, 0), edge, edge, (0, 0)))
        chosen = np.flatnonzero(found.aligned)
        points = found.points[chosen]
        wider = align_faces(
            [photos[i] for i in chosen],
            points,
            np.isfinite(points).all(-1),
            bordered(framing.template, framing.border),
            framing.fit,
        )
        images[chosen[wider.aligned]] = wider.images[wider.aligned]
        return images, found.aligned
