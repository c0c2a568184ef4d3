"""The error of a landmark network on prepared faces, looked at as a user would look at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lrjax.data.examples import read_ahead
from lrjax.data.records import open_split
from lrjax.errors import InputError
from lrjax.evaluation.landmarks import normalised_errors, normaliser
from lrjax.geometry.crop import scale_box, shrink
from lrjax.geometry.points import AFLW19, SCHEMES, Scheme, convert
from lrjax.inference.images import decode_rgb
from lrjax.inference.landmarks import BATCH, LandmarkPredictor

# Records that are looked at together.
_RECORDS = 4 * BATCH


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Hold predictions beside the truth.

    Attributes:
      label: a short name.
      data: what was looked at, in words.
      names: of the faces.
      predicted, truth: [n, N, 2], in the same pixels.
      visible: [n, N].
      boxes: [n, 4] the annotated face boxes, in those pixels.
      confidence: [n].
      scheme: of the points compared.
      face_share: side of those boxes over that of the box which errors are normalised by.
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
    face_share: float = 1.0
    images: np.ndarray | None = None
    found: np.ndarray | None = None

    @property
    def normalisers(self) -> tuple[str, ...]:
        """Those that suit the points, the usual one first."""
        if self.scheme.name == "ibug68":
            return ("inter_ocular", "inter_pupil", "face_size")
        return ("face_size",)

    def errors(self, name: str) -> np.ndarray:
        """Compute per-face errors [n] by a normaliser; see `evaluation.landmarks`."""
        size = normaliser(name, self.truth, self.boxes, self.visible, self.scheme)
        if name == "face_size":
            size = size / self.face_share
        return normalised_errors(self.predicted, self.truth, self.visible, size)


# (photographs, face boxes [n, 4]) -> (points [n, N, 2] in the photographs, confidences [n]).
Finder = Callable[[Sequence[Image.Image], np.ndarray], tuple[np.ndarray, np.ndarray]]


def measure_photographs(
    predictor: LandmarkPredictor,
    spec: str,
    data_dir: Path,
    size: float | None = None,
    box_noise: tuple[float, float] = (0.0, 0.0),
) -> Measured:
    """Look at the faces of "dataset:split" in their photographs, given their annotated boxes.

    Args:
      predictor: network and way of looking.
      spec: prepared data; each record is a part of the photograph around a face.
      data_dir: where they are.
      size: shrink each photograph, antialiased, until the face box has an area of size x size
        pixels; None leaves the pixels as they are.
      box_noise: see `disturbed`; errors are divided by the annotated boxes all the same.

    Raises:
      InputError: the data are not prepared, have no points, or have fewer than the network's.
    """

    def find(photos: Sequence[Image.Image], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = predictor.predict(photos, boxes, np.arange(len(photos)))
        return found.points, found.confidence

    return measure_finder(find, predictor.scheme, spec, data_dir, size, box_noise)


def measure_finder(
    find: Finder,
    scheme: Scheme,
    spec: str,
    data_dir: Path,
    size: float | None = None,
    box_noise: tuple[float, float] = (0.0, 0.0),
) -> Measured:
    """Do as `measure_photographs` with whatever finds the points of `scheme` given a box."""
    own = annotated_scheme(spec, data_dir)
    target = common_scheme(own, scheme)
    records = open_split(spec, data_dir)
    parts = []
    with tqdm(total=len(records), desc=spec, unit="face", dynamic_ncols=True) as bar:

        def face(i: int) -> dict[str, Any]:
            read = _shrunk(records[int(i)], size)
            return read | {"given": disturbed(read["boxes"], box_noise, int(i))}

        faces = read_ahead(face, range(len(records)))
        for chunk in _chunks(faces, _RECORDS):
            parts.append(_compare(find, chunk))
            bar.update(len(chunk))
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    truth, visible = convert(joined.pop("truth"), joined.pop("visible").astype(bool), own, target)
    everything = np.ones(joined["predicted"].shape[:2], bool)
    predicted, _ = convert(joined.pop("predicted"), everything, scheme, target)
    label, how = spec, ""
    if size is not None:
        label, how = f"{spec} at {size:g} px", f", shrunk to face boxes of {size:g} pixels"
    if any(box_noise):
        how += ", given boxes moved by {:.0%} and scaled by {:.0%}".format(*box_noise)
        label += ", bad boxes"
    return Measured(
        label=label,
        data=f"{spec}: {len(truth)} faces in their photographs{how}",
        names=tuple(str(name) for name in joined.pop("names")),
        predicted=predicted,
        truth=truth,
        visible=visible,
        scheme=target,
        face_share=face_share_of(spec, data_dir),
        **joined,
    )


def annotated_scheme(spec: str, data_dir: Path) -> Scheme:
    """The points that a split is annotated with."""
    records = open_split(spec, data_dir)
    if not len(records) or "points" not in records[0]:
        raise InputError(f"'{spec}' has no points to compare with; name data with landmarks.")
    count = len(records[0]["points"])
    return next(scheme for scheme in SCHEMES.values() if scheme.count == count)


def face_share_of(spec: str, data_dir: Path) -> float:
    """What AFLW's face boxes are of its own ones, by which its errors are normalised; else 1."""
    if annotated_scheme(spec, data_dir) is not AFLW19:
        return 1.0
    record = open_split(spec, data_dir)[0]
    ours, own = (np.asarray(record[field], np.float64)[2:].prod() for field in ("face_box", "box"))
    return float(np.sqrt(ours / own))


def common_scheme(a: Scheme, b: Scheme) -> Scheme:
    """The scheme that both can be converted to: that with fewer points."""
    return min(a, b, key=lambda scheme: scheme.count)


def disturbed(box: np.ndarray, noise: tuple[float, float], seed: int) -> np.ndarray:
    """Move and scale a box as a poor detector does.

    Args:
      box: [4] (x, y, w, h) in pixels.
      noise: standard deviations of the normal by which the middle moves, in x and in y, as a share
        of the side √(w·h), and of the logarithm of the factor by which the box grows.
      seed: of the draw.
    """
    if not any(noise):
        return box
    x, y, scale = np.random.default_rng(seed).normal(size=3)
    centre, side = box[:2] + (box[2:] - 1) / 2, float(np.sqrt(box[2:].prod()))
    centre, size = centre + noise[0] * side * np.array([x, y]), box[2:] * np.exp(noise[1] * scale)
    return np.concatenate([centre - (size - 1) / 2, size])


def _shrunk(record: dict[str, Any], size: float | None) -> dict[str, Any]:
    """The image of a record, and its annotation in the image's pixels."""
    name = record["name"].decode()
    photo = decode_rgb(record["image"], name)
    points, box = (np.asarray(record[field], np.float64) for field in ("points", "face_box"))
    if size is not None:
        factor = min(1.0, size / float(np.sqrt(box[2:].prod())))
        photo, points = shrink(photo, factor), (points + 0.5) * factor - 0.5
        box = scale_box(box, factor)
    visible = np.asarray(record["visible"], bool)
    return {"photo": photo, "names": name, "truth": points, "visible": visible, "boxes": box}


def _compare(find: Finder, faces: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    photos = [face.pop("photo") for face in faces]
    fields = {name: np.array([face[name] for face in faces]) for name in faces[0]}
    points, confidence = find(photos, fields.pop("given"))
    return {"predicted": points, "confidence": confidence, **fields}


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(items, size)):
        yield chunk
