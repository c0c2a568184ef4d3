"""From photographs and boxes to points, with a network that finds coloured dots."""

from pathlib import Path

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import lrjax
from lrjax.errors import InputError
from lrjax.geometry.points import FIVE, IBUG68_FIVE
from lrjax.inference import landmarks
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig, Prediction
from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.s2ld import LandmarkConfig

# Face sides in pixels of the photograph, and where their middles are.
SIDES = np.array([18.0, 32.0, 57.0, 150.0])
MIDDLES = np.array([[60.3, 40.8], [150.5, 60.25], [70.2, 140.6], [230.4, 190.9]])


def boxes_of(middles: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Square boxes: the centre of x .. x + w - 1 is x + (w - 1) / 2."""
    return np.concatenate([middles - (sides[:, None] - 1) / 2, np.stack([sides, sides], 1)], axis=1)


@pytest.mark.parametrize(
    "options",
    [
        {"flip": False, "passes": 1},
        {"flip": True, "passes": 1},
        {"flip": False, "passes": 1, "scales": (0.9, 1.0, 1.2)},
        {"flip": True, "passes": 2, "scales": (0.95, 1.05)},
    ],
)
def test_points_come_back_in_photograph_pixels(find_dots, draw_dots, face, options) -> None:
    truth = MIDDLES[:, None] + face * (SIDES / 32)[:, None, None]
    photo = draw_dots(truth, SIDES, (320, 330))
    predictor = find_dots(**options)
    # One at a time: the other faces would be in view.
    for i in range(len(SIDES)):
        alone = draw_dots(truth[i : i + 1], SIDES[i : i + 1], (320, 330))
        found = predictor(np.asarray(alone), boxes_of(MIDDLES, SIDES)[i])
        assert found.points.shape == (1, 5, 2)
        np.testing.assert_allclose(found.points[0], truth[i], atol=0.006 * SIDES[i])
    assert photo.size == (330, 320)


def test_faces_of_one_photograph_and_of_several_agree(find_dots, draw_dots, face) -> None:
    sides, middles = np.full(3, 24.0), np.array([[40, 40], [140, 44.5], [90.5, 120]])
    truth = middles[:, None] + face * (24 / 32)
    photo = draw_dots(truth, sides, (170, 180))
    boxes = boxes_of(middles, sides)
    predictor = find_dots()
    together = predictor(photo, boxes)
    np.testing.assert_allclose(together.points, truth, atol=0.15)
    assert together.image.tolist() == [0, 0, 0]
    array = np.asarray(photo)
    apart = predictor([array, photo, array], boxes)
    np.testing.assert_allclose(apart.points, together.points, atol=1e-5)
    assert apart.image.tolist() == [0, 1, 2]
    mixed = predictor([array, array], [boxes[:2], boxes[2]])
    np.testing.assert_allclose(mixed.points, together.points, atol=1e-5)
    assert mixed.image.tolist() == [0, 0, 1]
    one = predictor(photo, boxes[1])
    np.testing.assert_allclose(one.points[0], together.points[1], atol=1e-3)


def test_many_faces_keep_their_order(find_dots, draw_dots, face) -> None:
    """More than one batch, the last one not full."""
    count = 45
    middles = 14.0 + 28.0 * np.stack([np.arange(count) % 9, np.arange(count) // 9], axis=1)
    truth = middles[:, None] + face * (18 / 32)
    photo = draw_dots(truth, np.full(count, 18.0), (150, 260))
    found = find_dots(passes=1)(photo, boxes_of(middles, np.full(count, 18.0)))
    np.testing.assert_allclose(found.points, truth, atol=0.2)


def test_the_second_pass_follows_the_points(find_dots, draw_dots, face) -> None:
    """A box that cuts the view's edge through two dots is made good by looking again."""
    truth = np.array([60.0, 60.0]) + face[None]
    photo = draw_dots(truth, np.array([32.0]), (120, 120))
    box = boxes_of(np.array([[60.0, 76.0]]), np.array([32.0]))
    errors = [
        np.abs(find_dots(passes=passes)(photo, box).points - truth).max() for passes in (1, 3)
    ]
    assert errors[0] > 0.5
    assert errors[1] < 0.15


def test_only_a_face_that_asks_for_another_crop_is_looked_at_again(
    find_dots, draw_dots, face, monkeypatch
) -> None:
    middles = np.array([[60.0, 60.0], [180.0, 60.0]])
    photo = draw_dots(middles[:, None] + face, np.full(2, 32.0), (120, 240))
    predictor, looks = find_dots(passes=3), []
    look = predictor._look
    monkeypatch.setattr(
        predictor, "_look", lambda p, owner, c: looks.append(c.centre) or look(p, owner, c)
    )
    # The middle that the points ask for, of a box that is right and of one that is not.
    right = predictor(photo, boxes_of(middles[:1], np.full(1, 32.0)))
    asked = looks[-1][0]
    looks.clear()
    boxes = boxes_of(np.stack([asked, middles[1] + [0.0, 12.0]]), np.full(2, 32.0))
    found = predictor(photo, boxes)
    assert len(looks[0]) == 2
    assert all(len(again) == 1 for again in looks[1:])
    assert len(looks) > 1
    np.testing.assert_allclose(found.points[0], right.points[0], atol=0.2)
    np.testing.assert_allclose(found.points[1], middles[1] + face, atol=0.2)


def test_a_turned_face_is_looked_at_upright(find_dots, draw_dots, face) -> None:
    """At 60 degrees an eye is in the wrong half of an unturned view, and not of a turned one."""
    for degrees in (-38.0, 38.0):
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        truth = np.array([80.3, 77.6]) + face[None] @ turn.T
        photo = draw_dots(truth, np.array([32.0]), (160, 160))
        box = boxes_of(np.array([[80.0, 78.0]]), np.array([32.0]))
        level = find_dots(passes=3)(photo, box)
        upright = find_dots(passes=3, upright=True)(photo, box)
        assert np.abs(level.points - truth).max() > 1
        np.testing.assert_allclose(upright.points, truth, atol=0.2)


def test_each_image_is_one_face_crop(find_dots, draw_dots, face) -> None:
    predictor = find_dots(passes=1)
    photos, truths = [], []
    for width, height in ((24, 30), (40, 36)):
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        truths.append(middle + face * (width / 40))
        photos.append(draw_dots(truths[-1][None], np.array([width]), (height, width)))
    found = predictor(photos, "whole")
    np.testing.assert_allclose(found.points, truths, atol=0.2)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 24, 30], [0, 0, 40, 36]])


