"""Landmark errors as the papers report them: NRMSE ± std, AUC, accuracy, failure rate, CED.

The definitions are those of the evaluation script behind Kumar & Chellappa, Table 1b (that of
"Style Aggregated Network"): per image the mean Euclidean error over its visible points divided by
a size of that face; then over the images the mean and the *population* standard deviation, and the
area under the cumulative error distribution (CED). All in NumPy and float64.

Two images cannot be measured and are left out, and counted: one without a visible point, and one
whose normaliser is undefined (say, the distance of two eyes of which one is hidden). They appear as
NaN in the errors, and as `excluded` in the summary. Anything else that is not a number is an error
of the caller's and is refused: a missing prediction must never be averaged away.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrjax.errors import InputError
from lrjax.geometry.points import FIVE, Scheme, convert

Errors = NDArray[np.float64]

AUC_LIMITS = (0.07, 0.08)
"""Upper ends of the error range over which the papers integrate the CED."""

AUC_THRESHOLDS = 2000
"""Thresholds on [0, limit], both ends included."""

BOX_NORMALISERS = ("face_size", "side", "diag")
NORMALISERS = (*BOX_NORMALISERS, "landmark_box", "inter_ocular", "inter_pupil")

OUTER_EYE_CORNERS = {"ibug68": (36, 45), "aflw19": (6, 11)}


def normalised_errors(
    pred: ArrayLike, truth: ArrayLike, visible: ArrayLike, normaliser: ArrayLike
) -> Errors:
    """Average each image's Euclidean errors over visible points, and divide by the normaliser.

    Args:
      pred, truth: points [n, N, 2] in the same pixels. Values at invisible points are not read.
      visible: [n, N] bool, the true visibility.
      normaliser: [n], the size of each face in those pixels; NaN where it is undefined.

    Returns:
      errors [n], as fractions; NaN for images that cannot be measured (see the module).

    Raises:
      InputError: shapes differ, there is no image, a visible point is not finite, or a normaliser
        is not positive.
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    visible, normaliser = np.asarray(visible, bool), np.asarray(normaliser, np.float64)
    _check_points(truth, visible)
    if pred.shape != truth.shape:
        raise InputError(
            f"Predicted points have shape {pred.shape} and true points {truth.shape}; "
            "evaluate the same points of the same images."
        )
    if normaliser.shape != truth.shape[:1]:
        raise InputError(
            f"The normaliser has shape {normaliser.shape}; give one size for each of the "
            f"{truth.shape[0]} images."
        )
    _require_finite("predicted", pred, visible)
    _require_finite("true", truth, visible)
    bad = ~np.isnan(normaliser) & ~((normaliser > 0) & np.isfinite(normaliser))
    if bad.any():
        raise InputError(
            f"The normaliser of {_which(bad)} is not a positive number; remove such faces or use "
            "another normaliser."
        )
    seen = visible[..., None]
    distance = np.linalg.norm(np.where(seen, pred, 0.0) - np.where(seen, truth, 0.0), axis=-1)
    count = visible.sum(axis=-1)
    total = np.where(count > 0, distance.sum(axis=-1), np.nan)
    return total / np.maximum(count, 1) / normaliser


def ced(errors: ArrayLike, thresholds: ArrayLike) -> Errors:
    """Compute the CED: the share of images with an error *below* each threshold.

    Args:
      errors: [n] fractions, NaN for excluded images.
      thresholds: [t], in any order.

    Returns:
      shares [t] in [0, 1]. The comparison is strict, so the share at threshold 0 is always 0.
    """
    measured = _measured(errors)
    below = np.searchsorted(np.sort(measured), np.asarray(thresholds, np.float64), side="left")
    return below / measured.size


def area_under_ced(errors: ArrayLike, limit: float) -> float:
    """Compute AUC@limit in percent: a trapezoid over 2,000 thresholds, divided by the limit.

    Because the comparison is strict, a perfect method reaches 99.975, not 100.
    """
    if not limit > 0:
        raise InputError(f"AUC limit {limit} is not positive; the papers use 0.07 and 0.08.")
    thresholds = np.linspace(0.0, limit, AUC_THRESHOLDS)
    return 100.0 * float(np.trapezoid(ced(errors, thresholds), thresholds)) / limit


