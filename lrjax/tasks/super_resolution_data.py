"""The sharp faces that a super-resolution network learns from: with landmarks, or of people."""

from __future__ import annotations

from pathlib import Path

from lrjax.data.examples import Loaded
from lrjax.data.identities import load_identities
from lrjax.geometry.templates import TEMPLATES, Template, scaled
from lrjax.tasks import faces
from lrjax.tasks.recognition_data import Align, Framing, framed
from lrjax.tasks.super_resolution import SuperResolutionConfig
from lrjax.tasks.super_resolution_views import border


def load(config: SuperResolutionConfig, data_dir: Path, align: Align) -> Loaded:
    """The data of a run.

    Raises:
      InputError: the data are not prepared, or too few to hold some out.
    """
    config.validate()
    if config.alignment is None:
        return faces.load(config, data_dir)
    framing = Framing(
        config.alignment,
        config.region,
        config.fit,
        config.plain,
        face_template(config),
        border(config),
        streamed=config.train.feed == "host",
    )
    portraits = load_identities(config.labelled, data_dir)
    parts, held_out = framed(config, portraits, framing, align, {})
    return Loaded(parts, held_out, config)


def face_template(config: SuperResolutionConfig) -> Template:
    """Where an aligned face is: as high as ArcFace's, and in the middle of the width.

    At 112 pixels by 96 that is the template of CentreFace and SphereFace.
    """
    height, width = config.image_size
    face = scaled(TEMPLATES["arcface112"], height)
    points = face.points - ((height - width) / 2, 0)
    return Template(f"face{height}x{width}", height, width, points)
