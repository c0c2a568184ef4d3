"""The pretrained network beside dlib's 68-point model and MTCNN, on small faces."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrjax.errors import InputError
from lrjax.evaluation.intervals import RESAMPLES, Sample, difference_interval
from lrjax.experiments.context import Context
from lrjax.experiments.mtcnn import Scores, scores
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
SCALES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
OURS = "lrjax"
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
        scale = min(tried, key=lambda s: np.nanmean(tried[s]))
        errors = {
            OURS: ours.errors(normaliser),
            f"dlib, box scaled by {scale:g}": tried[scale],
        }
        if ours.scheme is FIVE:
            errors["MTCNN, its own box"] = scores(spec, context.data_dir).errors
        rows += compared((ours.label, normaliser.replace("_", "-")), errors)
        if (spec, size) == SETS[0]:
            curves = {name: np.minimum(values, 1.0) for name, values in errors.items()}
    table = Table(
        title="Pretrained weights, dlib's 68-point model, and MTCNN",
        columns=(
            *("Set", "normaliser", "system", "faces", "NRMSE", "median", "failures at 0.08"),
            "NRMSE more than lrjax, 95 %",
        ),
        rows=tuple(rows),
        note=(
            "In percent. lrjax looks at the mirror image as well, and again where its points "
            "ask for another crop. It and dlib are given the annotated box, which for `mtfl` "
            "and `w300` is made of the true points. dlib's is scaled by the factor that suits "
            "it best on the very set, of those tried; its picture is enlarged four times; its "
            "model was trained on all of 300W, the faces of `w300:common` included, and its "
            "five points are read off 68. lrjax has learned five points from MTFL's training "
            "faces. MTCNN finds faces itself, enlarged twice, in the photograph around them: a "
            "face is found if a box overlaps the annotated one by 0.4; its NRMSE is of those, "
            "the others are failures, and the median is of all. It was trained on WIDER FACE "
            "and CelebA. The last column pairs the faces "
            f"that both find: the interval of the difference over {RESAMPLES:,} resamples of them."
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


def compared(about: tuple[Cell, ...], errors: Mapping[str, np.ndarray]) -> list[tuple[Cell, ...]]:
    """Make a row of each system: faces, errors in percent, and what it errs more than ours.

    Args:
      about: the first cells.
      errors: system -> [n], `OURS` among them; infinite for faces that it does not find, and NaN,
        for all systems, for those without a visible point.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, values in errors.items():
        one = Scores(values[~np.isnan(values)])
        count, found = len(one.errors), len(one.found)
        faces = f"{count}" if found == count else f"{found} of {count}"
        figures = [None if v is None else 100 * v for v in (one.nrmse, one.median)]
        bounds = None
        both = np.flatnonzero(np.isfinite(values) & np.isfinite(errors[OURS]))
        if name != OURS and len(both):
            theirs, ours = (Sample(100 * e[both], both, "faces") for e in (values, errors[OURS]))
            bounds = difference_interval(theirs, ours)
        said = None if bounds is None else "{:.2f} to {:.2f}".format(*bounds)
        rows.append((*about, name, faces, *figures, one.failures, said))
    return rows


def has_dlib() -> bool:
    """Whether the extra `dlib` is installed."""
    names = ("dlib", "face_recognition_models")
    return all(importlib.util.find_spec(name) is not None for name in names)


def shape_predictor() -> Any:
    """dlib's model, out of the package that carries it."""
    models = importlib.util.find_spec("face_recognition_models")
    if not has_dlib() or models is None:
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