def summary(errors: ArrayLike, limits: tuple[float, ...] = AUC_LIMITS) -> dict[str, float]:
    """Collect the figures of one table row.

    Args:
      errors: [n] fractions from `normalised_errors`, NaN for excluded images.
      limits: for which limits T to report AUC, accuracy and failure rate.

    Returns:
      `nrmse` (mean), `std` (population), `median`, and for each limit `auc@T`, `accuracy@T` (share
      of images with an error below T) and `failure@T` (100 - accuracy), all in percent; `count`
      and `excluded`, numbers of images.
    """
    measured = _measured(errors)
    values = {
        "nrmse": 100.0 * float(measured.mean()),
        "std": 100.0 * float(measured.std()),
        "median": 100.0 * float(np.median(measured)),
    }
    for limit in limits:
        accuracy = 100.0 * float(ced(measured, [limit])[0])
        values[f"auc@{limit:g}"] = area_under_ced(measured, limit)
        values[f"accuracy@{limit:g}"] = accuracy
        values[f"failure@{limit:g}"] = 100.0 - accuracy
    return values | {"count": measured.size, "excluded": np.size(errors) - measured.size}


def risk_coverage(errors: ArrayLike, confidence: ArrayLike) -> Errors:
    """Average the errors of the surest images alone: risks [m], of the surest 1, 2, ... m of them.

    Their mean is AURC, the area under the risk-coverage curve (Geifman and El-Yaniv 2017): that of
    a confidence that says nothing is about the mean error, and less is better.

    Args:
      errors: [n] fractions, NaN for excluded images.
      confidence: [n]; images that are equally sure stay in their order.

    Raises:
      InputError: there are not as many confidences, or one is not a number.
    """
    measured, confidence = _measured(errors), np.asarray(confidence, np.float64)
    if confidence.shape != np.shape(errors) or np.isnan(confidence).any():
        raise InputError(
            f"Confidences have shape {confidence.shape}, or are not numbers; give one for each of "
            f"the {np.size(errors)} images."
        )
    order = np.argsort(-confidence[~np.isnan(np.asarray(errors, np.float64))], kind="stable")
    return np.cumsum(measured[order]) / np.arange(1, len(order) + 1)


def normaliser(
    name: str, points: ArrayLike, boxes: ArrayLike | None, visible: ArrayLike, scheme: Scheme
) -> Errors:
    """Measure the size of each face by the named convention, which every error is reported with.

    - `face_size`: √(w·h) of the given box. On AFLW's own boxes this is the script's "GTB".
    - `side`: the longer side of the given box (AFLW's boxes are square, where it is the side).
    - `diag`: √(w²+h²) of the given box, the true diagonal.
    - `landmark_box`: √(w·h) of the tight box of the visible true points (largest - smallest).
    - `inter_ocular`: distance of the outer eye corners (68 and 19 points).
    - `inter_pupil`: distance of the eye centres (68 points: each the mean of the eye's six).

    Args:
      name: one of NORMALISERS.
      points: true points [n, N, 2].
      boxes: [n, 4] as (x, y, w, h) in the same pixels; None where the convention needs no box.
      visible: [n, N] bool.
      scheme: what the N points are.

    Returns:
      sizes [n] > 0; NaN where the points that the convention needs are hidden or coincide.
    """
    if name not in NORMALISERS:
        raise InputError(f"Normaliser {name!r} is unknown; choose one of {', '.join(NORMALISERS)}.")
    points, visible = np.asarray(points, np.float64), np.asarray(visible, bool)
    _check_points(points, visible)
    if points.shape[1] != scheme.count:
        raise InputError(
            f"There are {points.shape[1]} points where scheme {scheme.name!r} has {scheme.count}; "
            "name the scheme that the points follow."
        )
    _require_finite("true", points, visible)
    if name in BOX_NORMALISERS:
        sides = _box_sides(name, boxes, len(points))
        if name == "side":
            return sides.max(axis=-1)
        return np.sqrt(sides.prod(axis=-1)) if name == "face_size" else np.hypot(*sides.T)
    # A hidden point, which may hold anything, leaves undefined what needs it.
    points = np.where(visible[..., None], points, np.nan)
    if name == "landmark_box":
        size = np.sqrt((np.fmax.reduce(points, axis=1) - np.fmin.reduce(points, axis=1)).prod(-1))
    else:
        a, b = _eyes(name, points, visible, scheme)
        size = np.linalg.norm(a - b, axis=-1)
    return np.where(size > 0, size, np.nan)


