"""Augmentation moves points with the pixels, and each photometric change does what it is named."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from lrjax.config import AugmentConfig
from lrjax.data import augment
from lrjax.geometry.points import FIVE, IBUG68
from lrjax.geometry.transforms import warp

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
# Compiled whole: operation by operation, each would be compiled alone.
random_transforms = jax.jit(augment.random_transforms, static_argnums=(1, 2, 3))
photometry = jax.jit(augment.photometry, static_argnums=2)
occlusion = jax.jit(augment.occlusion, static_argnums=2)
tight_crop = jax.jit(augment.tight_crop, static_argnums=(3, 4, 5))
mirror = jax.jit(augment.mirror, static_argnums=4)
to_crop = jax.jit(augment.to_crop)
OFF = AugmentConfig(rotation=0.0, scale=(1.0, 1.0), translation=0.0)
FRAME, CROP = 48, 32


def keys(count: int, seed: int = 0) -> jax.Array:
    """Keys of so many examples."""
    return jax.random.split(jax.random.key(seed), count)


def dots(points: np.ndarray, side: int) -> jax.Array:
    """Images [B, side, side, 3] of one soft dot each, at points [B, 2]."""
    y, x = np.mgrid[:side, :side]
    squares = [(x - a) ** 2 + (y - b) ** 2 for a, b in points]
    light = 255 * np.exp(-np.stack(squares) / (2 * 1.5**2))
    return jnp.asarray(light[..., None].repeat(3, -1), jnp.float32)


def centroids(images: jax.Array) -> np.ndarray:
    """Where the light of images [B, H, W, 3] is, [B, 2] as (x, y)."""
    light = np.asarray(images)[..., 0]
    total, place = light.sum((1, 2)), np.arange(light.shape[1])
    return np.stack([light.sum(1) @ place, light.sum(2) @ place], axis=-1) / total[:, None]


def test_points_follow_pixels() -> None:
    points = RNG.uniform(18, 30, (16, 2)).astype(np.float32)
    config = AugmentConfig(rotation=30.0, scale=(0.8, 1.25), translation=0.1)
    crop_to_frame = random_transforms(keys(16), FRAME, CROP, config)
    seen = warp(dots(points, FRAME), crop_to_frame, CROP)
    moved = to_crop(jnp.asarray(points)[:, None], crop_to_frame)[:, 0]
    np.testing.assert_allclose(centroids(seen), moved, atol=0.05)
    assert np.abs(moved - (points - 8)).max() > 2


def test_a_crop_shows_what_scipy_shows() -> None:
    image = RNG.uniform(0, 255, (FRAME, FRAME)).astype(np.float32)
    config = AugmentConfig(rotation=20.0, scale=(0.9, 1.1), translation=0.05)
    (a,) = np.asarray(random_transforms(keys(1), FRAME, CROP, config))
    # SciPy indexes (y, x).
    turned = affine_transform(image, a[::-1, 1::-1], a[::-1, 2], output_shape=(CROP, CROP), order=1)
    ours = warp(jnp.asarray(image)[None, ..., None], jnp.asarray(a)[None], CROP)[0, ..., 0]
    np.testing.assert_allclose(ours, turned, atol=0.05)


def test_crops_stay_within_what_is_configured() -> None:
    config = AugmentConfig(rotation=30.0, scale=(0.5, 2.0), translation=20 / 128)
    a = np.asarray(random_transforms(keys(500), FRAME, CROP, config), np.float64)
    scale = np.sqrt(np.linalg.det(a[:, :, :2]))
    angle = np.degrees(np.arctan2(a[:, 1, 0], a[:, 0, 0]))
    middle = (CROP - 1) / 2
    centre = a[:, :, :2] @ [middle, middle] + a[:, :, 2] - (FRAME - 1) / 2
    assert np.abs(angle).max() <= 30
    assert np.abs(angle).max() > 29
    assert 0.5 <= scale.min() < 0.52
    assert 1.95 < scale.max() <= 2.0001
    assert abs(np.median(np.log(scale))) < 0.1
    shift = np.abs(np.linalg.solve(a[:, :, :2], centre[..., None])).max()
    assert 0.95 * 5 < shift <= 5.001


def test_no_augmentation_is_the_middle_of_the_frame() -> None:
    images = jnp.asarray(RNG.integers(0, 256, (2, FRAME, FRAME, 3), dtype=np.uint8))
    plain = augment.center_transforms(FRAME, CROP, 2)
    np.testing.assert_allclose(random_transforms(keys(2), FRAME, CROP, OFF), plain, atol=1e-5)
    np.testing.assert_array_equal(warp(images, plain, CROP), images[:, 8:40, 8:40])
    points = jnp.asarray(RNG.uniform(8, 40, (2, 5, 2)), jnp.float32)
    np.testing.assert_allclose(to_crop(points, plain), points - 8, atol=1e-5)


def test_mirroring_twice_changes_nothing() -> None:
    images = jnp.asarray(RNG.uniform(0, 255, (3, 8, 8, 3)), jnp.float32)
    points = jnp.asarray(RNG.uniform(0, 8, (3, 68, 2)), jnp.float32)
    visible = jnp.asarray(RNG.random((3, 68)) < 0.5)
    which = jnp.asarray([True, False, True])
    once = mirror(images, points, visible, which, IBUG68)
    twice = mirror(*once, which, IBUG68)
    np.testing.assert_array_equal(twice[0], images)
    np.testing.assert_allclose(twice[1], points, atol=1e-5)
    np.testing.assert_array_equal(twice[2], visible)
    for ours, given in zip(once, (images, points, visible), strict=True):
        np.testing.assert_array_equal(ours[1], given[1])
        assert (ours[0] != given[0]).any()


def test_mirrored_points_follow_pixels_and_change_sides() -> None:
    points = RNG.uniform(6, 26, (5, 5, 2)).astype(np.float32)
    each = np.arange(5)
    visible = jnp.asarray(np.eye(5, dtype=bool))  # image i shows its point i
    images, moved, seen = mirror(
        dots(points[each, each], CROP), jnp.asarray(points), visible, jnp.ones(5, bool), FIVE
    )
    other = np.asarray(FIVE.flip)
    np.testing.assert_allclose(centroids(images), moved[each, other], atol=0.01)
    np.testing.assert_array_equal(seen, np.eye(5, dtype=bool)[:, other])


def test_photometry_that_is_off_changes_nothing_and_what_is_on_differs_by_example() -> None:
    images = jnp.asarray(RNG.uniform(20, 235, (4, 8, 8, 3)), jnp.float32)
    np.testing.assert_allclose(photometry(images, keys(4), OFF), images, atol=0.1)
    config = dataclasses.replace(OFF, brightness=0.2, contrast=0.4, gamma=0.4, colour=0.1, grey=0.5)
    changed = np.asarray(photometry(jnp.stack([images[0]] * 4), keys(4), config))
    assert len({image.tobytes() for image in changed}) == 4
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_each_photometric_change_is_what_it_is_called() -> None:
    image = RNG.uniform(60, 180, (8, 8, 3)).astype(np.float32)
    images = jnp.asarray(np.stack([image] * 64))

    def only(**fields: float) -> np.ndarray:
        config = dataclasses.replace(OFF, **fields)
        return np.asarray(photometry(images, keys(64), config), np.float64)

    shift = only(brightness=0.1) - image
    assert shift.std((1, 2, 3)).max() < 0.2  # the same for all pixels
    assert 20 < np.abs(shift).max() < 26
    contrast = only(contrast=0.4)
    np.testing.assert_allclose(contrast.mean((1, 2, 3)), image.mean(), atol=0.2)
    ratio = contrast.std((1, 2, 3)) / image.std()
    assert 0.59 < ratio.min() < 0.7
    assert 1.3 < ratio.max() < 1.41
    gain = only(colour=0.1) / image
    assert gain.std((1, 2)).max() < 2e-3  # the same for all pixels, not for all channels
    assert 0.89 < gain.min() < 0.93
    assert gain.std(-1).max() > 0.02
    power = np.log(only(gamma=0.4) / 255) / np.log(image / 255)
    assert 0.66 < power.min() < 0.75
    assert 1.3 < power.max() < 1.5
    grey = only(grey=0.3).std(-1).max((1, 2)) < 1e-3
    assert 8 < grey.sum() < 32


def test_an_occlusion_is_a_rectangle_of_one_colour() -> None:
    image = RNG.uniform(0, 255, (32, 32, 3)).astype(np.float32)
    config = dataclasses.replace(OFF, occlusion=0.5)
    covered = np.asarray(occlusion(jnp.asarray(np.stack([image] * 64)), keys(64), config))
    changed = (covered != image).any(-1)
    assert 8 < changed.any((1, 2)).sum() < 48
    for one, where in zip(covered, changed, strict=True):
        if where.any():
            rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
            assert where.sum() == len(rows) * len(columns)
            assert max(len(rows), len(columns)) <= 0.4 * 32 + 1
            assert len(np.unique(one[where], axis=0)) == 1
    assert (np.asarray(occlusion(jnp.asarray(image)[None], keys(1), OFF)) == image).all()


def test_a_tight_crop_is_black_around_the_face_box() -> None:
    white = jnp.full((64, 40, 40, 3), 255.0)
    config = dataclasses.replace(OFF, tight=0.5)
    middle = augment.center_transforms(60, 40, 64)
    cropped = np.asarray(tight_crop(white, keys(64), middle, 60, 1.25, config))
    tight = (cropped == 0).any((1, 2, 3))
    assert 16 < tight.sum() < 48
    for image in cropped[tight, ..., 0]:
        rows, columns = (image == 255).any(1).sum(), (image == 255).any(0).sum()
        assert (image == 255).sum() == rows * columns
        side = np.sqrt(rows * columns)
        assert 0.85 * 32 < side < 1.15 * 32  # the face square is 40 / 1.25
        assert rows >= columns  # faces are taller than wide
        assert image[20, 20] == 255
    np.testing.assert_array_equal(tight_crop(white, keys(64), middle, 60, 1.25, OFF), white)


def test_a_tight_crop_follows_the_face_and_leaves_every_visible_point() -> None:
    count, config = 64, AugmentConfig(rotation=30.0, scale=(0.8, 1.25), tight=1.0)
    crop_to_frame = random_transforms(keys(count, 1), 60, 40, config)
    # Points of the face square of 32 pixels, some of them hidden.
    points = to_crop(jnp.asarray(RNG.uniform(14, 46, (count, 19, 2)), jnp.float32), crop_to_frame)
    visible = RNG.random((count, 19)) < 0.7
    white = jnp.full((count, 40, 40, 3), 255.0)
    shown = np.asarray(
        tight_crop(white, keys(count), crop_to_frame, 60, 1.25, config, points, visible)
    )
    nearest = np.rint(points).astype(int)
    inside = visible & ((nearest >= 0) & (nearest < 40)).all(-1)
    face, point = np.nonzero(inside)
    x, y = nearest[face, point].T
    blacked_out = int((shown[face, y, x, 0] == 0).sum())
    assert (len(face) > 600, blacked_out) == (True, 0)
    # Without points, the box is about the face's centre, wherever that is, and as large as it is.
    alone = np.asarray(tight_crop(white, keys(count), crop_to_frame, 60, 1.25, config))
    there = np.asarray(to_crop(jnp.full((count, 1, 2), 29.5), crop_to_frame))[:, 0]
    whole = (alone[:, [0, -1]] == 0).all((1, 2, 3)) & (alone[:, :, [0, -1]] == 0).all((1, 2, 3))
    assert whole.sum() > 5
    np.testing.assert_allclose(centroids(alone)[whole], there[whole], atol=0.51)
    determinant = np.linalg.det(np.asarray(crop_to_frame)[:, :, :2])
    sides = np.sqrt((alone[..., 0] > 0).sum((1, 2)) * determinant)[whole]
    assert 0.85 * 32 < sides.min() < sides.max() < 1.15 * 32


def test_crops_are_shifted_by_whole_pixels_and_mirrored() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (40, 9, 8, 3), dtype=np.uint8)
    keys = jax.random.split(jax.random.key(0), 40)
    draw = jax.jit(partial(augment.random_crop, height=7, width=5, mirror=0.3))
    crops = np.asarray(draw(frames, keys))
    seen = []
    for frame, crop in zip(frames, crops, strict=True):
        (way,) = (
            (y, x, step)
            for y in range(3)
            for x in range(4)
            for step in (1, -1)
            if (frame[y : y + 7, x : x + 5][:, ::step] == crop).all()
        )
        seen.append(way)
    ys, xs, steps = map(np.array, zip(*seen, strict=True))
    assert set(ys) == {0, 1, 2}
    assert set(xs) == {0, 1, 2, 3}
    assert 0.05 < (steps < 0).mean() < 0.55
    # A frame's crop is its own key's.
    np.testing.assert_array_equal(draw(frames[30:], keys[30:]), crops[30:])
    assert (np.asarray(draw(frames, keys[::-1])) != crops).any()
    np.testing.assert_array_equal(
        jax.jit(partial(augment.random_crop, height=9, width=8, mirror=0.0))(frames, keys), frames
    )


def test_native_faces_keep_their_own_pixels() -> None:
    noise = RNG.integers(0, 256, (40, FRAME, FRAME, 3), dtype=np.uint8)
    config = AugmentConfig(rotation=30.0, scale=(0.8, 1.25), translation=0.1)
    transforms = np.asarray(augment.whole_pixel_transforms(keys(40), FRAME, CROP, config))
    starts = transforms[:, :, 2].astype(int)
    np.testing.assert_array_equal(transforms[:, :, :2], np.tile(np.eye(2), (40, 1, 1)))
    # The middle starts at 8, and a tenth of 32 pixels is 3.
    assert set(starts.ravel()) == set(range(5, 12))
    crops = np.asarray(warp(noise, transforms, CROP))
    for frame, (x, y), crop in zip(noise, starts, crops, strict=True):
        own = frame[y : y + CROP, x : x + CROP]
        np.testing.assert_array_equal(crop, own)
        assert crop.astype(np.float64).var() == own.astype(np.float64).var()
