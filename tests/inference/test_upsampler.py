"""Enlarging images of any size, and refusing networks that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

from lrjax.errors import InputError
from lrjax.inference import images as inference_images
from lrjax.inference import upsampler as module
from lrjax.inference.upsampler import LARGEST, Upsampler, upsample_files
from lrjax.models import weights
from lrjax.models.refiners import VDSR
from lrjax.models.registry import Network, build
from lrjax.models.upsamplers import DRRNConfig, SRCNNConfig, SRResNetConfig, VDSRConfig
from lrjax.models.weights import Weights

pytestmark = pytest.mark.usefixtures("quick_compile")


class Repeat:
    """A network that needs no training: it repeats pixels, a little brighter."""

    def apply(self, variables: dict[str, Any], images: jax.Array, train: bool) -> jax.Array:
        assert not train
        for axis in (1, 2):
            images = jnp.repeat(images, 4, axis)
        return images + variables["light"]


@pytest.fixture
def repeat() -> Upsampler:
    light = {"light": jnp.float32(2 / 255)}
    network = Network(SRResNetConfig(), "upsampler", Repeat(), ((32, 32, 3),))
    return Upsampler(Weights(network, light, {}, Path("repeat"), "repeat"), (4.0, 4.0))


def repeated(image: np.ndarray) -> np.ndarray:
    bright = np.minimum(image.astype(int) + 1, 255).astype(np.uint8)
    return bright.repeat(4, 0).repeat(4, 1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_images_of_all_sizes_are_enlarged_in_their_order(
    repeat: Upsampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIXELS", 3 * 32 * 32)
    shapes: list[int] = []
    whole = repeat.upsample_crops
    monkeypatch.setattr(repeat, "upsample_crops", lambda p: shapes.append(p.shape[:3]) or whole(p))
    images = [noise(*size) for size in [(20, 16), (32, 32), (33, 5), (1, 1), *5 * [(7, 30)]]]
    found = repeat([*images, Image.fromarray(images[0])])
    for image, large in zip([*images, images[0]], found, strict=True):
        np.testing.assert_array_equal(large, repeated(image))
    # The odd one is continued to 64 rows; nine others make three full parts.
    assert sorted(shapes) == [(1, 64, 32), *3 * [(3, 32, 32)]]


def test_nothing_in_nothing_out(repeat: Upsampler) -> None:
    assert repeat([]) == []


def test_images_may_be_resized_first(repeat: Upsampler) -> None:
    (large,) = repeat([noise(60, 45)], side=32)
    assert large.shape == (128, 96, 3)
    first = Image.fromarray(noise(60, 45)).resize((24, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(large, repeated(np.asarray(first)))


def test_huge_images_are_refused_unless_they_are_resized(repeat: Upsampler) -> None:
    huge = np.zeros((4, LARGEST + 1, 3), np.uint8)
    with pytest.raises(InputError, match="513x4 pixels is too large to be enlarged"):
        repeat([huge])
    assert repeat([huge], side=32)[0].shape == (4, 128, 3)


def test_files_keep_their_order_and_their_problems(
    repeat: Upsampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_images, "AT_ONCE", 2)
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for i in (0, 1, 4):
        Image.fromarray(noise(9 + i, 12)).save(files[i])
    files[2].write_text("no image")
    found = list(upsample_files(repeat, files))
    assert [path for path, _ in found] == files
    for i in (0, 1, 4):
        np.testing.assert_array_equal(found[i][1], repeated(noise(9 + i, 12)))
    assert "2.png cannot be decoded" in str(found[2][1])
    assert "3.png does not exist" in str(found[3][1])


def test_a_run_is_loaded_and_does_what_its_network_does(tmp_path: Path) -> None:
    run = tiny.upsampler_run(tmp_path)
    upsampler = Upsampler.load(run)
    assert (upsampler.factors, upsampler.size) == ((2.0, 2.0), (16, 16))
    file, found = run / "last" / "upsampler.safetensors", upsampler.weights
    image = noise(32, 32)
    apply = jax.jit(lambda v, x: found.network.module.apply(v, x, train=False))
    wanted = apply(found.variables, image[None] / np.float32(127.5) - 1)[0]
    wanted = np.clip((wanted + 1) * 127.5, 0, 255)
    (large,) = upsampler([image])
    assert large.dtype == np.uint8
    assert np.abs(large - wanted).max() < 0.51
    assert large.std() > 1
    assert Upsampler.load(file).identity == upsampler.identity
    other = jax.tree.map(lambda x: 2 * x, found.variables)
    weights.save(tmp_path / "other.safetensors", found.network.config, other, found.provenance)
    assert Upsampler.load(tmp_path / "other.safetensors").identity != upsampler.identity


def test_faces_are_cut_as_the_weights_say(tmp_path: Path) -> None:
    photo, box = Image.fromarray(noise(60, 50)), np.array([[10.0, 20.0, 16.0, 25.0]])
    network = VDSRConfig(width=4, layers=3, image_size=(28, 24), size=(14, 10))
    file = tmp_path / "upsampler.safetensors"
    # A face of 20 pixels; the crop is as much narrower than its square as 24 is than 28.
    high, wide = 40.0, 40.0 * 24 / 28
    for context, wanted in (
        (2.0, [18 - wide / 2, 32.5 - high / 2, wide, high]),
        (None, box[0]),
    ):
        tiny.network_file(file, network, context=context)
        upsampler = Upsampler.load(file)
        (large,), shown = upsampler.faces([photo], box)
        np.testing.assert_allclose(shown[0], wanted)
        assert large.shape == (28, 24, 3)
        x, y, w, h = wanted
        small = photo.resize((10, 14), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
        (expected,) = upsampler([small])
        assert np.abs(large.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("about", [{}, {"context": "2"}, {"context": 0}, {"context": True}])
def test_weights_that_do_not_say_how_faces_were_cut_are_refused(
    tmp_path: Path, about: dict[str, Any]
) -> None:
    network = VDSRConfig(width=4, layers=3, image_size=(28, 24), size=(14, 10))
    file = tiny.network_file(
        tmp_path / "old.safetensors", network, task="super_resolution", **about
    )
    with pytest.raises(InputError, match=r"old\.safetensors does not say in its context"):
        Upsampler.load(file)


def bicubic(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, 3] enlarged by JAX, in float."""
    return np.asarray(jax.image.resize(image.astype(np.float32), (height, width, 3), "bicubic"))