def _eyes(
    name: str, points: Errors, visible: NDArray[np.bool_], scheme: Scheme
) -> tuple[Errors, Errors]:
    """The two points [n, 2] between which the eyes' distance is measured."""
    if name == "inter_pupil":
        centres, _ = convert(points, visible, scheme, FIVE)
        return centres[:, 0], centres[:, 1]
    if scheme.name not in OUTER_EYE_CORNERS:
        raise InputError(
            f"Scheme {scheme.name!r} has no outer eye corners; use inter_pupil or face_size."
        )
    left, right = OUTER_EYE_CORNERS[scheme.name]
    return points[:, left], points[:, right]


def _box_sides(name: str, boxes: ArrayLike | None, count: int) -> Errors:
    if boxes is None:
        raise InputError(f"Normaliser {name!r} needs the faces' boxes; give them as (x, y, w, h).")
    boxes = np.asarray(boxes, np.float64)
    if boxes.shape != (count, 4):
        raise InputError(
            f"The boxes have shape {boxes.shape}; give one (x, y, w, h) for each of the "
            f"{count} images."
        )
    sides = boxes[:, 2:]
    bad = ~(np.isfinite(sides) & (sides > 0)).all(axis=-1)
    if bad.any():
        raise InputError(
            f"The box of {_which(bad)} has a width or height that is not positive; remove such "
            "faces before the evaluation."
        )
    return sides


def _check_points(points: Errors, visible: NDArray[np.bool_]) -> None:
    if points.ndim != 3 or points.shape[-1] != 2:
        raise InputError(f"Points have shape {points.shape}; give [images, points, 2].")
    if visible.shape != points.shape[:2]:
        raise InputError(
            f"The visibility has shape {visible.shape}; give one flag for each of the points, "
            f"{points.shape[:2]}."
        )
    if not visible.size:
        raise InputError("There is no image to evaluate; check the split's name and its filters.")


def _require_finite(kind: str, points: Errors, visible: NDArray[np.bool_]) -> None:
    bad = (visible & ~np.isfinite(points).all(axis=-1)).any(axis=-1)
    if bad.any():
        raise InputError(
            f"A visible {kind} point of {_which(bad)} is not a finite number; mark it invisible "
            "or remove the image, since it cannot be averaged."
        )


def _measured(errors: ArrayLike) -> Errors:
    """The errors without the excluded images, checked."""
    errors = np.asarray(errors, np.float64)
    if errors.ndim != 1 or not errors.size:
        raise InputError(f"Errors have shape {errors.shape}; give one number for at least 1 image.")
    measured = errors[~np.isnan(errors)]
    if not measured.size:
        raise InputError(
            f"None of the {errors.size} images has a visible point and a defined normaliser; "
            "there is nothing to average."
        )
    if not np.isfinite(measured).all() or (measured < 0).any():
        raise InputError("Errors must be finite and not negative; compute them from finite points.")
    return measured


def _which(bad: ArrayLike) -> str:
    """ "image 3" or "3 images (first: 3)", for messages."""
    places = np.flatnonzero(bad)
    first = f"image {places[0]}"
    return first if len(places) == 1 else f"{len(places)} images (first: {places[0]})"
