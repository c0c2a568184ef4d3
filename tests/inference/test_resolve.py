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
from lrjax.inference import resolve
from lrjax.inference.resolve import LARGEST, Resolver, load_resolver, resolve_files
from lrjax.models.vdsr import VDSR
from lrjax.tasks.super_resolution import SuperResolutionConfig
from lrjax.training.weights import load_variables, save_variables

pytestmark = pytest.mark.usefixtures("quick_compile")


class Repeat:
    """A network that needs no training: it repeats pixels, a little brighter."""

    def apply(self, variables: dict[str, Any], images: jax.Array, train: bool) -> jax.Array:
        assert not train
        for axis in (1, 2):
            images = jnp.repeat(images, 4, axis)
        return images + variables["light"]


@pytest.fixture
def repeat() -> Resolver:
    light = {"light": jnp.float32(2 / 255)}
    return Resolver(SuperResolutionConfig(), Repeat(), light, (4.0, 4.0))


def repeated(image: np.ndarray) -> np.ndarray:
    bright = np.minimum(image.astype(int) + 1, 255).astype(np.uint8)
    return bright.repeat(4, 0).repeat(4, 1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_images_of_all_sizes_are_enlarged_in_their_order(
    repeat: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "_PIXELS", 3 * 32 * 32)
    shapes: list[int] = []
    views = repeat.views
    monkeypatch.setattr(repeat, "views", lambda p: shapes.append(p.shape[:3]) or views(p))
    images = [noise(*size) for size in [(20, 16), (32, 32), (33, 5), (1, 1), *5 * [(7, 30)]]]
    found = repeat([*images, Image.fromarray(images[0])])
    for image, large in zip([*images, images[0]], found, strict=True):
        np.testing.assert_array_equal(large, repeated(image))
    # The odd one is continued to 64 rows; nine others make three full parts.
    assert sorted(shapes) == [(1, 64, 32), *3 * [(3, 32, 32)]]


def test_nothing_in_nothing_out(repeat: Resolver) -> None:
    assert repeat([]) == []


def test_images_may_be_resized_first(repeat: Resolver) -> None:
    (large,) = repeat([noise(60, 45)], side=32)
    assert large.shape == (128, 96, 3)
    first = Image.fromarray(noise(60, 45)).resize((24, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(large, repeated(np.asarray(first)))


def test_huge_images_are_refused_unless_they_are_resized(repeat: Resolver) -> None:
    huge = np.zeros((4, LARGEST + 1, 3), np.uint8)
    with pytest.raises(InputError, match="513x4 pixels is too large to be enlarged"):
        repeat([huge])
    assert repeat([huge], side=32)[0].shape == (4, 128, 3)


def test_files_keep_their_order_and_their_problems(
    repeat: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "_FILES", 2)
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for i in (0, 1, 4):
        Image.fromarray(noise(9 + i, 12)).save(files[i])
    files[2].write_text("no image")
    found = list(resolve_files(repeat, files))
    assert [path for path, _ in found] == files
    for i in (0, 1, 4):
        np.testing.assert_array_equal(found[i][1], repeated(noise(9 + i, 12)))
    assert "2.png cannot be decoded" in str(found[2][1])
    assert "3.png does not exist" in str(found[3][1])


def test_a_run_is_loaded_and_does_what_its_network_does(tmp_path: Path) -> None:
    run = tiny.resolver_run(tmp_path)
    resolver = Resolver.load(run)
    assert resolver.factors == (2.0, 2.0)
    file = run / "last" / "resolver.safetensors"
    _, module, variables = load_resolver(file)
    image = noise(32, 32)
    apply = jax.jit(lambda v, x: module.apply(v, x, train=False))
    wanted = apply(variables, image[None] / np.float32(127.5) - 1)[0]
    wanted = np.clip((wanted + 1) * 127.5, 0, 255)
    (large,) = resolver([image])
    assert large.dtype == np.uint8
    assert np.abs(large - wanted).max() < 0.51
    assert large.std() > 1
    assert Resolver.load(file).identity == resolver.identity
    other = jax.tree.map(lambda x: 2 * x, variables)
    save_variables(tmp_path / "other.safetensors", other, load_variables(file)[1])
    assert Resolver.load(tmp_path / "other.safetensors").identity != resolver.identity


def bicubic(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, 3] enlarged by JAX, in float."""
    return np.asarray(jax.image.resize(image.astype(np.float32), (height, width, 3), "bicubic"))


@pytest.mark.parametrize("network", ["srcnn", "vdsr", "drrn"])
def test_images_of_any_size_are_enlarged_before_they_are_sharpened(
    network: str, tmp_path: Path
) -> None:
    run = tiny.resolver_run(tmp_path, network=network, image_size=(28, 24), size=(10, 10))
    resolver = Resolver.load(run)
    assert resolver.factors == (2.8, 2.4)
    _, module, variables = load_resolver(run / "last" / "resolver.safetensors")
    pictures = [noise(10, 10), noise(7, 13)]
    found = resolver(pictures)
    for image, large, size in zip(pictures, found, [(28, 24), (20, 31)], strict=True):
        assert large.shape == (*size, 3)
        assert large.dtype == np.uint8
        # Continued to whole 32s, as it is not quite for itself that a convolution sees the edge.
        enlarged = np.pad(
            bicubic(image, *size), ((0, 32 - size[0]), (0, 32 - size[1]), (0, 0)), mode="edge"
        )
        wanted = module.apply(
            variables, enlarged[None] / np.float32(127.5) - 1, train=False, method="sharpen"
        )
        wanted = np.clip((wanted[0] + 1) * 127.5, 0, 255)[: size[0], : size[1]]
        assert np.abs(large - wanted).max() < 0.51
        assert np.abs(large - enlarged[: size[0], : size[1]]).max() > 10
    other = Resolver.load(run, factor=3)
    assert other([pictures[1]])[0].shape == (21, 39, 3)
    assert other.identity != resolver.identity


def vdsr_file(path: Path, channels: int) -> Path:
    """What `lrjax convert vdsr` writes."""
    module = VDSR(channels=channels)
    image = jnp.zeros((1, 8, 8, channels))
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda kernel: np.sqrt(2) * kernel, tiny.filled(shapes))
    variables["params"]["conv_19"]["kernel"] *= 0.1
    options = {"channels": channels, "use_bias": False}
    save_variables(path, variables, {"network": "vdsr", "options": options})
    return path


def test_published_vdsr_sharpens_luminance_alone(tmp_path: Path) -> None:
    file = vdsr_file(tmp_path / "vdsr.safetensors", 1)
    resolver = Resolver.load(file, factor=2.5)
    image = noise(12, 12) // 4 + 96  # nothing is clipped
    (large,) = resolver([image])
    assert large.shape == (30, 30, 3)
    enlarged = bicubic(image, 30, 30)
    change = large - enlarged
    assert np.abs(change).max() > 5
    # The same in red, green and blue, to within their rounding.
    assert np.ptp(change, axis=-1).max() < 1.01
    variables, _ = load_variables(file)
    grey = np.pad(enlarged, ((0, 2), (0, 2), (0, 0)), mode="edge") @ np.array(
        [0.299, 0.587, 0.114], np.float32
    )
    sharp = VDSR().apply(variables, grey[None, ..., None] / 127.5 - 1)[0, :30, :30]
    np.testing.assert_allclose(large, enlarged + (sharp + 1) * 127.5 - grey[:30, :30, None], atol=1)
    with pytest.raises(InputError, match="enlarges by any factor; say by which"):
        Resolver.load(file)


def test_published_vdsr_for_colours_is_used_as_it_is(tmp_path: Path) -> None:
    file = vdsr_file(tmp_path / "vdsr.safetensors", 3)
    _, module, _ = load_resolver(file)
    assert module.network == VDSR(channels=3)
    assert Resolver.load(file, factor=2)([noise(16, 16)])[0].shape == (32, 32, 3)


def test_what_doubles_has_one_factor(tmp_path: Path) -> None:
    run = tiny.resolver_run(tmp_path)
    assert Resolver.load(run, factor=2).identity == Resolver.load(run).identity
    with pytest.raises(InputError, match="enlarges 2 times, and not 3 times; leave the factor out"):
        Resolver.load(run, factor=3)


def test_what_is_no_resolver_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained super-resolution network"):
        Resolver.load(tmp_path)
    run = tiny.resolver_run(tmp_path)
    variables, metadata = load_variables(run / "last" / "resolver.safetensors")
    file = tmp_path / "x.safetensors"
    save_variables(file, variables, metadata | {"network": "g2"})
    with pytest.raises(InputError, match=r"holds 'g2'; name the resolver\.safetensors"):
        load_resolver(file)
    deeper = metadata["config"] | {"generator": {"width": 4, "blocks": 2, "growth": 2}}
    save_variables(file, variables, metadata | {"config": deeper})
    with pytest.raises(InputError, match="not those of the network"):
        load_resolver(file)
