"""The pretrained network beside dlib's 68-point model and MTCNN, on small faces."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrjax.errors import InputError
from lrjax.experiments.context import Context
from lrjax.experiments.mtcnn import FAILURE, scores
from lrjax.geometry.points import FIVE, IBUG68
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.report import plots
from lrjax.report.results import Result
from lrjax.report.tables import Cell, Table
from lrjax.tasks.measure import measure_finder, measure_photographs

# dlib takes boxes in whole pixels, and looks at the pixels as they are: both are kinder to it on an
# enlarged picture.
ENLARGED = 4
# Sides of dlib's square box over that of the face square: the best of them is reported.
SCALES = (0.9, 1.0, 1.1, 1.2, 1.3)
SETS: tuple[tuple[str, float | None], ...] = (
    ("alrf:test", None),
    ("mtfl:test", None),
    ("w300:common", 32),
    ("w300:common", 20),
    ("w300:common", 16),
)


def peers(context: Context) -> Result:
    """The pretrained network beside dlib's 68-point model and MTCNN, on small faces."""
    dlib_predictor, predictor = shape_predictor(), LandmarkPredictor.load()
    rows: list[tuple[Cell, ...]] = []
    curves = {}
    for spec, size in SETS:
        ours = measure_photographs(predictor, spec, context.data_dir, size)
        normaliser = ours.normalisers[0]
        tried = {
            scale: measure_finder(
                partial(_find, dlib_predictor, scale), IBUG68, spec, context.data_dir, size
            ).errors(normaliser)
            for scale in SCALES
        }
        scale = min(tried, key=lambda s: tried[s].mean())
        errors = {
            "lrjax": ours.errors(normaliser),
            f"dlib, box scaled by {scale:g}": tried[scale],
        }
        if ours.scheme is FIVE:
            errors["MTCNN, its own box"] = scores(spec, context.data_dir).errors
        for name, values in errors.items():
            about = (ours.label, normaliser.replace("_", "-"), name)
            rows.append((*about, *_summary(values)))
        if (spec, size) == SETS[0]:
            curves = {name: np.minimum(values, 1.0) for name, values in errors.items()}
    table = Table(
        title="Pretrained weights, dlib's 68-point model, and MTCNN",
        columns=("Set", "normaliser", "system", "faces", "NRMSE", "median", "failures at 0.08"),
        rows=tuple(rows),
        note=(
            "In percent. lrjax, with the defaults of `lrjax predict`, and dlib are given the "
            "annotated box. dlib's is scaled by the factor that suits it best on the very set, its "
            "picture is enlarged four times; its model was trained on all of 300W, the faces of "
            "`w300:common` included. MTCNN finds faces itself: its NRMSE and median are of those "
            "that it finds, and the others are failures. It was trained on WIDER FACE and CelebA."
        ),
    )
    figure = context.figure(
        "peers-ced.svg",
        "Cumulative errors on native faces.",
        plots.to_svg(plots.ced_curves(curves, "face size", 0.1)),
    )
    return Result(
        title="The pretrained network beside its peers",
        order=0.1,
        tables=(table,),
        figures=(figure,),
        data="; ".join(spec for spec, _ in SETS),
    )


def _summary(errors: np.ndarray) -> tuple[Cell, ...]:
    """Faces found, their mean and median error, and failures of all; errors are in percent."""
    found = errors[np.isfinite(errors)]
    faces = f"{len(found)}" if len(found) == len(errors) else f"{len(found)} of {len(errors)}"
    failures = 100 * float(np.mean(errors >= FAILURE))
    if not len(found):
        return faces, None, None, failures
    return faces, 100 * float(found.mean()), 100 * float(np.median(found)), failures


def shape_predictor() -> Any:
    """dlib's model, out of the package that carries it."""
    models = importlib.util.find_spec("face_recognition_models")
    if importlib.util.find_spec("dlib") is None or models is None:
        raise InputError("dlib is not installed; run `pip install lrjax[dlib]`.")
    import dlib

    folder = Path(models.submodule_search_locations[0]) / "models"
    return dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))


def _find(
    predictor: Any, scale: float, photos: Sequence[Image.Image], boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """dlib's points [n, 68, 2]; it gives no confidence, so all are one."""
    import dlib

    points = np.empty((len(photos), 68, 2))
    for i, (photo, (x, y, w, h)) in enumerate(zip(photos, boxes, strict=True)):
        size = (photo.width * ENLARGED, photo.height * ENLARGED)
        pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC))
        middle = (np.array([x + (w - 1) / 2, y + (h - 1) / 2]) + 0.5) * ENLARGED - 0.5
        half = scale * np.sqrt(w * h) * ENLARGED / 2
        left, top, right, bottom = (int(v) for v in (*(middle - half), *(middle + half)))
        shape = predictor(pixels, dlib.rectangle(left, top, right, bottom))
        points[i] = [(p.x, p.y) for p in shape.parts()]
    return (points + 0.5) / ENLARGED - 0.5, np.ones(len(photos))


EXPERIMENTS = {"peers": peers}
