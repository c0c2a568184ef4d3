"""Landmark errors against a literal transcription of the reference script and hand values."""

import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.evaluation import landmarks
from lrjax.geometry.points import AFLW19, FIVE, IBUG68


def reference_auc(errors: np.ndarray, limit: float) -> float:
    """The reference script's loop over thresholds, with its own trapezoid."""
    thresholds = [limit * i / 1999 for i in range(2000)]
    shares = [sum(error < t for error in errors.tolist()) / len(errors) for t in thresholds]
    area = sum(
        (thresholds[i + 1] - thresholds[i]) * (shares[i + 1] + shares[i]) / 2 for i in range(1999)
    )
    return 100 * area / limit


def test_auc_is_the_reference_scripts() -> None:
    errors = np.random.default_rng(0).gamma(2.0, 0.02, 40)
    for limit in (0.07, 0.08):
        assert landmarks.area_under_ced(errors, limit) == pytest.approx(
            reference_auc(errors, limit), abs=1e-9
        )


def test_risks_by_hand() -> None:
    errors = np.array([0.02, np.nan, 0.08, 0.04, 0.06])
    # The surest is the first, then the last two, of which one comes first, then 0.08.
    found = landmarks.risk_coverage(errors, [0.9, 1.0, 0.1, 0.5, 0.5])
    np.testing.assert_allclose(found, [0.02, 0.03, 0.04, 0.05])
    # What is best sorted has the least area, and the reverse the most.
    known = np.nan_to_num(errors)
    best, worst = (landmarks.risk_coverage(errors, sign * known).mean() for sign in (-1, 1))
    assert best < 0.05 < worst


@pytest.mark.parametrize("confidence", [[0.1, 0.2], [0.1, np.nan, 0.3]])
def test_risks_need_a_confidence_for_each(confidence: list[float]) -> None:
    with pytest.raises(InputError, match="give one for each of the 3 images"):
        landmarks.risk_coverage([0.1, 0.2, 0.3], confidence)


def test_auc_of_perfect_and_of_failed_images() -> None:
    # Strictly below: no image counts at threshold 0, which takes half of the first of the 1,999
    # steps away from a perfect method.
    perfect = landmarks.summary(np.zeros(5))
    assert perfect["auc@0.07"] == pytest.approx(100 * (1 - 0.5 / 1999), abs=1e-9)
    assert perfect["auc@0.07"] == pytest.approx(99.975, abs=1e-3)
    assert perfect["failure@0.08"] == 0.0
    failed = landmarks.summary(np.array([0.08, 0.1]))
    assert failed["auc@0.08"] == 0.0
    assert failed["accuracy@0.08"] == 0.0
    assert failed["failure@0.08"] == 100.0


def test_auc_of_one_error_is_the_rest_of_the_range() -> None:
    assert landmarks.area_under_ced([0.02], 0.08) == pytest.approx(75.0, abs=100 / 1999)


def test_summary_by_hand() -> None:
    values = landmarks.summary(np.array([0.01, 0.03, np.nan, 0.075, 0.085]))
    assert values["count"] == 4
    assert values["excluded"] == 1
    assert values["nrmse"] == pytest.approx(5.0)
    # Population deviation: sqrt((16 + 4 + 6.25 + 12.25) / 4).
    assert values["std"] == pytest.approx(np.sqrt(38.5 / 4))
    assert values["median"] == pytest.approx(5.25)
    assert values["accuracy@0.07"] == pytest.approx(50.0)
    assert values["accuracy@0.08"] == pytest.approx(75.0)
    assert values["failure@0.08"] == pytest.approx(25.0)


def test_full_300w_is_the_weighted_mean_of_its_parts() -> None:
    # Kumar & Chellappa, Table 4: HR-LD 3.60 on 554 and 7.301 on 135 images gives 4.325 on all.
    errors = np.concatenate([np.full(554, 0.0360), np.full(135, 0.07301)])
    values = landmarks.summary(errors)
    assert values["count"] == 689
    assert values["nrmse"] == pytest.approx(4.325, abs=5e-4)


def test_ced_counts_strictly_smaller_errors() -> None:
    errors = [0.03, 0.01, np.nan, 0.02, 0.02]
    np.testing.assert_allclose(
        landmarks.ced(errors, [0.0, 0.01, 0.02, 0.025, 0.04]), [0, 0, 0.25, 0.75, 1]
    )


