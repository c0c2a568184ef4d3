"""The error of a landmark network on prepared faces, looked at as a user would look at them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from lrjax.data.examples import read_ahead
from lrjax.data.faces import Faces, load_faces
from lrjax.data.records import open_split
from lrjax.errors import InputError
from lrjax.evaluation import landmarks as metrics
from lrjax.geometry.points import SCHEMES, Scheme, convert
from lrjax.inference.landmarks import BATCH, Detector
from lrjax.rng import stream
from lrjax.tasks import degradation
from lrjax.tasks.landmark_views import degrader, plain_views
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.training.state import State

# Records that are looked at together.
_RECORDS = 4 * BATCH


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Predictions beside the truth.

    Attributes:
      label: a short name.
      data: what was looked at, in words.
      names: of the faces.
      predicted, truth: [n, N, 2], in the same pixels.
      visible: [n, N].
      boxes: [n, 4] the annotated face boxes, in those pixels.
      confidence: [n].
      scheme: of the points compared.
      images: uint8 [n, s, s, 3], where the pixels are those of the network's own images.
      found: [n, M, 2] all points of the network, where `images` are there.
    """

    label: str
    data: str
    names: tuple[str, ...]
    predicted: np.ndarray
    truth: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    confidence: np.ndarray
    scheme: Scheme
    images: np.ndarray | None = None
    found: np.ndarray | None = None

    @property
    def normalisers(self) -> tuple[str, ...]:
        """Those that suit the points, the usual one first."""
        if self.scheme.name == "ibug68":
            return ("inter_ocular", "inter_pupil", "face_size")
        return ("face_size",)

    def errors(self, normaliser: str) -> np.ndarray:
        """Per-face errors [n], as `evaluation.landmarks.normalised_errors` defines them."""
        size = metrics.normaliser(normaliser, self.truth, self.boxes, self.visible, self.scheme)
        return metrics.normalised_errors(self.predicted, self.truth, self.visible, size)


# (photographs, face boxes [n, 4]) -> (points [n, N, 2] in the photographs, confidences [n]).
Finder = Callable[[Sequence[Image.Image], np.ndarray], tuple[np.ndarray, np.ndarray]]


