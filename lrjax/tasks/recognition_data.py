"""Pictures of people that are learned from: whose they are, aligned, and which are held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrjax.data.examples import Examples, Loaded, select
from lrjax.data.identities import (
    UNKNOWN,
    Identities,
    load_identities,
    select_identities,
    split_holdout,
)
from lrjax.data.records import digest
from lrjax.errors import InputError
from lrjax.geometry.templates import Template
from lrjax.tasks.recognition import RecognitionConfig, border, face_template


@dataclasses.dataclass(frozen=True, eq=False)
class Framing:
    """How faces are wanted.

    Attributes:
      alignment, region, fit, plain: see RecognitionConfig.
      template: of the aligned face.
      border: how many pixels more are shown on each of its sides.
      streamed: whether faces shall be aligned when they are read, rather than all at once.
    """

    alignment: str
    region: tuple[float, float, float, float]
    fit: str
    plain: str
    template: Template
    border: int
    streamed: bool


class Frames(NamedTuple):
    """Faces as they were wanted.

    Attributes:
      images: uint8 [n, H, W, 3], or what gives such images for an array or a slice of indices.
      identity: of all that they depend on besides the pictures.
      note: how they were aligned, and how many were not.
    """

    images: Any
    identity: str
    note: str


Align = Callable[[Identities, Framing], Frames]


def load(config: RecognitionConfig, data_dir: Path, align: Align) -> Loaded:
    """The data of a run, and the configuration with its number of classes.

    Raises:
      InputError: the data are not prepared, or one cannot learn to tell people apart from them.
    """
    config.validate()
    portraits = select_identities(load_identities(config.labelled, data_dir), config.people)
    classes = check_people(portraits, config)
    parts, held_out = framed(
        config, portraits, framing_of(config), align, {"label": portraits.label}
    )
    return Loaded(parts, held_out, dataclasses.replace(config, classes=classes))


def framing_of(config: RecognitionConfig) -> Framing:
    """How a recogniser wants faces: with a border to shift in, one by one if it is fed so."""
    return Framing(
        config.alignment,
        config.region,
        config.fit,
        config.plain,
        face_template(config),
        border(config),
        streamed=config.train.feed == "host",
    )


def framed(
    config: Any,
    portraits: Identities,
    framing: Framing,
    align: Align,
    fields: Mapping[str, np.ndarray],
) -> tuple[dict[str, Examples], Examples | None]:
    """Pictures as they are wanted: those to learn from, and those held out, if any shall be.

    Args:
      config: of a task; its `holdout` and the seed of its training decide which are held out.
      portraits: n pictures.
      framing: how they are wanted.
      align: makes them so.
      fields: what examples have besides their images: name -> array [n, ...].

    Raises:
      InputError: some shall be held out, but there are too few.
    """
    rest, held = split_holdout(portraits, config.holdout, config.train.seed)
    if config.holdout > 0 and not len(held):
        raise InputError(
            f"The share {config.holdout} holds out none of the {len(portraits)} pictures; set "
            "holdout to more, or to 0."
        )
    frames = align(portraits, framing)

    def examples(rows: np.ndarray) -> Examples:
        own = {name: values[rows] for name, values in fields.items()}
        return Examples(
            {"images": select(frames.images, rows)} | own,
            digest([portraits.fingerprint.encode(), frames.identity.encode(), rows.tobytes()]),
            frames.note,
        )

    return {"labelled": examples(rest)}, examples(held) if len(held) else None


def check_people(portraits: Identities, config: RecognitionConfig) -> int:
    """How many people there are.

    Raises:
      InputError: it is one, or other than configured, or some pictures are nobody's, or some people
        have no picture.
    """
    named = ", ".join(config.labelled)
    nobody = int((portraits.label == UNKNOWN).sum())
    if nobody:
        raise InputError(
            f"{nobody} of the {len(portraits)} pictures of {named} do not say whose they are; name "
            "splits of people in labelled, such as 'tinyface:train'."
        )
    classes = portraits.classes
    if classes < 2:
        raise InputError(
            f"All {len(portraits)} pictures of {named} show one person; name in labelled splits of "
            "two people or more."
        )
    missing = np.flatnonzero(np.bincount(portraits.label, minlength=classes) == 0)
    if len(missing):
        raise InputError(
            f"{len(missing)} of the {classes} people of {named} have no picture, the first of them "
            f"number {missing[0]}; name whole splits in labelled."
        )
    if config.classes not in (None, classes):
        raise InputError(
            f"There are {classes} people in {named}, but classes is {config.classes}; set classes "
            "to null, or prepare the dataset that it was written for."
        )
    return classes
