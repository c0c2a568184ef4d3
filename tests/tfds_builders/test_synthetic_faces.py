"""The drawn faces: landmarks on what is drawn, visibility, people, cameras, records."""

import dataclasses
import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from lrjax.geometry.points import FIVE, IBUG68, convert, flip_points
from lrjax.tfds_builders.synthetic_faces import __main__ as preview
from lrjax.tfds_builders.synthetic_faces import faces, surfels
from lrjax.tfds_builders.synthetic_faces import synthetic_faces_dataset_builder as dataset
from lrjax.tfds_builders.synthetic_faces.anatomy import SHAPE
from lrjax.tfds_builders.synthetic_faces.camera import PoorCamera, take_poor
from lrjax.tfds_builders.synthetic_faces.parts import HAIR
from lrjax.tfds_builders.synthetic_faces.people import Shot
from lrjax.tfds_builders.synthetic_faces.scene import Head, render, rotation

STEP = 2.0
SIDE, SIZE = 100.0, 200
GREY = np.full(3, 0.5, np.float32)
BLACK = np.zeros((3, 60, 60), np.float32)
# A face in the middle of its shape, with nothing in front of it.
PLAIN = dataclasses.replace(
    faces.person(0, 0), shape=dict.fromkeys(SHAPE, 0.0), hair_style="bald", beard="none",
    glasses="none", freckles=0.0, blush=0.0, age=0.0, skin=GREY, brow_thickness=1.0, lashes=0.5,
)  # fmt: skip


def _shot(yaw: float = 0.0, pitch: float = 0.0, **expression: float) -> Shot:
    flat = np.stack([[0, 0, 1.0], np.full(3, 0.2), np.full(3, 0.8), np.full(3, 0.8)])
    return Shot(yaw, pitch, 0.0, 900.0, expression, np.zeros(2), flat, 0, seed=1)


def _where_changed(shot: Shot, **colours: np.ndarray) -> np.ndarray:
    """Per pixel, how much the picture changes with colours of the person."""
    before = render(Head(PLAIN, 1.4), shot, SIDE, SIZE).pixels
    after = render(Head(dataclasses.replace(PLAIN, **colours), 1.4), shot, SIDE, SIZE).pixels
    return np.abs(after - before).max(0)


