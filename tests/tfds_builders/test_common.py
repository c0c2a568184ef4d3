"""Crops keep exact coordinates; damaged files are named."""

import io
import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io
from PIL import Image

from lrjax.errors import InputError
from lrjax.tfds_builders.common import (
    AnnotationError,
    DatasetError,
    Report,
    cell_text,
    crop_face,
    files,
    find_image,
    list_images,
    load_mat,
    mats,
    open_photo,
    parse_numbers,
    photo_size,
    tight_box,
)
from lrjax.tfds_builders.common.builder import shard_ranges
from lrjax.tfds_builders.common.crops import CONTEXT, LARGEST, check_box
from lrjax.tfds_builders.common.files import list_files


def dot_photo(x: float, y: float, width: int, height: int, sigma: float) -> Image.Image:
    """A black photograph with one bright round dot at (x, y)."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return Image.fromarray(np.repeat(dot[..., None], 3, axis=2).round().astype(np.uint8))


def centroid(image: np.ndarray) -> np.ndarray:
    """The centre (x, y) of the light in an image."""
    light = image.astype(np.float64).sum(axis=-1)
    light[light < light.max() / 10] = 0
    rows, columns = np.indices(light.shape)
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


@pytest.mark.parametrize("side", [23.0, 57.3, 310.0])
def test_points_survive_the_way_through_the_crop(side: float) -> None:
    photo = Image.new("RGB", (900, 700))
    crop = crop_face(photo, np.array([333.3, 211.7, side, side * 1.2]))
    points = np.random.default_rng(0).uniform(0, 700, (50, 2))
    back = crop.origin + (crop.from_photo(points) + 0.5) / crop.scale - 0.5
    np.testing.assert_allclose(back, points, atol=1e-9)
    # The same in the precision of the records.
    stored = crop.from_photo(points).astype(np.float32)
    back = crop.origin.astype(np.float32) + (stored + 0.5) / np.float32(crop.scale) - 0.5
    np.testing.assert_allclose(back, points, atol=1e-3)


@pytest.mark.parametrize(("side", "sigma"), [(30.0, 1.2), (90.0, 2.0), (310.0, 6.0)])
def test_a_dot_lands_on_its_point(side: float, sigma: float) -> None:
    point = np.array([401.37, 305.81])
    photo = dot_photo(*point, 900, 700, sigma)
    crop = crop_face(photo, np.array([400 - side / 2, 300 - side / 2, side, side]))
    with Image.open(io.BytesIO(crop.image)) as image:
        found = centroid(np.asarray(image))
    np.testing.assert_allclose(found, crop.from_photo(point), atol=0.1)


def test_a_crop_shows_its_context_at_most_at_the_largest_side() -> None:
    photo = Image.new("RGB", (900, 700))
    for side in (20.0, 150.0, 400.0):
        crop = crop_face(photo, np.array([300, 200, side, side]))
        with Image.open(io.BytesIO(crop.image)) as image:
            assert image.width == image.height <= LARGEST
            assert CONTEXT * side <= image.width / crop.scale <= CONTEXT * side + 2
            assert image.format == ("PNG" if image.width < 128 else "JPEG")


def test_an_unshrunk_crop_copies_the_pixels_and_is_black_beyond_the_photograph() -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (60, 80, 3), dtype=np.uint8)
    crop = crop_face(Image.fromarray(pixels), np.array([-5.0, 4, 24, 24]))
    with Image.open(io.BytesIO(crop.image)) as image:
        found = np.asarray(image)
    x, y = crop.origin.astype(int)
    assert x < 0
    assert crop.scale == 1
    assert not found[:, :-x].any()
    np.testing.assert_array_equal(
        found[max(0, -y) : 20, -x:], pixels[max(0, y) : y + 20, : found.shape[1] + x]
    )


def test_a_box_keeps_its_centre_and_scales_its_size() -> None:
    photo = Image.new("RGB", (3000, 3000))
    box = np.array([1000.0, 900, 600, 700])
    crop = crop_face(photo, box)
    x, y, w, h = crop.box_from_photo(box)
    np.testing.assert_allclose([w / 600, h / 700], crop.scale)
    np.testing.assert_allclose(
        [x + (w - 1) / 2, y + (h - 1) / 2], crop.from_photo(np.array([1299.5, 1249.5]))
    )


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 0, 10), "no area"),
        ((5, 5, 10, -3), "no area"),
        ((5, 5, float("nan"), 10), "not finite"),
        ((100, 5, 10, 10), "outside"),
        ((-20, 5, 10, 10), "outside"),
        ((0, 0, 1e6, 1e6), "larger"),
    ],
)
def test_impossible_boxes_are_refused(box: tuple[float, ...], reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        check_box(np.array(box), (100, 80))


def test_the_tight_box_is_centred_on_the_extent() -> None:
    box = tight_box(np.array([[2.0, 3.0], [12.0, 3.0], [5.0, 9.0]]))
    np.testing.assert_allclose(box, [2.5, 3.5, 10, 6])  # centre (7, 6) = x + (w - 1) / 2


def test_images_are_found_by_stem_in_any_case(
    tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]
) -> None:
    path = write_photo(tmp_path / "0" / "Image 12.PNG")
    assert find_image(tmp_path, "0/image 12.jpg") == path
    assert list_images(tmp_path / "0") == [path]
    assert list_images(tmp_path / "absent") == []
    with pytest.raises(AnnotationError, match="missing"):
        find_image(tmp_path, "0/image 13.jpg")
    with pytest.raises(AnnotationError, match="missing"):
        find_image(tmp_path, "0/" + 5000 * "x" + ".jpg")


def test_all_images_of_a_folder_are_listed_by_name(tmp_path: pathlib.Path) -> None:
    for name in ("b.jpg", "a.png", "b.PNG", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_files(tmp_path)] == ["a.png", "b.PNG", "b.jpg"]
    assert list_files(tmp_path / "absent") == []


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg", ""])
def test_a_name_may_not_leave_the_folder(
    tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path], name: str
) -> None:
    write_photo(tmp_path / "secret.jpg")
    with pytest.raises(AnnotationError, match="leaves"):
        find_image(tmp_path / "inside", name)


def test_photographs_are_decoded_completely(
    tmp_path: pathlib.Path,
    write_photo: Callable[..., pathlib.Path],
    truncate: Callable[[pathlib.Path], None],
) -> None:
    path = write_photo(tmp_path / "a.jpg", 400, 300)
    assert open_photo(path).size == (400, 300)
    truncate(path)
    with pytest.raises(AnnotationError, match="truncated"):
        open_photo(path)
    path.write_bytes(b"")
    with pytest.raises(AnnotationError, match="not an image"):
        open_photo(path)


def test_a_grey_photograph_becomes_rgb(tmp_path: pathlib.Path) -> None:
    Image.new("L", (10, 8), 77).save(tmp_path / "grey.png")
    assert open_photo(tmp_path / "grey.png").getpixel((3, 3)) == (77, 77, 77)


def test_damaged_mats_are_named(
    tmp_path: pathlib.Path, truncate: Callable[[pathlib.Path], None]
) -> None:
    path = tmp_path / "some.mat"
    with pytest.raises(DatasetError, match=r"some\.mat is missing"):
        load_mat(path, "a")
    scipy.io.savemat(path, {"a": np.arange(1000.0)}, do_compression=True)
    np.testing.assert_array_equal(load_mat(path, "a")["a"].ravel(), np.arange(1000))
    with pytest.raises(DatasetError, match=r"some\.mat has no variable 'b'"):
        load_mat(path, "a", "b")
    truncate(path)
    with pytest.raises(DatasetError, match=r"some\.mat is damaged"):
        load_mat(path, "a")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(DatasetError, match=r"7\.3"):
        load_mat(path, "a")
    path.write_bytes(b"not a mat at all")
    with pytest.raises(DatasetError, match=r"some\.mat is damaged"):
        load_mat(path, "a")


def test_a_mat_that_ends_its_reader_is_damaged(tmp_path: pathlib.Path) -> None:
    """Changed bytes, some of which end the process that has SciPy read them."""
    path, names = tmp_path / "some.mat", np.array([["a.jpg"], ["b.jpg"], ["c.jpg"]], object)
    scipy.io.savemat(path, {"probe_set": names, "probe_ids": np.uint16([[1], [2], [3]])})
    whole = path.read_bytes()
    refused = []
    for seed in (35, 50, 72, 86, 93, 98):
        rng, changed = np.random.default_rng(seed), bytearray(whole)
        for at in rng.integers(128, len(whole), 1 + seed % 4):
            changed[at] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            load_mat(path, "probe_set", "probe_ids")
        except DatasetError as error:
            refused.append(str(error))
    assert refused
    assert all(f"{path} is damaged (" in message for message in refused)


def test_a_mat_that_takes_too_long_is_damaged(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scipy.io.savemat(tmp_path / "some.mat", {"a": np.arange(3.0)})
    monkeypatch.setattr(mats, "TIME_LIMIT", 0.001)
    with pytest.raises(DatasetError, match=r"some\.mat is damaged \(reading it took more than"):
        load_mat(tmp_path / "some.mat", "a")


def test_cells_are_read_as_lists_of_what_they_hold(tmp_path: pathlib.Path) -> None:
    path, inner = tmp_path / "some.mat", np.empty((2, 1), object)
    inner[:, 0] = ["text", np.array([[1, 2], [3, 4]])]
    outer = np.empty((1, 3), object)
    outer[0] = [inner, "more", {"field": 1}]
    scipy.io.savemat(path, {"a": outer, "b": "word", "c": np.float32([[0.5, np.nan]])})
    content = load_mat(path, "a", "b", "c")
    assert content["a"] == [[["text"], [[1, 2], [3, 4]]], ["more"], []]
    assert content["b"] == ["word"]
    np.testing.assert_array_equal(content["c"], [[0.5, np.nan]])
    assert cell_text(content["a"][0][0]) == "text"
    for cell in (content["a"][0][1], content["a"][2], ["a", "b"], [""], [3]):
        with pytest.raises(ValueError, match="not text"):
            cell_text(cell)


@pytest.mark.parametrize(
    ("fields", "whole", "reason"),
    [
        (["1", "2"], False, "not 3 numbers"),
        (["1", "2", "x"], False, "not numbers"),
        (["1", "2", "inf"], False, "not finite"),
        (["1", "2", "2.5"], True, "not whole numbers"),
        (["1", "2", "9" * 400], True, "not whole numbers"),
        (["1", "2", "9" * 5000], True, "not whole numbers"),
        (["1", "2", "1e39"], False, "far too large"),
    ],
)
def test_numbers_of_another_kind_are_refused(fields: list[str], whole: bool, reason: str) -> None:
    with pytest.raises(AnnotationError, match=f"^{reason}$"):
        parse_numbers(fields, 3, whole=whole)


def test_numbers_are_parsed() -> None:
    np.testing.assert_array_equal(parse_numbers(["1", "-2.5"], 4, 2), [1, -2.5])
    np.testing.assert_array_equal(parse_numbers(["7"], 1, whole=True), [7])


def test_a_report_is_read_back_as_written(tmp_path: pathlib.Path) -> None:
    report = Report()
    report.count("train", "annotated", 3)
    report.count("train", "annotated")
    report.count("test", "annotated", 0)
    for name in ("b.jpg", "a.jpg", "b.jpg"):
        report.skip("the image is missing", name)
    report.note("Seen.")
    report.save(tmp_path)
    loaded = Report.load(tmp_path)
    assert loaded.counts == {"train": {"annotated": 4}, "test": {"annotated": 0}}
    assert {reason: list(names) for reason, names in loaded.skipped.items()} == {
        "the image is missing": ["b.jpg", "a.jpg"]
    }
    assert loaded.notes == ["Seen."]


def test_shards_keep_order_and_items_whole() -> None:
    weights = [1000, 30, 700, 1, 900, 5]
    ranges = shard_ranges(weights, 1024)
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(6))
    assert ranges == [(0, 1), (1, 5), (5, 6)]
    assert shard_ranges([1], 1024) == [(0, 1)]
    assert shard_ranges([1] * 5, 2) == [(0, 2), (2, 4), (4, 5)]


@pytest.mark.parametrize("kind", ["PostScript", "pipe", "large"])
def test_photographs_of_other_kinds_are_not_opened(
    kind: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would hand PostScript to another program, and a pipe would wait for ever."""
    path = tmp_path / "a.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        Image.new("RGB", (30, 20)).save(path, "EPS" if kind == "PostScript" else "PNG")
    if kind == "large":
        assert photo_size(path) == (30, 20)
        monkeypatch.setattr(files, "MOST_PIXELS", 30 * 20 - 1)
    for read in (open_photo, photo_size):
        with pytest.raises(AnnotationError, match=r"cannot be decoded|no regular file"):
            read(path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"counts": [], "skipped": {}, "notes": []}', "[" * 9999, '{"counts": 1}']
)
def test_a_report_that_is_none_is_named(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=r"report\.json is (no report|not JSON .*); prepare the"):
        Report.load(tmp_path)
