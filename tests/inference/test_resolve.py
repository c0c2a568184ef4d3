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
    return Resolver(SuperResolutionConfig(), Repeat(), {"light": jnp.float32(2 / 255)})


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
    assert resolver.factor == 2
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