def test_errors_average_visible_points_only() -> None:
    truth = np.zeros((2, 3, 2))
    pred = np.array([[[3, 4], [0, 0], [np.inf, 0]], [[6, 8], [0, 5], [1, 0]]], float)
    visible = np.array([[True, True, False], [True, False, False]])
    truth[0, 2] = np.inf
    errors = landmarks.normalised_errors(pred, truth, visible, [50.0, 20.0])
    np.testing.assert_allclose(errors, [5 / 2 / 50, 10 / 20])
    assert errors.dtype == np.float64


def test_images_without_a_visible_point_or_normaliser_are_excluded() -> None:
    truth = np.zeros((3, 2, 2))
    visible = np.array([[True, True], [False, False], [True, True]])
    errors = landmarks.normalised_errors(truth + 3.0, truth, visible, [30.0, 30.0, np.nan])
    np.testing.assert_array_equal(np.isnan(errors), [False, True, True])
    assert landmarks.summary(errors)["excluded"] == 2
    with pytest.raises(InputError, match="None of the 2 images"):
        landmarks.summary(errors[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": np.full((2, 3, 2), np.nan)}, "predicted point of 2 images"),
        ({"truth": np.full((2, 3, 2), np.inf)}, "true point of 2 images"),
        ({"pred": np.zeros((2, 4, 2))}, "Predicted points have shape"),
        ({"pred": np.zeros((2, 2, 2))}, "Predicted points have shape"),
        ({"visible": np.ones((3, 2), bool)}, "visibility has shape"),
        ({"visible": np.ones((1, 3), bool)}, "visibility has shape"),
        ({"normaliser": [10.0]}, "normaliser has shape"),
        ({"normaliser": [10.0] * 3}, "normaliser has shape"),
        ({"normaliser": [10.0, 0.0]}, "normaliser of image 1 is not a positive number"),
        ({"normaliser": [-10.0, 10.0]}, "normaliser of image 0 is not a positive number"),
        ({"normaliser": [np.inf, 10.0]}, "normaliser of image 0 is not a positive number"),
        ({"truth": np.zeros((3, 2))}, r"give \[images, points, 2\]"),
        ({"truth": np.zeros((2, 3, 1))}, r"give \[images, points, 2\]"),
        ({"truth": np.zeros((2, 3, 3))}, r"give \[images, points, 2\]"),
        (
            {"truth": np.zeros((0, 3, 2)), "visible": np.zeros((0, 3), bool)},
            "no image to evaluate",
        ),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    good = {
        "pred": np.zeros((2, 3, 2)),
        "truth": np.zeros((2, 3, 2)),
        "visible": np.ones((2, 3), bool),
        "normaliser": [10.0, 10.0],
    }
    with pytest.raises(InputError, match=message):
        landmarks.normalised_errors(**good | change)


@pytest.mark.parametrize("errors", [[], [-0.1], [np.inf], [[0.1]]])
def test_bad_errors_are_refused(errors: list) -> None:
    with pytest.raises(InputError):
        landmarks.summary(errors)


def test_auc_limit_must_be_positive() -> None:
    for limit in (0.0, -0.07):
        with pytest.raises(InputError, match="not positive"):
            landmarks.area_under_ced([0.1], limit)


def test_box_normalisers() -> None:
    points, visible = np.zeros((1, 5, 2)), np.ones((1, 5), bool)
    boxes = np.array([[7, 9, 30, 40]])
    values = {
        name: landmarks.normaliser(name, points, boxes, visible, FIVE)[0]
        for name in ("face_size", "side", "diag")
    }
    assert values == pytest.approx({"face_size": np.sqrt(1200), "side": 40, "diag": 50})


def test_landmark_box_is_tight_around_visible_points() -> None:
    points = np.array([[[2, 3], [10, 4], [5, 21], [90, 90], [4, 4]]], float)
    visible = np.array([[True, True, True, False, True]])
    size = landmarks.normaliser("landmark_box", points, None, visible, FIVE)
    assert size == pytest.approx([np.sqrt(8 * 18)])
    alone = np.array([[True, False, False, False, False]])
    assert np.isnan(landmarks.normaliser("landmark_box", points, None, alone, FIVE)).all()
    assert np.isnan(landmarks.normaliser("landmark_box", points, None, ~visible & alone, FIVE))


def test_eye_distances_of_68_points() -> None:
    points = np.random.default_rng(1).uniform(0, 100, (4, 68, 2))
    visible = np.ones((4, 68), bool)
    ocular = landmarks.normaliser("inter_ocular", points, None, visible, IBUG68)
    pupil = landmarks.normaliser("inter_pupil", points, None, visible, IBUG68)
    np.testing.assert_allclose(ocular, np.hypot(*(points[:, 36] - points[:, 45]).T))
    centres = points[:, 36:42].mean(axis=1) - points[:, 42:48].mean(axis=1)
    np.testing.assert_allclose(pupil, np.hypot(*centres.T))


def test_inter_pupil_error_is_larger_than_inter_ocular() -> None:
    # Eyes with outer corners 30 apart, each 10 wide: centres are 20 apart, a ratio of 1.5.
    truth, visible = np.zeros((1, 68, 2)), np.ones((1, 68), bool)
    truth[0, 36:42, 0], truth[0, 42:48, 0] = [0, 3, 7, 10, 7, 3], [20, 23, 27, 30, 27, 23]
    errors = {
        name: landmarks.normalised_errors(
            truth + np.array([0, 3.0]),
            truth,
            visible,
            landmarks.normaliser(name, truth, None, visible, IBUG68),
        )
        for name in ("inter_ocular", "inter_pupil")
    }
    assert errors == {"inter_ocular": pytest.approx([0.1]), "inter_pupil": pytest.approx([0.15])}


def test_eye_distances_of_19_and_five_points() -> None:
    points, visible = np.zeros((2, 19, 2)), np.ones((2, 19), bool)
    points[:, 6], points[:, 11] = [0, 0], [30, 40]
    points[:, 7], points[:, 10] = [5, 0], [5, 12]
    visible[1, 11] = visible[1, 7] = False
    points[1, 7] = np.inf
    ocular = landmarks.normaliser("inter_ocular", points, None, visible, AFLW19)
    pupil = landmarks.normaliser("inter_pupil", points, None, visible, AFLW19)
    np.testing.assert_allclose(ocular, [50, np.nan])
    np.testing.assert_allclose(pupil, [12, np.nan])
    five = np.zeros((1, 5, 2))
    five[0, 1] = [0, 7]
    seen = np.ones((1, 5), bool)
    assert landmarks.normaliser("inter_pupil", five, None, seen, FIVE) == pytest.approx([7])
    with pytest.raises(InputError, match="no outer eye corners"):
        landmarks.normaliser("inter_ocular", five, None, seen, FIVE)


def test_coinciding_eyes_leave_the_normaliser_undefined() -> None:
    points, visible = np.ones((1, 5, 2)), np.ones((1, 5), bool)
    assert np.isnan(landmarks.normaliser("inter_pupil", points, None, visible, FIVE)).all()


@pytest.mark.parametrize(
    ("name", "boxes", "message"),
    [
        ("eyes", None, "unknown; choose one of face_size, side"),
        ("side", None, "needs the faces' boxes"),
        ("side", [[0, 0, 5, 5]], "boxes have shape"),
        ("side", [[0, 0, 5, 5]] * 3, "boxes have shape"),
        ("side", [[0, 0, 5, 5], [0, 0, -5, 5]], "box of image 1 has a width or height"),
        ("diag", [[0, 0, 5, 5], [0, 0, 5, 0]], "box of image 1 has a width or height"),
        ("diag", [[0, 0, 5, np.nan], [0, 0, 5, 5]], "box of image 0"),
    ],
)
def test_bad_normalisers_are_refused(name: str, boxes: list | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        landmarks.normaliser(name, np.zeros((2, 5, 2)), boxes, np.ones((2, 5), bool), FIVE)


def test_scheme_must_fit_the_points() -> None:
    with pytest.raises(InputError, match="5 points where scheme 'ibug68' has 68"):
        landmarks.normaliser("diag", np.zeros((1, 5, 2)), None, np.ones((1, 5), bool), IBUG68)
    with pytest.raises(InputError, match="68 points where scheme 'five' has 5"):
        landmarks.normaliser("diag", np.zeros((1, 68, 2)), None, np.ones((1, 68), bool), FIVE)