@pytest.mark.parametrize(
    "network",
    [
        SRCNNConfig(width=4, image_size=(28, 24), size=(10, 10)),
        VDSRConfig(width=4, layers=3, image_size=(28, 24), size=(10, 10)),
        DRRNConfig(width=4, units=2, image_size=(28, 24), size=(10, 10)),
    ],
    ids=lambda network: network.name,
)
def test_images_of_any_size_are_enlarged_before_they_are_refined(
    network: Any, tmp_path: Path
) -> None:
    file = tiny.network_file(tmp_path / "upsampler.safetensors", network)
    upsampler = Upsampler.load(file)
    assert upsampler.factors == (2.8, 2.4)
    refine = upsampler.weights.network.module
    pictures = [noise(10, 10), noise(7, 13)]
    found = upsampler(pictures)
    for image, large, size in zip(pictures, found, [(28, 24), (20, 31)], strict=True):
        assert large.shape == (*size, 3)
        assert large.dtype == np.uint8
        # Continued to whole 32s, as it is not quite for itself that a convolution sees the edge.
        enlarged = np.pad(
            bicubic(image, *size), ((0, 32 - size[0]), (0, 32 - size[1]), (0, 0)), mode="edge"
        )
        given = enlarged[None] / np.float32(127.5) - 1
        wanted = refine.apply(upsampler.weights.variables, given, train=False)
        wanted = np.clip((wanted[0] + 1) * 127.5, 0, 255)[: size[0], : size[1]]
        assert np.abs(large - wanted).max() < 0.51
        assert np.abs(large - enlarged[: size[0], : size[1]]).max() > 10
    other = Upsampler.load(file, factor=3)
    assert other([pictures[1]])[0].shape == (21, 39, 3)
    assert other.identity != upsampler.identity


def published_vdsr(path: Path, channels: int) -> Path:
    """What `lrjax convert vdsr` writes."""
    config = VDSRConfig(channels=channels, use_bias=False)
    variables = tiny.filled(build(config).shapes())
    variables = jax.tree.map(lambda kernel: np.float32(np.sqrt(2)) * kernel, variables)
    variables["params"]["conv_19"]["kernel"] *= np.float32(0.1)
    weights.save(path, config, variables, {"source": "vdsr.pth", "sha256": "0"})
    return path


def test_published_vdsr_refines_luminance_alone(tmp_path: Path) -> None:
    file = published_vdsr(tmp_path / "vdsr.safetensors", 1)
    upsampler = Upsampler.load(file, factor=2.5)
    assert upsampler.size is None
    with pytest.raises(InputError, match="does not say how large the faces are"):
        upsampler.faces([Image.fromarray(noise(12, 12))], np.array([[0, 0, 12, 12]]))
    image = noise(12, 12) // 4 + 96  # nothing is clipped
    (large,) = upsampler([image])
    assert large.shape == (30, 30, 3)
    enlarged = bicubic(image, 30, 30)
    change = large - enlarged
    assert np.abs(change).max() > 5
    # The same in red, green and blue, to within their rounding.
    assert np.ptp(change, axis=-1).max() < 1.01
    variables = upsampler.weights.variables
    grey = np.pad(enlarged, ((0, 2), (0, 2), (0, 0)), mode="edge") @ np.array(
        [0.299, 0.587, 0.114], np.float32
    )
    sharp = VDSR().apply(variables, grey[None, ..., None] / 127.5 - 1)[0, :30, :30]
    np.testing.assert_allclose(large, enlarged + (sharp + 1) * 127.5 - grey[:30, :30, None], atol=1)
    with pytest.raises(InputError, match="enlarges by any factor; say by which"):
        Upsampler.load(file)


def test_published_vdsr_for_colours_is_used_as_it_is(tmp_path: Path) -> None:
    upsampler = Upsampler.load(published_vdsr(tmp_path / "vdsr.safetensors", 3), factor=2)
    assert upsampler.weights.network.module == VDSR(channels=3)
    assert upsampler([noise(16, 16)])[0].shape == (32, 32, 3)


def test_what_doubles_has_one_factor(tmp_path: Path) -> None:
    run = tiny.upsampler_run(tmp_path)
    assert Upsampler.load(run, factor=2).identity == Upsampler.load(run).identity
    with pytest.raises(InputError, match="enlarges 2 times, and not 3 times; leave the factor out"):
        Upsampler.load(run, factor=3)


def test_what_enlarges_nothing_is_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained upsampler"):
        Upsampler.load(tmp_path)
    with pytest.raises(InputError, match=r"holds a landmark network .* name one with"):
        Upsampler.load(tiny_weights / "last" / "g2.safetensors")


def test_pixels_that_are_not_finite_are_not_given(repeat: Upsampler) -> None:
    repeat.weights.variables["light"] = jnp.float32(jnp.nan)
    with pytest.raises(InputError, match="makes pixels that are not finite; its weights"):
        repeat([np.zeros((4, 5, 3), np.uint8)])