def _centroid(weights: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.asarray([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("yaw", [0.0, 25.0, -25.0])
def test_irises_are_drawn_where_the_points_say(yaw: float) -> None:
    shot = _shot(yaw, blink=-0.25)
    picture = render(Head(PLAIN, STEP), shot, SIDE, SIZE)
    changed = _where_changed(shot, iris=np.asarray([1, 1, 1], np.float32))
    five, _ = convert(picture.points, picture.visible, IBUG68, FIVE)
    for eye in (0, 1):
        x, y = np.rint(five[eye]).astype(int)
        window = np.zeros_like(changed)
        window[y - 8 : y + 9, x - 11 : x + 12] = changed[y - 8 : y + 9, x - 11 : x + 12]
        found = _centroid(window)
        assert np.abs(found - picture.irises[eye]).max() < 1.0
        assert np.abs(found - five[eye]).max() < 1.2


@pytest.mark.parametrize("jaw", [0.0, 0.6])
def test_lips_are_drawn_where_the_points_say(jaw: float) -> None:
    shot = _shot(jaw=jaw)
    points = render(Head(PLAIN, STEP), shot, SIDE, SIZE).points
    changed = _where_changed(shot, lips=np.asarray([1, 0, 0], np.float32))
    rows, columns = np.nonzero(changed > 0.3 * changed.max())
    assert abs(columns.min() - points[48, 0]) < 2.5
    assert abs(columns.max() - points[54, 0]) < 2.5
    assert abs(rows.min() - points[50:53, 1].min()) < 1.5
    assert abs(rows.max() - points[56:59, 1].max()) < 1.5


def test_brows_are_drawn_where_the_points_say() -> None:
    shot = _shot(brow_raise=0.8)
    points = render(Head(PLAIN, STEP), shot, SIDE, SIZE).points
    changed = _where_changed(shot, brows=np.asarray([1, 1, 1], np.float32))
    left = changed * (np.arange(SIZE) < points[27, 0])
    # The brow is thicker inside than outside, so only its height is compared closely.
    assert abs(_centroid(left)[1] - points[17:22, 1].mean()) < 1.5
    assert abs(_centroid(left)[0] - points[17:22, 0].mean()) < 5


def test_the_outline_of_a_frontal_face_passes_through_the_jaw() -> None:
    shot = _shot()
    picture = render(Head(PLAIN, STEP), shot, SIDE, SIZE)
    bright = dataclasses.replace(PLAIN, skin=np.asarray([1, 0, 0], np.float32))
    # Ears lie beyond the upper jaw points, the neck below the lower ones: between them is outline.
    red = render(Head(bright, 1.4), shot, SIDE, SIZE).pixels[0]
    for jaw, outwards in ((3, -1), (13, 1)):
        x, y = picture.points[jaw]
        row = np.abs(np.diff(red[round(float(y))]))
        near = np.arange(len(row))[np.abs(np.arange(len(row)) + 0.5 - x) < 6]
        edge = near[row[near].argmax()] + 0.5
        assert abs(edge - x) < 4
        assert outwards * (edge - x) > -2


def test_points_agree_with_a_pinhole_camera_written_out_here() -> None:
    head, shot = Head(PLAIN, STEP), _shot(yaw=30, pitch=10, smile=0.5)
    picture = render(head, shot, SIDE, SIZE)
    p = head.landmarks(shot.expression).T[:68].astype(np.float64)
    pitch, yaw = np.radians([10, 30])
    # Nodding lowers the nose; then turning right moves it to larger x.
    y = p[:, 1] * np.cos(pitch) + p[:, 2] * np.sin(pitch)
    z = p[:, 2] * np.cos(pitch) - p[:, 1] * np.sin(pitch)
    x, z = p[:, 0] * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - p[:, 0] * np.sin(yaw)
    seen = np.stack([x, y], axis=1) / (900 - z)[:, None]
    design = np.concatenate([seen, np.ones((68, 1))], axis=1)
    solution, *_ = np.linalg.lstsq(design, picture.points, rcond=None)
    np.testing.assert_allclose(design @ solution, picture.points, atol=2e-3)
    scale = solution[0, 0]
    np.testing.assert_allclose(solution[:2], scale * np.eye(2), atol=1e-3 * scale)


def test_rotation_is_a_rotation() -> None:
    turn = rotation(20, -10, 30).astype(np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(rotation(90, 0, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rotation(0, 90, 0) @ [0, 0, 1], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(rotation(0, 0, 90) @ [1, 0, 0], [0, 1, 0], atol=1e-6)


def test_everything_shows_from_the_front_and_half_is_hidden_from_the_side() -> None:
    head = Head(PLAIN, STEP)
    assert render(head, _shot(), SIDE, SIZE).visible.all()
    # Turned to the viewer's right, the right half of the face is the far one.
    visible = render(head, _shot(yaw=62), SIDE, SIZE).visible
    assert visible[[0, 2, 5, 17, 19, 30, 31, 36, 37, 41, 48, 51]].all()
    assert not visible[[10, 11, 13, 14, 15, 16, 26, 45, 54]].any()
    slightly = render(head, _shot(yaw=12), SIDE, SIZE).visible
    assert slightly[17:].all()


@pytest.mark.parametrize("style", HAIR)
def test_hair_hides_no_landmark(style: str) -> None:
    head = Head(dataclasses.replace(PLAIN, hair_style=style, glasses="thick"), STEP)
    assert render(head, _shot(), SIDE, SIZE).visible.all()
    bare = render(Head(PLAIN, STEP), _shot(yaw=30), SIDE, SIZE).visible
    assert (render(head, _shot(yaw=30), SIDE, SIZE).visible | ~bare).all()


def test_a_mirrored_pose_gives_mirrored_points() -> None:
    head = Head(PLAIN, STEP)
    right, left = (render(head, _shot(yaw=yaw, jaw=0.3), SIDE, SIZE) for yaw in (40, -40))
    points, visible = flip_points(left.points, left.visible, SIZE, IBUG68)
    np.testing.assert_allclose(points, right.points, atol=0.01)
    assert (visible != right.visible).sum() <= 2


def test_the_face_lies_in_the_middle_at_the_size_asked_for() -> None:
    picture = render(Head(PLAIN, STEP), _shot(yaw=20), 80.0, 195, shift=(3.0, -2.0))
    shown = picture.points[picture.visible].astype(np.float64)
    low, high = shown.min(0), shown.max(0)
    width, height = high[0] - low[0], 1.2 * (high[1] - low[1])
    assert np.sqrt(width * height) == pytest.approx(80, abs=0.01)
    middle = [(low[0] + high[0]) / 2, high[1] - height / 2]
    np.testing.assert_allclose(middle, [97 + 3, 97 - 2], atol=0.01)
    np.testing.assert_allclose(picture.face_box[2:], [width, height], atol=0.01)


def test_expressions_move_what_they_are_named_for() -> None:
    head = Head(PLAIN, STEP)
    rest = head.landmarks({})
    opened = head.landmarks({"jaw": 1}) - rest
    assert opened[1, 66] > 18
    assert opened[1, 8] > 15
    assert abs(opened[1, 62]) < 1.5
    np.testing.assert_allclose(opened[:, [30, 36, 45, 19]], 0, atol=0.2)
    smile = head.landmarks({"smile": 1}) - rest
    assert smile[1, 48] < -3
    assert smile[0, 48] < -3 < 3 < smile[0, 54]
    shut = head.landmarks({"blink": 1})
    gap = lambda p: p[1, [41, 40, 47, 46]] - p[1, [37, 38, 43, 44]]  # noqa: E731
    assert (gap(shut) < 0.1 * gap(rest)).all()
    assert (gap(rest) > 6).all()
    raised = head.landmarks({"brow_raise": 1}) - rest
    assert (raised[1, 18:21] < -4).all()


def test_an_open_mouth_shows_its_dark_inside() -> None:
    picture = render(Head(PLAIN, STEP), _shot(jaw=1), SIDE, SIZE)
    x, y = picture.points[[62, 66]].mean(0)
    inside = picture.pixels[:, round(float(y)) - 2 : round(float(y)) + 3, round(float(x))].mean()
    cheek = picture.pixels[:, round(float(picture.points[33, 1])), round(float(x)) + 30].mean()
    assert inside < 0.5 * cheek


def test_a_person_stays_the_same_and_differs_from_others() -> None:
    vector = lambda person: np.asarray(list(person.shape.values()))  # noqa: E731
    again, other = faces.person(3, 7), faces.person(3, 8)
    assert faces.person(3, 7).shape == again.shape
    assert again.hair_style == faces.person(3, 7).hair_style
    assert np.abs(vector(again) - vector(other)).max() > 0.5
    assert not np.array_equal(vector(again), vector(faces.person(4, 7)))
    vectors = np.stack([vector(faces.person(0, k)) for k in range(200)])
    assert vectors.shape == (200, 27)
    assert (vectors.std(0) > 0.5).all()


def _disc(radius: float, depth: float, colour: float, spacing: float = 0.7) -> np.ndarray:
    axis = np.arange(0, 60, spacing, dtype=np.float32)
    x, y = (v.ravel() for v in np.meshgrid(axis, axis))
    inside = (x - 30.3) ** 2 + (y - 29.6) ** 2 < radius**2
    x, y = x[inside], y[inside]
    constant = np.tile([[depth], [colour], [colour], [colour], [spacing**2]], len(x))
    return np.stack([x, y, *constant]).astype(np.float32)


def _draw(splats: np.ndarray) -> np.ndarray:
    return surfels.draw(splats, splats.shape[1], BLACK)


def test_splats_cover_their_area_with_soft_edges_and_hide_what_is_behind() -> None:
    image = _draw(_disc(18, 10, 1.0))
    assert image.sum() / 3 == pytest.approx(np.pi * 18**2, rel=0.05)
    assert (image[:, 20:40, 20:40] > 0.999).all()
    assert ((image > 0.05) & (image < 0.95)).sum() / 3 > 60
    far, near = _disc(25, -20, 0.25), _disc(10, 20, 1.0)
    image = _draw(np.hstack([near, far]))
    np.testing.assert_allclose(image[:, 24:36, 24:36], 1.0, atol=1e-5)
    np.testing.assert_allclose(image[:, 28:32, 50], 0.25, atol=1e-5)
    np.testing.assert_allclose(image[:, 2, 2], 0)


def test_coarse_splats_fill_the_same_area_from_a_quarter_of_the_points() -> None:
    image = surfels.draw(_disc(18, 10, 1.0, spacing=1.6), 0, BLACK)
    assert image.sum() / 3 == pytest.approx(np.pi * 18**2, rel=0.1)
    assert (image[:, 20:40, 20:40] > 0.999).all()
    y, x = np.mgrid[:60, :60]
    middle = np.asarray([(image[0] * x).sum(), (image[0] * y).sum()]) / image[0].sum()
    np.testing.assert_allclose(middle, [30.3, 29.6], atol=0.3)


@pytest.mark.parametrize(("spacing", "fine"), [(0.7, True), (1.6, False)])
def test_what_lies_outside_the_picture_does_not_reach_into_it(spacing: float, fine: bool) -> None:
    axis = np.arange(-40, 100, spacing)
    x, y = (v.ravel() for v in np.meshgrid(axis, axis))
    inside = (np.minimum(x, y) > -3) & (np.maximum(x, y) < 62)
    depth, light = np.where(inside, 0, 50), np.where(inside, 1.0, 0.0)
    area = np.full(len(x), spacing**2)
    splats = np.stack([x, y, depth, light, light, light, area]).astype(np.float32)
    image = surfels.draw(splats, len(x) if fine else 0, BLACK)
    np.testing.assert_allclose(image, 1.0, atol=1e-3)


def test_a_camera_without_faults_averages_areas() -> None:
    perfect = PoorCamera(0.01, (0, 0), 1.0, (1, 1, 1), 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 100)
    light = np.repeat(np.repeat(np.linspace(0.05, 0.6, 64).reshape(1, 8, 8), 2, 1), 2, 2)
    light = np.repeat(light, 3, 0).astype(np.float32)
    taken = take_poor(light, 2, perfect, np.random.default_rng(0)).astype(float)
    value = light[0, ::2, ::2].astype(float)
    srgb = 255 * (1.055 * value ** (1 / 2.4) - 0.055)
    assert np.abs(taken - srgb[..., None]).max() < 4


def test_each_fault_of_the_camera_does_what_it_says() -> None:
    perfect = PoorCamera(0.01, (0, 0), 1.0, (1, 1, 1), 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 100)
    light = np.full((3, 64, 64), 0.2, np.float32)
    light[:, :, 32:] = 0.6

    def take(**faults: object) -> np.ndarray:
        camera = dataclasses.replace(perfect, **faults)
        return take_poor(light, 2, camera, np.random.default_rng(0)).astype(float)

    sharp = take()
    step = lambda image: np.abs(np.diff(image[16, :, 1])).max()  # noqa: E731
    assert step(take(defocus=1.5)) < 0.5 * step(sharp)
    assert step(take(motion=(5.0, 0.0))) < 0.5 * step(sharp)
    assert step(take(motion=(0.0, 5.0))) > 0.9 * step(sharp)
    assert take(read_noise=0.05)[:, :12].std() > sharp[:, :12].std() + 5
    assert np.ptp(take(contrast=0.5)) < 0.6 * np.ptp(sharp)
    assert take(exposure=0.5).mean() < sharp.mean() - 20
    cast = take(balance=(1.3, 1.0, 0.7)).mean((0, 1))
    assert cast[0] > cast[1] + 10 > cast[2] + 20


CONFIG = dataset.SyntheticFacesConfig(
    name="tiny", hr_train=3, hr_test=0, lr_train=3, lr_test=2, per_identity=2, hr_side=48.0
)


def _build(folder: str, monkeypatch: pytest.MonkeyPatch, cores: int) -> dataset.Builder:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    builder = dataset.Builder(data_dir=folder, config=CONFIG, file_format="array_record")
    builder.download_and_prepare()
    return builder


def test_records_are_complete_and_the_same_whatever_draws_them(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, four = (
        _build(str(tmp_path_factory.mktemp("data")), monkeypatch, cores) for cores in (1, 4)
    )
    assert {name: split.num_examples for name, split in one.info.splits.items()} == {
        "hr_train": 3, "lr_train": 3, "lr_test": 2,
    }  # fmt: skip
    identities = {}
    for split in one.info.splits:
        source, twin = one.as_data_source(split), four.as_data_source(split)
        assert len(source) == len(twin)
        identities[split] = {int(record["identity"]) for record in source}
        for record, same in zip(source, twin, strict=True):
            for key, value in record.items():
                assert np.array_equal(value, same[key]), key
            _check_record(record, split)
    everyone = [identity for group in identities.values() for identity in group]
    assert len(everyone) == len(set(everyone)) == 5


def _check_record(record: dict, split: str) -> None:
    side = np.sqrt(record["face_box"][2] * record["face_box"][3])
    if split.startswith("hr"):
        assert side == pytest.approx(48, abs=0.05)
    else:
        assert 16 <= side <= 40.05
    size = record["image"].shape[0]
    assert record["image"].shape == (size, size, 3)
    assert size == int(np.ceil(2.4 * side)) + 1
    assert record["image"].std() > 5
    assert record["points"].shape == (68, 2)
    shown = record["points"][record["visible"]]
    low, high = shown.min(0), shown.max(0)
    x, y, w, h = record["box"]
    np.testing.assert_allclose([w, h], high - low, rtol=1e-4)
    np.testing.assert_allclose([x + (w - 1) / 2, y + (h - 1) / 2], (low + high) / 2, rtol=1e-4)
    np.testing.assert_allclose(record["face_box"][2:], [w, 1.2 * h], rtol=1e-3)
    assert y + h == pytest.approx(record["face_box"][1] + record["face_box"][3], abs=0.01)
    assert record["scale"] == 1
    assert (record["origin"] == 0).all()


def _small(seed: int, number: int) -> np.ndarray:
    (picture,) = faces.low_resolution(seed, 2, [number], (30.0, 30.0))
    return picture.pixels


def test_pictures_of_another_number_or_seed_differ() -> None:
    first = _small(0, 0)
    assert np.array_equal(first, _small(0, 0))
    for seed, number in ((0, 1), (1, 0)):
        assert not np.array_equal(first, _small(seed, number))


def test_small_pictures_are_stored_without_loss() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(dataset._encode(pixels)))), pixels)


def test_the_preview_writes_a_sheet(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["preview", str(path), "--rows", "1", "--columns", "2"])
    preview.main()
    with Image.open(path) as sheet:
        assert sheet.size == (2 * preview.TILE, 2 * preview.TILE)
    assert "ms a picture" in capsys.readouterr().out