def test_faces_are_found_where_there_are_no_boxes(find_dots) -> None:
    """In the images where there are any; the boxes are those of `lrjax.detect`."""
    crowd, _ = drawn.crowd()
    found = find_dots(passes=1)([np.zeros((40, 40, 3), np.uint8), crowd])
    assert found.image.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(found.boxes, lrjax.detect(crowd).boxes)
    assert found.points.shape == (3, 5, 2)
    with pytest.raises(InputError, match=r"Boxes are 'all'; give .* or 'whole'"):
        find_dots(passes=1)(crowd, "all")


def test_confidence_is_high_for_a_peak_of_the_trained_width(find_dots) -> None:
    """A view with Gaussians of the configured sigma, and one without a face."""
    predictor = find_dots(flip=False)
    rows, columns = np.indices((32, 32))

    def dot(x: float, y: float) -> np.ndarray:
        return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.2**2))

    view = np.stack([dot(8, 10) + dot(23, 10), dot(15, 17), dot(9, 24) + dot(22, 24)], axis=-1)
    pixels = np.stack([255 * view, np.full((32, 32, 3), 128.0)]).astype(np.uint8)
    points, sure = predictor.predict_crops(pixels)
    np.testing.assert_allclose(
        points[0], [[8, 10], [23, 10], [15, 17], [9, 24], [22, 24]], atol=0.02
    )
    assert sure[0].min() > 0.9
    assert sure[0].max() <= 1
    assert sure[1].max() < 0.05


def test_points_are_converted(tiny_weights, draw_dots, face) -> None:
    photo = draw_dots(30 + face[None], np.array([32.0]), (60, 60))
    predictor = LandmarkPredictor.load(tiny_weights)
    native, five = (predictor(photo, "whole", points) for points in ("native", "five"))
    assert native.points.shape == (1, 68, 2)
    assert five.scheme == FIVE
    np.testing.assert_allclose(five.points[0, 0], native.points[0, 36:42].mean(0), rtol=1e-5)
    np.testing.assert_allclose(five.points[0, 2:], native.points[0, [30, 48, 54]])
    eye = native.point_confidence[0, 36:42].mean()
    np.testing.assert_allclose(five.point_confidence[0, 0], eye, rtol=1e-5)
    np.testing.assert_allclose(five.confidence, five.point_confidence.mean(1), rtol=1e-6)
    read_off = predictor(photo, "whole", points="five_of_ibug68")
    np.testing.assert_array_equal(read_off.points, five.points)
    with pytest.raises(InputError, match="'six' are unknown; choose native, ibug68"):
        predictor(photo, "whole", points="six")


