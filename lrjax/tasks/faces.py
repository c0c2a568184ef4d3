"""Faces with landmarks for the tasks that see them: labelled ones, real ones, and held-out ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lrjax.data.examples import Examples, Loaded
from lrjax.data.faces import Faces, load_faces, split_holdout
from lrjax.errors import InputError


def load_sources(config: Any, data_dir: Path) -> tuple[dict[str, Faces], Faces | None]:
    """The faces that each part of a batch is drawn from, and those held out."""
    labelled = load_faces(
        config.labelled,
        data_dir=data_dir,
        # Frames are square; of a height and a width they leave room for either.
        crop_size=int(np.max(config.image_size)),
        context=config.context,
        scheme=config.scheme,
    )
    held_out = None
    if config.holdout > 0:
        labelled, held_out = split_holdout(labelled, config.holdout, config.train.seed)
        if not len(held_out):
            raise InputError(
                f"The share {config.holdout} holds out none of the {len(labelled)} labelled faces; "
                "set holdout to more, or to 0."
            )
    faces = {"labelled": labelled}
    if config.needs_real:
        faces["real"] = load_faces(
            config.real,
            data_dir=data_dir,
            crop_size=config.size,
            context=config.context,
            scheme=config.scheme,
        )
    return faces, held_out


def examples(faces: Faces) -> Examples:
    """The fields of faces that a step or an evaluation reads."""
    arrays = {"images": faces.images, "points": faces.points, "visible": faces.visible}
    return Examples(arrays, faces.fingerprint)


def load(config: Any, data_dir: Path, align: Any = None) -> Loaded:
    """`load_sources` for a run; nothing is to `align`, as these faces have frames already."""
    faces, held_out = load_sources(config, data_dir)
    return Loaded(
        parts={name: examples(part) for name, part in faces.items()},
        held_out=None if held_out is None else examples(held_out),
        config=config,
    )
