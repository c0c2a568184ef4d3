"""Aligned faces with a border, for training: shifted crops of them show what is really there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from grain import MapDataset

from lrjax.data.cache import default_folder
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.inference.align import Aligner, decode
from lrjax.tasks.recognition_data import Frames, Framing


def frames(portraits: Identities, framing: Framing, cache: Path | None = None) -> Frames:
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
        rows = MapDataset.source(range(len(portraits)))
        images = rows.map(partial(_when_read, aligner, portraits))
        return Frames(images, aligner.identity, note)
    faces = aligner(portraits, default_folder() if cache is None else cache)
    images = MapDataset.source(faces.images) if framing.streamed else faces.images
    return Frames(images, aligner.identity, faces.note)


def _when_read(aligner: Aligner, portraits: Identities, index: int) -> np.ndarray:
    """One face of a split, uint8 [H, W, 3], aligned now."""
    own = None
    if portraits.points is not None:
        own = portraits.points[index, None], portraits.visible[index, None]
    return aligner.align([decode(portraits, index)], points=own).images[0]
