"""Images of every kind arrive as the same RGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.inference.images import as_rgb, is_one_image, list_images, read_rgb

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
