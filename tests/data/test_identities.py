"""Whose picture is whose, from prepared records; pictures stay on the disk until asked for."""

import io
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.io
from PIL import Image

from lrjax.cli.prepare import prepare_dataset
from lrjax.data.faces import load_faces
from lrjax.data.identities import UNKNOWN, Identities, load_identities, select_identities
from lrjax.data.records import open_split
from lrjax.errors import InputError


def picture(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 20), (colour, 99, 255 - colour)).save(file, "JPEG")
    return file.getvalue()


def cell(names: Sequence[str]) -> np.ndarray:
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    return cells


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """TinyFace of 13 pictures (training, probes, gallery, distractors), and CelebA of three."""
    root = tmp_path_factory.mktemp("official")
    folders = {
        "Training_Set/a": ("1.jpg", "2.jpg", "3.jpg"),
        "Training_Set/b": ("1.jpg",),
        "Testing_Set/Probe": ("1_1.jpg", "1_2.jpg", "3_1.jpg"),
        "Testing_Set/Gallery_Match": ("1_3.jpg", "2_1.jpg", "3_2.jpg", "3_3.jpg"),
        "Testing_Set/Gallery_Distractor": ("x.jpg", "y.jpg"),
    }
    colour = 0
    for folder, names in folders.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            colour += 18
            (root / folder / name).write_bytes(picture(colour))
    for stem, kind, ids in (
        ("probe", "probe", [1, 1, 3]),
        ("gallery_match", "gallery", [1, 2, 3, 3]),
    ):
        folder = "Probe" if kind == "probe" else "Gallery_Match"
        content = {f"{kind}_set": cell(folders[f"Testing_Set/{folder}"]), f"{kind}_ids": [ids]}
        scipy.io.savemat(root / "Testing_Set" / f"{stem}_img_ID_pairs.mat", content)
    target = tmp_path_factory.mktemp("records")
    prepare_dataset("tinyface", target, root)

    celeba = tmp_path_factory.mktemp("celeba")
    for number in range(1, 4):
        (celeba / f"{number}.jpg").write_bytes(picture(80 * number))
    (celeba / "identity_CelebA.txt").write_text("1.jpg 50\n2.jpg 40\n3.jpg 50\n")
    marked = "1.jpg 30 40 140 40 90 100 40 180 130 180\n"
    table = celeba / "list_landmarks_align_celeba.txt"
    table.write_text("1\n" + "x " * 10 + "\n" + marked)
    for number in (1, 3):
        Image.new("RGB", (178, 218)).save(celeba / f"{number}.jpg")
    prepare_dataset("celeba", target, celeba)
    return target


def test_probe_and_gallery_share_their_labels(data_dir: pathlib.Path) -> None:
    probe = load_identities("tinyface:probe", data_dir)
    gallery = load_identities("tinyface:gallery_match", data_dir)
    assert probe.label.tolist() == [0, 0, 2]
    assert gallery.label.tolist() == [0, 1, 2, 2]
    assert probe.label.dtype == np.int32
    assert probe.classes == gallery.classes == 3
    assert probe.names == tuple(f"Testing_Set/Probe/{n}.jpg" for n in ("1_1", "1_2", "3_1"))
    assert probe.points is None
    assert probe.visible is None
    both = load_identities("tinyface:probe+gallery_match", data_dir)
    assert both.label.tolist() == [0, 0, 2, 0, 1, 2, 2]


def test_distractors_are_nobody(data_dir: pathlib.Path) -> None:
    distractors = load_identities("tinyface:distractors", data_dir)
    assert distractors.label.tolist() == [UNKNOWN, UNKNOWN]
    assert distractors.classes == 0


def test_people_of_several_specs_are_different_ones(data_dir: pathlib.Path) -> None:
    specs = ["tinyface:distractors", "tinyface:train", "celeba:train", "tinyface:probe"]
    joined = load_identities(specs, data_dir)
    assert joined.label.tolist() == [-1, -1, 0, 0, 0, 1, 3, 2, 3, 4, 4, 6]
    assert joined.classes == 7
    parts = [load_identities(spec, data_dir) for spec in specs]
    assert len(joined) == len(joined.images) == 12
    assert list(joined.images) == [content for part in parts for content in part.images]
    assert joined.names == tuple(name for part in parts for name in part.names)
    assert joined.points.shape == (12, 5, 2)
    assert joined.visible.any(axis=1).tolist() == [False] * 6 + [True] + [False] * 5
    np.testing.assert_array_equal(joined.points[6, 1], [140, 40])


