"""Images of every kind arrive as the same RGB."""

import contextlib
import io
import os
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.inference import images
from lrjax.inference.images import (
    as_rgb,
    decode,
    decode_in_parts,
    decode_rgb,
    is_one_image,
    list_images,
    open_image,
    open_upright,
    read_rgb,
)

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def saved(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(read_rgb(path))


def test_colour_is_kept(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        np.testing.assert_array_equal(saved(tmp_path / name, Image.fromarray(COLOUR)), COLOUR)
    found = saved(tmp_path / "a.webp", Image.fromarray(COLOUR), lossless=True)
    np.testing.assert_array_equal(found, COLOUR)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    wanted = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(saved(tmp_path / "a.png", Image.fromarray(GREY)), wanted)


def test_16_bits_keep_their_brightness(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    wanted = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(saved(tmp_path / "a.png", Image.fromarray(deep)), wanted)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    found = saved(tmp_path / "a.png", image)
    np.testing.assert_array_equal(found, [[[10, 20, 30], [200, 100, 50]]])


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    """The colours that hide under full transparency are not seen."""
    pixels = np.dstack([COLOUR, np.full((6, 8), 255, np.uint8)])
    pixels[:, :4, 3] = 0
    found = saved(tmp_path / "a.png", Image.fromarray(pixels))
    assert not found[:, :4].any()
    np.testing.assert_array_equal(found[:, 4:], COLOUR[:, 4:])


def test_cmyk_is_converted(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = saved(tmp_path / "a.jpg", image, quality=95)
    assert found[..., 0].min() > 240
    assert found[..., 1:].max() < 15


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: a[::-1].swapaxes(0, 1)),  # the first column goes to the top
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: a[:, ::-1].swapaxes(0, 1)),
        (0, lambda a: a),
        (None, lambda a: a),
    ],
)
def test_upright_is_as_exif_asks(tmp_path: Path, orientation: int | None, turned) -> None:
    """By its words: 6 has its first row on the right, and its first column on top."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    for name, photo in (("a.png", Image.fromarray(COLOUR)), ("b.png", Image.fromarray(GREY))):
        photo.save(tmp_path / name, exif=exif)
        stored = np.asarray(read_rgb(tmp_path / name))
        found = np.asarray(decode(open_upright(tmp_path / name)))
        np.testing.assert_array_equal(found, turned(stored))


def test_the_orientation_that_exif_asks_for_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    found = saved(tmp_path / "a.png", Image.fromarray(COLOUR), exif=exif)
    np.testing.assert_array_equal(found, COLOUR)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "not a known image format"),
        (b"some text", "not a known image format"),
        ("half", "truncated|cannot be decoded"),
        ("int32", "32 bits per pixel"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content, message) -> None:
    path = tmp_path / "face one.png"
    if content == "half":
        Image.effect_noise((64, 64), 80).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "int32":
        Image.fromarray(GREY.astype(np.int32)).save(path, format="TIFF")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_rgb(path)
    assert "face one.png" in str(caught.value)


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be decoded"):
        read_rgb(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    """A pipe would wait for ever, and a device never end."""
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "a.png"
        os.mkfifo(path)
    with pytest.raises(InputError, match="it is no regular file"):
        read_rgb(path)


def test_formats_that_are_not_wanted_are_not_tried(tmp_path: Path) -> None:
    """Pillow would hand PostScript to another program."""
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path, "EPS")
    with pytest.raises(InputError, match="not a known image format"):
        read_rgb(path)


def test_what_is_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 300 * 200 - 1)
    monkeypatch.setattr(images, "_rgb", None)
    with pytest.raises(InputError, match=r"a\.png cannot .* 300x200 pixels are too many"):
        read_rgb(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="decompression bomb"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP"])
def test_whatever_a_damaged_file_makes_of_pillow_is_one_error(kind: str) -> None:
    """Bytes of a real file, changed here and there: still an image, or an InputError."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(COLOUR).resize((40, 30)).save(stream, kind)
    whole, modes = stream.getvalue(), []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 4):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(InputError):
            modes.append(decode_rgb(bytes(damaged), "x").mode)
    assert len(modes) < 60
    assert set(modes) <= {"RGB"}


def test_pillow_does_not_warn_users(tmp_path: Path) -> None:
    """A TIFF that says its compression twice is an image, and nothing else is said of it."""
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, "TIFF")
    data = stream.getvalue()
    once, twice = (struct.pack("<HHI", 259, 3, count) for count in (1, 2))
    assert data.count(once) == 1
    path = tmp_path / "a.tif"
    path.write_bytes(data.replace(once, twice))
    code = "import sys; from lrjax.inference.images import read_rgb; read_rgb(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, timeout=120, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_parts_of_many_images_are_bounded_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten pixels at a time, or one image that has more; what cannot be read counts as none."""
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 10)
    monkeypatch.setattr(images, "AT_ONCE", 4)
    sizes = [4, 6, 5, 30, 2, None, 3, 1, 1]
    openers = []
    for i, size in enumerate(sizes):
        path = tmp_path / f"{i}.png"
        if size is not None:
            Image.new("RGB", (size, 1), (i, 0, 0)).save(path)
        openers.append(partial(open_image, path))
    parts = list(decode_in_parts(openers))
    widths = [[getattr(image, "width", None) for image in part] for part in parts]
    assert widths == [[4, 6], [5], [30], [2, None, 3, 1], [1]]
    whole = [image for part in parts for image in part]
    assert "5.png does not exist" in str(whole[5])
    reds = [np.asarray(image)[0, 0, 0] for i, image in enumerate(whole) if i != 5]
    assert reds == [0, 1, 2, 3, 4, 6, 7, 8]


def test_arrays_files_and_pil_images_are_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    for image in (COLOUR, Image.fromarray(COLOUR), path, str(path)):
        np.testing.assert_array_equal(np.asarray(as_rgb(image)), COLOUR)
    for grey in (GREY, GREY[..., None]):
        np.testing.assert_array_equal(np.asarray(as_rgb(grey))[..., 1], GREY)


@pytest.mark.parametrize(
    "array",
    [COLOUR / 255, COLOUR.astype(np.int64), COLOUR[..., :2], COLOUR[:0], np.zeros(5, np.uint8)],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="give uint8 RGB"):
        as_rgb(array)


def test_one_or_several() -> None:
    assert all(
        is_one_image(i) for i in (COLOUR, GREY, "a.png", Path("a.png"), Image.new("L", (1, 1)))
    )
    assert not any(is_one_image(i) for i in ([COLOUR], ("a.png",), COLOUR[None], []))


def test_the_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.webp", "notes.txt", "d.jpeg", "e.bmp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path) == ["a.png", "b.JPG", "c.webp", "d.jpeg", "e.bmp"]
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path / "folder.png")
    with pytest.raises(InputError, match="There is no folder"):
        list_images(tmp_path / "absent")


def test_the_images_of_a_folder_and_of_its_folders(tmp_path: Path) -> None:
    for name in ("b.png", "x/a.jpg", "x/y/c.bmp", ".hidden/d.png", "x/.e.png", "x/f.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list_images(tmp_path) == ["b.png", "x/a.jpg", "x/y/c.bmp"]
