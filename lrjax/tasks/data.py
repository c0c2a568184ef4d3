"""The data of a run: faces with landmarks, or aligned pictures of people, some of them held out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from lrjax.config import AlignmentConfig
from lrjax.data import faces as landmark_faces
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
from lrjax.geometry.templates import TEMPLATES, Template, scaled
from lrjax.inference.aligner import Aligner
from lrjax.inference.encoder import FaceEncoder, cached_embeddings
from lrjax.tasks import csri
from lrjax.tasks.csri import CSRIConfig
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.super_resolution import SuperResolutionConfig


def load_faces(
    config: DegradationConfig | LandmarksConfig | SuperResolutionConfig, data_dir: Path
) -> Loaded:
    """Load faces with landmarks: labelled ones, real ones if a step sees them, and held-out ones.

    Raises:
      InputError: the data are not prepared, or too few to hold some out.
    """

    def load(specs: tuple[str, ...], size: Any) -> landmark_faces.Faces:
        return landmark_faces.load_faces(
            specs,
            data_dir=data_dir,
            # Frames are square; of a height and a width they leave room for either.
            crop_size=int(np.max(size)),
            context=config.context,
            scheme=config.scheme,
        )

    def examples(faces: landmark_faces.Faces) -> Examples:
        arrays = {"images": faces.images, "points": faces.points, "visible": faces.visible}
        return Examples(arrays, faces.fingerprint)

    labelled, held_out = load(config.labelled, config.image_size), None
    if config.holdout > 0:
        whole = labelled
        labelled, held_out = landmark_faces.split_holdout(whole, config.holdout, config.train.seed)
        _check_holdout(config.holdout, len(held_out), len(whole), "labelled faces")
    parts = {"labelled": examples(labelled)}
    if config.needs_real:
        parts["real"] = examples(load(config.real, config.size))
    return Loaded(parts, None if held_out is None else examples(held_out), config)


def load_super_resolution(
    config: SuperResolutionConfig, data_dir: Path, cache: Path | None = None
) -> Loaded:
    """Load the sharp faces that a super-resolution network learns from.

    Raises:
      InputError: as for `load_faces` and `aligned`.
    """
    if config.alignment is None:
        return load_faces(config, data_dir)
    identities = load_identities(config.labelled, data_dir)
    template = face_template(*config.image_size)
    parts, held_out = aligned(config, config.alignment, identities, template, {}, cache)
    return Loaded(parts, held_out, config)


def load_recognition(
    config: RecognitionConfig, data_dir: Path, cache: Path | None = None
) -> Loaded:
    """Load the people that an encoder learns from; the configuration gets its number of classes.

    Raises:
      InputError: the data are not prepared, or one cannot learn to tell people apart from them.
    """
    identities = select_identities(load_identities(config.labelled, data_dir), config.people)
    if config.teacher is None:
        classes = check_people(identities, config)
        fields = {"label": identities.label}
    else:
        taught = teach(config, config.teacher, identities, cache)
        classes, fields = taught.shape[1], {"teacher": taught}
    parts, held_out = aligned(config, config.alignment, identities, config.template, fields, cache)
    return Loaded(parts, held_out, dataclasses.replace(config, classes=classes))


def teach(
    config: RecognitionConfig, teacher: str, identities: Identities, cache: Path | None
) -> np.ndarray:
    """Encode pictures as a teacher does, float32 [n, D]: of a face and its mirror image, the sum.

    Raises:
      InputError: there is no such teacher, or as for `Aligner`.
    """
    if not Path(teacher).exists():
        raise InputError(
            f"The teacher {teacher} is not there; write published weights to it, such as by `lrjax "
            f"convert mobilefacenet mobilefacenet.pt --out {teacher}`, or set teacher to others."
        )
    encoder = FaceEncoder.load(teacher)
    aligner = Aligner.load(config.teacher_alignment, encoder.template)
    return cached_embeddings(encoder, aligner, identities, flip="sum", cache=cache).features


def load_csri(config: CSRIConfig, data_dir: Path, cache: Path | None = None) -> Loaded:
    """Load the people of either branch; native faces are held out where there are any, else sharp.

    Raises:
      InputError: as for `load_recognition`.
    """
    loaded = {
        name: load_recognition(branch, data_dir, cache)
        for name, branch in csri.branches(config).items()
    }
    return Loaded(
        parts={name: one.parts["labelled"] for name, one in loaded.items()},
        held_out=list(loaded.values())[-1].held_out,
        config=csri.with_classes(config, {n: one.config.classes for n, one in loaded.items()}),
    )


def aligned(
    config: RecognitionConfig | SuperResolutionConfig,
    alignment: AlignmentConfig,
    identities: Identities,
    template: Template,
    fields: dict[str, np.ndarray],
    cache: Path | None,
) -> tuple[dict[str, Examples], Examples | None]:
    """Lay pictures onto a template: those to learn from, and those held out, if any shall be.

    Args:
      config: its `holdout` and the seed of its training decide which are held out; its `border` is
        shown around the template, for shifted crops.
      alignment: how.
      identities: n pictures.
      template: of the aligned faces.
      fields: what examples have besides their images: name -> array [n, ...].
      cache: folder where aligned faces are kept; None: the user's own.

    Raises:
      InputError: some shall be held out, but there are too few; or as for `Aligner`.
    """
    rest, held = split_holdout(identities, config.holdout, config.train.seed)
    if config.holdout > 0:
        _check_holdout(config.holdout, len(held), len(identities), "pictures")
    # As in every table: a landmark network's last weights.
    which = "last" if Path(alignment.landmarks).is_dir() else None
    aligner = Aligner.load(alignment, template, border=config.border, which=which)
    frames = aligner.frames(identities, streamed=config.train.feed == "host", cache=cache)

    def examples(rows: np.ndarray) -> Examples:
        own = {name: values[rows] for name, values in fields.items()}
        parts = [identities.fingerprint.encode(), aligner.identity.encode(), rows.tobytes()]
        return Examples({"images": select(frames.images, rows)} | own, digest(parts), frames.note)

    return {"labelled": examples(rest)}, examples(held) if len(held) else None


def check_people(identities: Identities, config: RecognitionConfig) -> int:
    """Count the people.

    Raises:
      InputError: it is one, or other than configured, or some pictures are nobody's, or some people
        have no picture.
    """
    named = ", ".join(config.labelled)
    nobody = int((identities.label == UNKNOWN).sum())
    if nobody:
        raise InputError(
            f"{nobody} of the {len(identities)} pictures of {named} do not say whose they are; "
            "name splits of people in labelled, such as 'tinyface:train'."
        )
    classes = identities.classes
    if classes < 2:
        raise InputError(
            f"All {len(identities)} pictures of {named} show one person; name in labelled splits "
            "of two people or more."
        )
    missing = np.flatnonzero(np.bincount(identities.label, minlength=classes) == 0)
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


def face_template(height: int, width: int) -> Template:
    """Make a template of any size: a face as high as ArcFace's, in the middle of the width.

    At 112 pixels by 96 it is the template of CentreFace and SphereFace.
    """
    face = scaled(TEMPLATES["arcface112"], height)
    points = face.points - ((height - width) / 2, 0)
    return Template(f"face{height}x{width}", height, width, points)


def _check_holdout(share: float, held: int, count: int, what: str) -> None:
    if not held:
        raise InputError(
            f"The share {share} holds out none of the {count} {what}; set holdout to more, or to 0."
        )
