"""`lrjax upsample` as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import tiny
from click.testing import CliRunner, Result
from PIL import Image

from lrjax.cli.main import cli
from lrjax.errors import InputError
from lrjax.inference.upsampler import Upsampler
from lrjax.models.upsamplers import VDSRConfig

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.upsampler_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images of noise, one truncated."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (20, 16, 3)), ("b c.jpg", (24, 30, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    Image.effect_noise((80, 80), 90).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:1500])
    return folder


def upsample(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["upsample", *map(str, arguments)])


def test_a_folder_is_enlarged_and_bad_files_are_named(photos: Path, run: Path) -> None:
    (photos / "sub").mkdir()
    (photos / "b c.jpg").rename(photos / "sub" / "b c.jpg")
    out = photos.parent / "new" / "out"
    done = upsample("--images", photos, "--weights", run, "--out", out)
    assert isinstance(done.exception, InputError)
    assert "1 of 3 images were not enlarged" in str(done.exception)
    assert "lrjax: cut.jpg: The image" in done.stderr
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names == ["a.png.png", "sub/b c.jpg.png"]
    upsampler = Upsampler.load(run)
    for name, shape in (("a.png", (40, 32, 3)), ("sub/b c.jpg", (48, 60, 3))):
        with Image.open(out / f"{name}.png") as image:
            assert image.format == "PNG"
            large = np.asarray(image)
        assert large.shape == shape
        (alone,) = upsampler([photos / name])
        assert np.abs(large.astype(int) - alone).max() <= 1


def test_an_image_that_cannot_be_written_is_named(photos: Path, run: Path) -> None:
    """Its name is too long with the suffix of the result; the next one is enlarged."""
    (photos / "cut.jpg").unlink()
    (photos / "a.png").rename(photos / ("a" * 250 + ".png"))
    out = photos.parent / "out"
    done = upsample("--images", photos, "--weights", run, "--out", out)
    assert "1 of 2 images were not enlarged" in str(done.exception)
    assert "cannot be written (File name too long)" in done.stderr
    assert [path.name for path in out.iterdir()] == ["b c.jpg.png"]


def test_a_full_disk_costs_the_images_that_have_no_room(
    photos: Path, run: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    (photos / "cut.jpg").unlink()
    Image.new("RGB", (4, 4)).save(photos / "z.png")
    out = photos.parent / "out"
    with small_files(1500):
        done = upsample("--images", photos, "--weights", run, "--out", out)
    assert "2 of 3 images were not enlarged" in str(done.exception)
    assert f"{out / 'a.png.png'} cannot be written (File too large)" in done.stderr
    assert [path.name for path in out.iterdir()] == ["z.png.png"]


def test_one_image_resized_first(photos: Path, run: Path) -> None:
    arguments = ("--images", photos / "a.png", "--weights", run, "--side", 32)
    done = upsample(*arguments, "--out", photos.parent / "out")
    assert done.exit_code == 0
    assert done.stdout == ""
    with Image.open(photos.parent / "out" / "a.png.png") as image:
        assert image.size == (52, 64)


def test_a_network_that_sharpens_enlarges_by_any_factor(photos: Path) -> None:
    network = VDSRConfig(width=4, layers=3, image_size=(28, 24), size=(10, 10))
    run = photos.parent / "vdsr"
    tiny.network_file(run / "last" / "upsampler.safetensors", network)
    given = ("--images", photos / "a.png", "--weights", run, "--out", photos.parent / "out")
    for arguments, size in (((), (38, 56)), (("--factor", 1.5), (24, 30))):
        assert upsample(*given, *arguments).exit_code == 0
        with Image.open(photos.parent / "out" / "a.png.png") as image:
            assert image.size == size  # of 16x20 pixels


@pytest.mark.parametrize(
    ("images", "weights", "message"),
    [
        ("absent", "run", "no images in absent"),
        ("empty", "run", "holds no image"),
        (".", "run", "name another --out"),
        ("photos", "absent", "no weights file absent"),
        ("photos", ".", "holds no trained upsampler"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    photos: Path, run: Path, monkeypatch: pytest.MonkeyPatch, images, weights, message
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    weights = run if weights == "run" else weights
    done = upsample("--images", images, "--weights", weights, "--out", "out")
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not Path("out").exists()
