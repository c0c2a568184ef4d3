"""Aligned faces with a border, for training: shifted crops of them show what is really there."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from lrjax.data.cache import default_folder
from lrjax.data.identities import Portraits
from lrjax.errors import InputError
from lrjax.inference.align import Aligner, decode
from lrjax.inference.files import ahead
from lrjax.tasks.recognition_data import Frames, Framing


def frames(portraits: Portraits, framing: Framing, cache: Path | None = None) -> Frames:
    """The faces of a split as `framing` wants them.

    They are aligned once, kept, and read from there by the next run (see `data.cache`). Faces that
    are wanted one by one and need no network are aligned when they are read, and not kept: there
    may be millions of them.

    Args:
      portraits: the split.
      framing: how its faces are wanted.
      cache: folder of what is kept; None for the user's own.

    Raises:
      InputError: there is no such aligner, or pictures lack the points that it needs.
    """
    aligner = Aligner.load(
        framing.alignment,
        framing.template,
        framing.fit,
        plain=framing.plain,
        border=framing.border,
        region=framing.region,
    )
    if aligner.given and portraits.points is None:
        raise InputError(
            "These pictures come without points; set alignment to a landmark network, or to "
            "'resize'."
        )
    if framing.streamed and aligner.find is None:
        how = aligner.words or "resized only"
        note = f"{len(portraits):,} faces aligned when read, {how}"
        return Frames(WhenRead(aligner, portraits), aligner.identity, note)
    faces = aligner(portraits, default_folder() if cache is None else cache)
    images = OnDisk(faces.images) if framing.streamed else faces.images
    return Frames(images, aligner.identity, faces.note)


@dataclasses.dataclass(frozen=True, eq=False)
class OnDisk:
    """Images [n, H, W, 3] in a file: only those are read that are asked for."""

    images: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        return np.asarray(self.images[index])


@dataclasses.dataclass(frozen=True, eq=False)
class WhenRead:
    """Faces of a split that are aligned when they are asked for: uint8 images [.., H, W, 3]."""

    aligner: Aligner
    portraits: Portraits

    def __len__(self) -> int:
        return len(self.portraits)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        rows = np.arange(len(self))[index]
        photos = list(ahead(partial(decode, self.portraits), map(int, rows)))
        own = None
        if self.portraits.points is not None:
            own = self.portraits.points[rows], self.portraits.visible[rows]
        return self.aligner.align(photos, points=own).images