def measure_photographs(
    detector: Detector, spec: str, data_dir: Path, size: float | None = None
) -> Measured:
    """Looks at the faces of "dataset:split" in their photographs, given their annotated boxes.

    Args:
      detector: network and way of looking.
      spec: prepared data; each record is a part of the photograph around a face.
      data_dir: where they are.
      size: shrink each photograph, antialiased, until the face box has an area of size x size
        pixels; None leaves the pixels as they are.

    Raises:
      InputError: the data are not prepared, have no points, or have fewer than the network's.
    """

    def find(photos: Sequence[Image.Image], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = detector.detect(photos, boxes, np.arange(len(photos)))
        return found.points, found.confidence

    return measure_finder(find, detector.scheme, spec, data_dir, size)


def measure_finder(
    find: Finder, scheme: Scheme, spec: str, data_dir: Path, size: float | None = None
) -> Measured:
    """As `measure_photographs`, for whatever finds the points of `scheme` given a box."""
    own = _annotated(spec, data_dir)
    target = _common(own, scheme)
    records = open_split(spec, data_dir)
    parts = []
    with tqdm(total=len(records), desc=spec, unit="face", dynamic_ncols=True) as bar:
        faces = read_ahead(lambda i: _shrunk(records[int(i)], size), range(len(records)))
        for chunk in _chunks(faces, _RECORDS):
            parts.append(_compare(find, chunk))
            bar.update(len(chunk))
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    visible = joined.pop("visible").astype(bool)
    truth, seen = convert(joined.pop("truth"), visible, own, target)
    everything = np.ones(joined["predicted"].shape[:2], bool)
    predicted, _ = convert(joined.pop("predicted"), everything, scheme, target)
    label, how = spec, ""
    if size is not None:
        label, how = f"{spec} at {size:g} px", f", shrunk to face boxes of {size:g} pixels"
    return Measured(
        label=label,
        data=f"{spec}: {len(truth)} faces in their photographs{how}",
        names=tuple(str(name) for name in joined.pop("names")),
        predicted=predicted,
        truth=truth,
        visible=seen,
        scheme=target,
        **joined,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SmallFaces:
    """Faces as a network sees them, made once for all networks that are compared.

    Attributes:
      label, data: as in `Measured`.
      names: of the faces.
      images: float32 [n, s, s, 3] in 0..255.
      points, visible: [n, N, 2] in pixels of the images, and [n, N].
      side: of the face square, in pixels of the images.
      scheme: of the points.
    """

    label: str
    data: str
    names: tuple[str, ...]
    images: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    side: float
    scheme: Scheme


def small_faces(
    config: LandmarksConfig, spec: str, data_dir: Path, way: str, stage1: str | None = None
) -> SmallFaces:
    """The faces of "dataset:split" as a degradation of K&C's makes them for a network.

    The noise of a generator depends on the face's place in the split alone.

    Args:
      config: of the network: image size, context, points.
      spec: prepared data.
      data_dir: where they are.
      way: "subsample", "generator", "camera", or "none" for faces cut out at the network's size.
      stage1: run folder of the generator, where that is the way.

    Raises:
      InputError: the data are not prepared or have no points, or the generator does not fit.
    """
    config = _degrading(config, way, stage1)
    scheme = _common(_annotated(spec, data_dir), SCHEMES[config.scheme])
    faces = load_faces(
        spec,
        data_dir=data_dir,
        crop_size=config.image_size,
        context=config.context,
        scheme=scheme.name,
    )
    images, points = _degraded(config, faces)
    how = "" if way == "none" else f", degraded by {way}"
    return SmallFaces(
        label=f"{spec}{how}",
        data=f"{spec}: {len(faces)} faces at {config.size} pixels{how}",
        names=faces.names,
        images=images,
        points=points,
        visible=faces.visible,
        side=config.size / config.context,
        scheme=scheme,
    )


def measure_small(detector: Detector, faces: SmallFaces) -> Measured:
    """Looks at images of the network's own size (Table 1b); of the options only `flip` applies."""
    found, sure = detector.look_at_views(faces.images)
    everything = np.ones(found.shape[:2], bool)
    predicted, _ = convert(found, everything, detector.scheme, faces.scheme)
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
        images=faces.images.round().clip(0, 255).astype(np.uint8),
        found=found,
    )


def measure_degraded(
    detector: Detector, spec: str, data_dir: Path, way: str, stage1: str | None = None
) -> Measured:
    """`measure_small` on `small_faces`, for one network."""
    return measure_small(detector, small_faces(detector.config, spec, data_dir, way, stage1))


def _annotated(spec: str, data_dir: Path) -> Scheme:
    """The points that a split is annotated with."""
    records = open_split(spec, data_dir)
    if not len(records) or "points" not in records[0]:
        raise InputError(f"'{spec}' has no points to compare with; name data with landmarks.")
    return _scheme_of(np.asarray(records[0]["points"])[None])


def _degrading(config: LandmarksConfig, way: str, stage1: str | None) -> LandmarksConfig:
    """`config` with another degradation, of views four times as large as the network's image."""
    sharp = config.size if way == "none" else 4 * config.size
    if way == "generator" and stage1 is not None:
        trained = degradation.run_config(Path(stage1))
        sharp = trained.image_size
        if trained.size != config.size:
            raise InputError(
                f"The generator in {stage1} makes {trained.size} pixels and the network sees "
                f"{config.size}; name another run with --stage1."
            )
    changed = dataclasses.replace(config, degradation=way, stage1=stage1, image_size=sharp)
    changed.validate()
    return changed


def _degraded(config: LandmarksConfig, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """The network's images [n, s, s, 3] in 0..255 and their points."""
    nets = {"g1": degradation.load_net(config.stage1, "g1")} if config.stage1 else {}
    state = State.create(nets, {}, stream(jax.random.key(0), "evaluate"))
    views = jax.jit(partial(plain_views, config, degrader(config)))
    images, points = [], []
    for start in range(0, len(faces), BATCH):
        rows = np.arange(start, start + BATCH)
        chosen = np.minimum(rows, len(faces) - 1)
        part = {"images": faces.images[chosen], "points": faces.points[chosen]}
        part["example_index"] = rows
        seen, there = jax.device_get(views(state, part))
        images.append((seen + 1.0) * 127.5)
        points.append(there)
    count = len(faces)
    return np.concatenate(images)[:count], np.concatenate(points)[:count]


def _shrunk(record: dict[str, Any], size: float | None) -> dict[str, Any]:
    """The image of a record, and its annotation in the image's pixels."""
    with Image.open(io.BytesIO(record["image"])) as image:
        photo = image.convert("RGB")
    fields = {
        "names": record["name"].decode(),
        "truth": np.asarray(record["points"], np.float64),
        "visible": np.asarray(record["visible"], bool),
        "boxes": np.asarray(record["face_box"], np.float64),
    }
    if size is not None:
        factor = min(1.0, size / float(np.sqrt(fields["boxes"][2:].prod())))
        photo = shrink(photo, factor)
        fields["truth"] = (fields["truth"] + 0.5) * factor - 0.5
        fields["boxes"] = scale_box(fields["boxes"], factor)
    return {"photo": photo, **fields}


def shrink(photo: Image.Image, factor: float) -> Image.Image:
    """A photograph at `factor` <= 1 of its size, antialiased, to within a pixel at the far edges.

    Point x becomes (x + 0.5) factor - 0.5 exactly: what a whole number of pixels cannot show at
    the right and at the bottom is cut off, not squeezed in.
    """
    width, height = (max(1, int(side * factor)) for side in photo.size)
    box = (0, 0, min(width / factor, photo.width), min(height / factor, photo.height))
    return photo.resize((width, height), Image.Resampling.LANCZOS, box=box)


def scale_box(box: np.ndarray, factor: float) -> np.ndarray:
    """A box [4] after its image is scaled: its centre moves as points do, its sides scale."""
    x, y, w, h = box
    centre = (np.array([x + (w - 1) / 2, y + (h - 1) / 2]) + 0.5) * factor - 0.5
    sides = np.array([w, h]) * factor
    return np.concatenate([centre - (sides - 1) / 2, sides])


def _compare(find: Finder, faces: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    photos = [face.pop("photo") for face in faces]
    fields = {name: np.array([face[name] for face in faces]) for name in faces[0]}
    points, confidence = find(photos, fields["boxes"])
    return {"predicted": points, "confidence": confidence, **fields}


def _scheme_of(points: np.ndarray) -> Scheme:
    return {scheme.count: scheme for scheme in SCHEMES.values()}[points.shape[1]]


def _common(a: Scheme, b: Scheme) -> Scheme:
    """The scheme that both can be converted to: that with fewer points."""
    return min(a, b, key=lambda scheme: scheme.count)


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