def test_five_points_of_its_own_are_not_those_read_off_68() -> None:
    rng = np.random.default_rng(0)
    points, sure = rng.normal(size=(2, 73, 2)).astype(np.float32), rng.random((2, 73))
    found = Prediction(points, sure.mean(1), sure, np.zeros((2, 4)), np.arange(2), IBUG68_FIVE)
    own, read_off = found.converted("five"), found.converted("five_of_ibug68")
    np.testing.assert_array_equal(own.points, points[:, 68:])
    np.testing.assert_allclose(own.point_confidence, sure[:, 68:])
    np.testing.assert_array_equal(read_off.points[:, 2:], points[:, [30, 48, 54]])
    np.testing.assert_allclose(read_off.points[:, 0], points[:, 36:42].mean(1), rtol=1e-5)
    for fewer in ("ibug68", "five"):
        with pytest.raises(InputError, match=f"learned {fewer} points, and not ibug68_five"):
            found.converted(fewer).converted("ibug68_five")


def test_no_more_points_than_the_network_has(find_dots) -> None:
    with pytest.raises(InputError, match="five points cannot be converted to ibug68"):
        find_dots().scheme_of("ibug68")


def test_no_faces(find_dots) -> None:
    found = find_dots()(np.zeros((20, 30, 3), np.uint8), np.zeros((0, 4)))
    assert found.points.shape == (0, 5, 2)
    assert found.confidence.shape == (0,)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 0, 5), "Image 0 of 30x20 pixels: the box has no area"),
        ((0, 0, 5, -1), "the box has no area"),
        ((0, 0, 5, np.nan), "the box is not finite"),
        ((30, 0, 5, 5), "the box lies outside the image"),
        ((0, -5, 5, 5), "the box lies outside the image"),
        ((0, 0, 0.1, 0.1), "smaller than a pixel"),
        ((-900, -900, 2000, 2000), "far larger than the image"),
        ((1, 2, 3), "Boxes have shape"),
    ],
)
def test_boxes_that_cannot_be_used(find_dots, box, message) -> None:
    with pytest.raises(InputError, match=message):
        find_dots()(np.zeros((20, 30, 3), np.uint8), [box])


@pytest.mark.parametrize("boxes", [5, "boxes.csv", [(0, 0, 5, 5), (0, 0)], [[[[1, 2, 3, 4]]]]])
def test_boxes_are_an_array_of_numbers(find_dots, boxes) -> None:
    with pytest.raises(InputError, match=r"give \[n, 4\] as x, y, w, h"):
        find_dots()(np.zeros((20, 30, 3), np.uint8), boxes)


def test_as_many_boxes_as_images(find_dots) -> None:
    images = [np.zeros((20, 30, 3), np.uint8)] * 3
    with pytest.raises(InputError, match="boxes for 2 images and 3 images"):
        find_dots()(images, [[0, 0, 9, 9], [0, 0, 9, 9]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": 0}, "passes is 0"),
        ({"scales": ()}, "scales is"),
        ({"scales": (1.0, 0.0)}, "scales is"),
        ({"passes": 1, "upright": True}, "upright needs passes"),
    ],
)
def test_options_are_checked(options, message) -> None:
    with pytest.raises(InputError, match=message):
        PredictConfig(**options)


@pytest.mark.parametrize(("backend", "sizes"), [("cpu", (1, 8)), ("gpu", (1, 8, 32))])
def test_few_sizes_of_batch_are_compiled(find_dots, monkeypatch, backend, sizes) -> None:
    """One for a single view, one for few and, on an accelerator, one for many."""
    predictor = find_dots()
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert landmarks.sizes() == sizes
    landmarks.forward.clear_cache()
    for count in (1, 2, 7, 9, 32, 33, 64, 71, 1):
        predictor.predict_crops(np.zeros((count, 32, 32, 3), np.uint8))
    assert landmarks.forward._cache_size() == len(sizes)
    assert predictor.predict_crops(np.zeros((71, 32, 32, 3), np.uint8))[0].shape == (71, 5, 2)
    assert jnp.isfinite(predictor.predict_crops(np.zeros((2, 32, 32, 3), np.uint8))[0]).all()


def test_points_that_are_not_finite_are_not_given(tmp_path: Path) -> None:
    """A variance below zero has no square root; each number of the file is finite."""
    config = LandmarkConfig(points="five", stem=4, widths=(4,), size=16, decoder="soft")
    variables = tiny.filled(build(config).shapes())
    variables["batch_stats"] = jax.tree.map(lambda leaf: leaf - 5, variables["batch_stats"])
    weights.save(tmp_path / "net.safetensors", config, variables, {})
    predictor = LandmarkPredictor.load(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"net\.safetensors finds points that are not finite; its"):
        predictor(np.zeros((20, 30, 3), np.uint8), [[0, 0, 9, 9]])