@pytest.mark.parametrize(("scheme", "count"), [("five", 5), ("aflw19", 19)])
def test_landmark_training_takes_pictures_of_people(
    data_dir: pathlib.Path, scheme: str, count: int
) -> None:
    faces = load_faces("celeba:train", data_dir=data_dir, crop_size=32, context=1.25, scheme=scheme)
    assert faces.points.shape == (3, count, 2)
    assert faces.scheme == ("five" if count == 5 else None)
    assert faces.visible.any(axis=1).tolist() == [count == 5, False, False]


def test_pictures_are_the_files_read_when_asked_for(
    data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_identities("tinyface:train", data_dir).images
    expected = [picture(18 * k) for k in (1, 2, 3, 4)]
    assert [images[i] for i in range(4)] == expected
    assert images[-1] == expected[3]
    assert list(images[1:3]) == expected[1:3]
    assert list(images) == expected
    asked = []
    source = type(open_split("tinyface:train", data_dir))
    original = source.__getitem__
    monkeypatch.setattr(source, "__getitem__", lambda s, i: (asked.append(i), original(s, i))[1])
    assert images[2] == expected[2]
    assert asked == [2]


def test_a_limit_spreads_over_the_split(data_dir: pathlib.Path) -> None:
    few = load_identities("tinyface:gallery_match", data_dir, limit=2)
    assert few.label.tolist() == [0, 2]
    assert few.images[1] == load_identities("tinyface:gallery_match", data_dir).images[2]
    assert len(load_identities("tinyface:gallery_match", data_dir, limit=99)) == 4
    two = load_identities(["tinyface:train", "tinyface:probe"], data_dir, limit=1)
    assert two.label.tolist() == [0, 1]


def test_the_fingerprint_tells_contents_apart(data_dir: pathlib.Path) -> None:
    prints = [
        load_identities(spec, data_dir, limit).fingerprint
        for spec, limit in (
            ("tinyface:train", None),
            ("tinyface:train", 3),
            ("tinyface:probe", None),
            (["tinyface:train", "tinyface:probe"], None),
            (["tinyface:probe", "tinyface:train"], None),
        )
    ]
    assert len(set(prints)) == len(prints)
    assert load_identities("tinyface:train", data_dir).fingerprint == prints[0]


def test_impossible_wishes_are_input_errors(data_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"lrjax prepare tinyface --data-dir"):
        load_identities("tinyface:train", tmp_path)
    with pytest.raises(InputError, match="no split 'exam'; it has train, probe"):
        load_identities("tinyface:exam", data_dir)
    with pytest.raises(InputError, match="number their people each from 0"):
        load_identities("tinyface:train+probe", data_dir)
    with pytest.raises(InputError, match="No dataset is named"):
        load_identities([], data_dir)
    with pytest.raises(InputError, match="limit of 0"):
        load_identities("tinyface:train", data_dir, limit=0)


def test_a_dataset_without_people_is_an_input_error(tmp_path: pathlib.Path) -> None:
    root = tmp_path / "alrf"
    (root / "faces").mkdir(parents=True)
    (root / "faces" / "a.jpg").write_bytes(picture(3))
    header = "file,annotator," + ",".join(f"{axis}{k}" for k in range(5) for axis in "xy")
    (root / "annotations.csv").write_text(f"{header}\na.jpg,me{',7' * 10}\n")
    prepare_dataset("alrf", tmp_path / "records", root)
    with pytest.raises(InputError, match="'alrf:test' does not say whose its pictures are"):
        load_identities("alrf:test", tmp_path / "records")


def test_damaged_records_are_an_input_error(data_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(data_dir / "celeba", tmp_path / "celeba")
    (path,) = tmp_path.glob("celeba/*/*array_record*")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InputError, match=r"'celeba'.* damaged; run .*--force"):
        load_identities("celeba:train", tmp_path)


def test_some_people_are_numbered_from_0_again() -> None:
    everybody = Identities(
        images=[bytes([i]) for i in range(7)],
        label=np.array([0, 3, 1, 2, 3, 0, 2], np.int32),
        names=tuple("abcdefg"),
        fingerprint="all",
        points=np.arange(70, dtype=np.float32).reshape(7, 5, 2),
        visible=np.ones((7, 5), bool),
    )
    found = select_identities(everybody, (0.5, 1.0))  # of four
    assert found.label.tolist() == [1, 0, 1, 0]
    assert found.names == ("b", "d", "e", "g")
    assert list(found.images) == [b"\1", b"\3", b"\4", b"\6"]
    assert list(found.images[1:3]) == [b"\3", b"\4"]
    assert found.points[:, 0, 0].tolist() == [10, 30, 40, 60]
    assert found.classes == 2
    assert found.fingerprint != everybody.fingerprint
    assert select_identities(everybody, (0.0, 1.0)) is everybody
    for share, message in (((0.5, 0.5), "is none"), ((0.0, 0.2), "holds no picture")):
        with pytest.raises(InputError, match=message):
            select_identities(everybody, share)
