"""The error of landmark networks on faces that a degradation of K&C's made small (Table 1b)."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import jax
import numpy as np

from lrjax.data.faces import Faces, load_faces
from lrjax.errors import InputError
from lrjax.geometry.points import SCHEMES, Scheme, convert
from lrjax.inference.landmarks import BATCH, LandmarkPredictor
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks import degradation
from lrjax.tasks.landmark_crops import unaugmented
from lrjax.tasks.landmarks import Degradation, LandmarksConfig
from lrjax.tasks.measure import Measured, annotated_scheme, common_scheme, face_share_of
from lrjax.training.nets import Nets


@dataclasses.dataclass(frozen=True, eq=False)
class SmallFaces:
    """Hold faces as a network sees them, made once for all networks that are compared.

    Attributes:
      label, data: as in `Measured`.
      names: of the faces.
      images: float32 [n, s, s, 3] in 0..255.
      points, visible: [n, N, 2] in pixels of the images, and [n, N].
      side: of the face square, in pixels of the images.
      scheme: of the points.
      face_share: as in `Measured`.
    """

    label: str
    data: str
    names: tuple[str, ...]
    images: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    side: float
    scheme: Scheme
    face_share: float = 1.0


def small_faces(
    network: LandmarkConfig,
    spec: str,
    data_dir: Path,
    degraded_by: Degradation,
    stage1: str | Path | None = None,
) -> SmallFaces:
    """Make the faces of "dataset:split" small as a degradation of K&C's does, for a network.

    The noise of a generator depends on the face's place in the split alone.

    Args:
      network: image size, context, points.
      spec: prepared data.
      data_dir: where they are.
      degraded_by: "subsample", "generator", "camera", or "none" for faces cropped at the network's
        size.
      stage1: run folder or weights file of the generator, where there is one.

    Raises:
      InputError: the data are not prepared or have no points, or the generator does not fit.
    """
    config, nets = _degrading(network, degraded_by, stage1)
    scheme = common_scheme(annotated_scheme(spec, data_dir), SCHEMES[network.points])
    faces = load_faces(
        spec,
        data_dir=data_dir,
        crop_size=config.image_size,
        context=network.context,
        scheme=scheme.name,
    )
    images, points = _degraded(config, nets, faces)
    how = "" if degraded_by == "none" else f", degraded by {degraded_by}"
    return SmallFaces(
        label=f"{spec}{how}",
        data=f"{spec}: {len(faces)} faces at {network.size} pixels{how}",
        names=faces.names,
        images=images,
        points=points,
        visible=faces.visible,
        side=network.size / network.context,
        scheme=scheme,
        face_share=face_share_of(spec, data_dir),
    )


def measure_small(predictor: LandmarkPredictor, faces: SmallFaces) -> Measured:
    """Look at images of the network's own size (Table 1b); of the options only `flip` applies."""
    found, sure = predictor.predict_crops(faces.images)
    everything = np.ones(found.shape[:2], bool)
    predicted, _ = convert(found, everything, predictor.scheme, faces.scheme)
    corner = (faces.images.shape[1] - faces.side) / 2
    box = np.asarray((corner, corner, faces.side, faces.side))
    return Measured(
        label=faces.label,
        data=faces.data,
        names=faces.names,
        predicted=predicted,
        truth=faces.points,
        visible=faces.visible,
        boxes=np.tile(box, (len(found), 1)),
        confidence=sure.mean(-1),
        scheme=faces.scheme,
        face_share=faces.face_share,
        images=faces.images.round().clip(0, 255).astype(np.uint8),
        found=found,
    )


def measure_degraded(
    predictor: LandmarkPredictor,
    spec: str,
    data_dir: Path,
    degraded_by: Degradation,
    stage1: str | Path | None = None,
) -> Measured:
    """Do `measure_small` on `small_faces`, for one network.

    Without a `stage1`, a generator is the one that stands beside the network in its run.
    """
    if degraded_by == "generator" and stage1 is None:
        stage1 = predictor.weights.path.with_name("g1.safetensors")
        if not stage1.is_file():
            raise InputError(
                f"The network in {predictor.weights.path} has learned without a generator; name "
                "the run of one with --stage1."
            )
    faces = small_faces(predictor.config, spec, data_dir, degraded_by, stage1)
    return measure_small(predictor, faces)


def _degrading(
    network: LandmarkConfig, degraded_by: Degradation, stage1: str | Path | None
) -> tuple[LandmarksConfig, Nets]:
    """A configuration that degrades so, of crops four times as large as the network's image."""
    sharp = network.size if degraded_by == "none" else 4 * network.size
    nets = Nets({}, {})
    if degraded_by == "generator" and stage1 is not None:
        g1 = degradation.player(str(stage1))
        sharp = g1.network.config.image_size
        degradation.check_fits(g1, sharp, network.size, "--stage1")
        nets = degradation.alone(g1)
    stage1 = None if stage1 is None else str(stage1)
    config = LandmarksConfig(g2=network, degradation=degraded_by, stage1=stage1, image_size=sharp)
    config.validate()
    return config, nets


def _degraded(config: LandmarksConfig, nets: Nets, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """The network's images [n, s, s, 3] in 0..255 and their points."""
    small = jax.jit(partial(unaugmented, config, nets))
    images, points = [], []
    for start in range(0, len(faces), BATCH):
        rows = np.arange(start, start + BATCH)
        chosen = np.minimum(rows, len(faces) - 1)
        part = {"images": faces.images[chosen], "points": faces.points[chosen]}
        shown, there = jax.device_get(small(part | {"example_index": rows}))
        images.append((shown + 1.0) * 127.5)
        points.append(there)
    count = len(faces)
    return np.concatenate(images)[:count], np.concatenate(points)[:count]
