"""Prepared records as arrays: frames, points, names and fingerprints."""

import io
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.data.faces import Faces, _frame, concatenate, load_faces, split_holdout, take
from lrjax.errors import InputError
from lrjax.tfds_builders.alrf import alrf_dataset_builder
from lrjax.tfds_builders.w300 import w300_dataset_builder
from lrjax.tfds_builders.wider_face_crops import wider_face_crops_dataset_builder

NUM_PHOTOS = 6
SIDE = 60.0  # of the face's tight box; the face box is 1.2 times as high
DOT = 30  # this one of the 68 points is a bright dot in the photograph


def shape(i: int) -> np.ndarray:
    """68 points on a circle, one of them pulled to its centre."""
    angles = np.arange(68) * np.pi / 34
    points = np.array([150.3 + 3 * i, 120.7]) + SIDE / 2 * np.stack(
        [np.cos(angles), np.sin(angles)], axis=1
    )
    points[DOT] = points.mean(0) + np.array([4.2 * i - 9, 7.3])
    return points


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """300W, WIDER FACE and ALRF in miniature, prepared."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "300W" / "afw"
    folder.mkdir(parents=True)
    columns, rows = np.meshgrid(np.arange(360), np.arange(280))
    for i in range(NUM_PHOTOS):
        points = shape(i)
        distance = (columns - points[DOT, 0]) ** 2 + (rows - points[DOT, 1]) ** 2
        pixels = np.repeat(np.exp(-distance / 18)[..., None] * 255, 3, axis=2).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"face {i}.png")
        lines = "\n".join(f"{x + 1} {y + 1}" for x, y in points)
        (folder / f"face {i}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")

    photos = root / "WIDER" / "WIDER_train" / "images" / "0--Parade"
    photos.mkdir(parents=True)
    Image.new("RGB", (200, 100), (10, 200, 30)).save(photos / "crowd.jpg")
    split = root / "WIDER" / "wider_face_split"
    split.mkdir()
    boxes = [f"{20 + 30 * i} 40 {24 + i} 26 0 0 0 0 0 0 " for i in range(4)]
    text = "\n".join(["0--Parade/crowd.jpg", "4", *boxes])
    (split / "wider_face_train_bbx_gt.txt").write_text(text)

    faces = root / "ALRF" / "faces"
    faces.mkdir(parents=True)
    Image.new("RGB", (24, 24), (90, 90, 90)).save(faces / "0.png")
    header = "file,annotator," + ",".join(f"x{i},y{i}" for i in range(5))
    (root / "ALRF" / "annotations.csv").write_text(f"{header}\n0.png,a,6,8,18,8,12,12,-1,-1,16,18")

    for module, name in (
        (w300_dataset_builder, "300W"),
        (wider_face_crops_dataset_builder, "WIDER"),
        (alrf_dataset_builder, "ALRF"),
    ):
        module.Builder(data_dir=root / "prepared").download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(
                manual_dir=root / name, try_download_gcs=False
            ),
        )
    return root / "prepared"


def load(data_dir: pathlib.Path, spec: str | list[str] = "w300:train", **changes) -> Faces:
    arguments = {"crop_size": 64, "context": 1.25, "scheme": "ibug68"} | changes
    return load_faces(spec, data_dir=data_dir, **arguments)


def test_shapes_and_types(data_dir: pathlib.Path) -> None:
    faces = load(data_dir)
    assert len(faces) == NUM_PHOTOS
    assert (faces.images.shape, faces.images.dtype) == ((NUM_PHOTOS, 96, 96, 3), np.uint8)
    assert (faces.points.shape, faces.points.dtype) == ((NUM_PHOTOS, 68, 2), np.float32)
    assert faces.visible.all()
    assert faces.scheme == "ibug68"
    assert faces.names == tuple(f"afw/face {i}" for i in range(NUM_PHOTOS))
    assert faces.face_side.dtype == faces.transform.dtype == np.float32
    np.testing.assert_allclose(faces.face_side, SIDE * np.sqrt(1.2), rtol=2e-3)


@pytest.mark.parametrize("view", [32, 64, 128])
def test_points_go_back_to_the_photograph(data_dir: pathlib.Path, view: int) -> None:
    faces = load(data_dir, crop_size=view)
    back = faces.points @ faces.transform[:, :, :2].swapaxes(1, 2) + faces.transform[:, None, :, 2]
    np.testing.assert_allclose(back, [shape(i) for i in range(NUM_PHOTOS)], atol=1e-3)


@pytest.mark.parametrize(("view", "context"), [(32, 1.25), (64, 1.0), (128, 1.6)])
def test_the_dot_lies_on_its_point(data_dir: pathlib.Path, view: int, context: float) -> None:
    faces = load(data_dir, crop_size=view, context=context)
    light = faces.images.astype(np.float64).sum(axis=-1)
    light[light < light.max() / 10] = 0
    rows, columns = np.indices(light.shape[1:])
    total = light.sum(axis=(1, 2))
    found = (
        np.stack([(light * columns).sum((1, 2)), (light * rows).sum((1, 2))], 1) / total[:, None]
    )
    np.testing.assert_allclose(found, faces.points[:, DOT], atol=0.15)


def test_the_face_is_in_the_middle_at_the_views_scale(data_dir: pathlib.Path) -> None:
    faces = load(data_dir, crop_size=64, context=1.25)
    low, high = faces.points.min(1), faces.points.max(1)
    # The tight box is 1 / sqrt(1.2) of the face side, which is 1 / 1.25 of the view.
    np.testing.assert_allclose(high - low, 64 / 1.25 / np.sqrt(1.2), rtol=3e-3)
    centre = (low + high) / 2
    np.testing.assert_allclose(centre[:, 0], 47.5, atol=0.1)
    # The face box reaches a fifth higher, so the points lie a tenth of their height lower.
    np.testing.assert_allclose(centre[:, 1], 47.5 + 0.1 * (high - low)[:, 1], atol=0.1)


def test_points_are_converted(data_dir: pathlib.Path) -> None:
    ibug, five = load(data_dir), load(data_dir, scheme="five")
    assert five.points.shape == (NUM_PHOTOS, 5, 2)
    assert five.scheme == "five"
    np.testing.assert_allclose(five.points[:, 0], ibug.points[:, 36:42].mean(1), atol=1e-4)
    np.testing.assert_allclose(five.points[:, 4], ibug.points[:, 54], atol=1e-4)


def test_faces_without_points(data_dir: pathlib.Path) -> None:
    faces = load(data_dir, "wider_face_crops:lr", crop_size=32)
    assert faces.scheme is None
    assert faces.images.shape == (4, 48, 48, 3)
    assert faces.points.shape == (4, 68, 2)
    assert not faces.points.any()
    assert not faces.visible.any()
    np.testing.assert_allclose(faces.face_side, np.sqrt(26.0 * (24 + np.arange(4))), rtol=1e-5)
    assert faces.names[2] == "train/0--Parade/crowd.jpg#2"


def test_invisible_points_stay_invisible(data_dir: pathlib.Path) -> None:
    faces = load(data_dir, "alrf:test", crop_size=32, scheme="five")
    assert faces.visible.tolist() == [[True, True, True, False, True]]
    assert np.isfinite(faces.points).all()
    # The box is the image: 24 px of face side to 32 / 1.25 px of the view.
    np.testing.assert_allclose(
        faces.points[0, 0], 23.5 + (np.array([6, 8]) - 11.5) * 32 / 1.25 / 24, atol=1e-3
    )


def test_several_specs_are_joined(data_dir: pathlib.Path) -> None:
    both = load(data_dir, ["w300:train", "wider_face_crops:lr"])
    assert len(both) == NUM_PHOTOS + 4
    assert both.scheme == "ibug68"
    assert both.visible.any(axis=1).tolist() == [True] * NUM_PHOTOS + [False] * 4
    alone = load(data_dir)
    np.testing.assert_array_equal(both.images[:NUM_PHOTOS], alone.images)
    assert both.fingerprint != alone.fingerprint


def test_a_slice_and_a_limit(data_dir: pathlib.Path) -> None:
    assert load(data_dir, "w300:train[:2]").names == ("afw/face 0", "afw/face 1")
    assert load(data_dir, limit=3).names == ("afw/face 0", "afw/face 2", "afw/face 4")
    assert len(load(data_dir, limit=100)) == NUM_PHOTOS


def test_the_fingerprint_is_of_the_content(data_dir: pathlib.Path) -> None:
    assert load(data_dir).fingerprint == load(data_dir).fingerprint
    others = [load(data_dir, crop_size=32), load(data_dir, context=1.3), load(data_dir, limit=5)]
    prints = {load(data_dir).fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == 4


def test_the_holdout_depends_on_names_alone(data_dir: pathlib.Path) -> None:
    faces = concatenate([load(data_dir, "w300:train"), load(data_dir, "wider_face_crops:lr")])
    rest, held = split_holdout(faces, 0.5, seed=1)
    assert sorted(rest.names + held.names) == sorted(faces.names)
    assert len(held) not in (0, len(faces))
    backwards = take(faces, np.arange(len(faces))[::-1])
    assert set(split_holdout(backwards, 0.5, seed=1)[1].names) == set(held.names)
    # The four faces of one photograph stay together.
    assert sum("crowd" in name for name in held.names) in (0, 4)
    drawn = {split_holdout(faces, 0.5, seed=s)[1].names for s in range(5)}
    assert len(drawn) > 1
    index = faces.names.index(held.names[0])
    np.testing.assert_array_equal(held.images[0], faces.images[index])
    np.testing.assert_array_equal(held.points[0], faces.points[index])


def test_the_holdout_has_the_asked_size() -> None:
    count = 4000
    faces = Faces(
        images=np.zeros((count, 1, 1, 3), np.uint8),
        points=np.zeros((count, 5, 2), np.float32),
        visible=np.zeros((count, 5), bool),
        face_side=np.ones(count, np.float32),
        names=tuple(f"photo{i}.jpg" for i in range(count)),
        fingerprint="",
        scheme=None,
        transform=np.zeros((count, 2, 3), np.float32),
    )
    rest, held = split_holdout(faces, 0.1, seed=0)
    assert abs(len(held) - 400) < 60  # three standard deviations
    assert len(rest) + len(held) == count


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ("w300", {}, "does not name a dataset and a split"),
        ("aflw:train", {}, r"'aflw' is not prepared in .*`lrjax prepare aflw --data-dir"),
        ("w300:challenging", {}, r"no split 'challenging'; it has train"),
        ("alrf:test", {}, r"'alrf:test' has no ibug68 points"),
        ("w300:train", {"crop_size": 30}, "multiple of 4"),
        ("w300:train", {"context": 1.7}, "between 0 and 1.6"),
        ("w300:train", {"scheme": "ibug49"}, "ibug49"),
        ("w300:train", {"limit": 0}, "limit"),
        ([], {}, "No dataset"),
    ],
)
def test_wrong_requests_say_what_is_wrong(
    data_dir: pathlib.Path, spec: str | list[str], changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(data_dir, spec, **changes)


def test_faces_that_do_not_fit_are_not_joined(data_dir: pathlib.Path) -> None:
    with pytest.raises(InputError, match="cannot be joined"):
        concatenate([load(data_dir, crop_size=32), load(data_dir, crop_size=64)])
    with pytest.raises(InputError, match="held-out"):
        split_holdout(load(data_dir), 1.0, seed=0)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "w300-train*"])
def test_damaged_records_are_an_input_error(
    data_dir: pathlib.Path, tmp_path: pathlib.Path, file: str
) -> None:
    shutil.copytree(data_dir / "w300", tmp_path / "w300")
    (path,) = (tmp_path / "w300").glob(f"*/{file}")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=r"w300.*lrjax prepare w300 .*--force"):
        load(tmp_path)


def test_a_picture_of_a_person_is_all_face() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    frame, transform, side, points = _frame({"image": file.getvalue()}, 48, 1.5 * 1.25)
    assert points is None
    assert side == pytest.approx(np.sqrt(20 * 24))
    # The middle of the frame shows the middle of the picture, and beyond the picture all is black.
    np.testing.assert_allclose(transform @ [23.5, 23.5, 1], [9.5, 11.5], atol=1e-5)
    assert frame[0].max() == 0
    assert frame[24, 24].max() > 0
