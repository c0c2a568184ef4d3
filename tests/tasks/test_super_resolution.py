"""Super-resolution: what it sees, loses, measures and refuses."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import people
import pytest
import tiny
from PIL import Image

from lrjax.config import TrainConfig
from lrjax.data.examples import Loaded
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.upsampler import Upsampler
from lrjax.tasks import runs, super_resolution, super_resolution_data
from lrjax.tasks.recognition_data import Framing
from lrjax.tasks.runs import find_config
from lrjax.tasks.super_resolution import SuperResolutionConfig
from lrjax.tasks.super_resolution_views import degrader, random_views, rows, to_bytes
from lrjax.training import loop, parallel
from lrjax.training.progress import read
from lrjax.training.state import State, new_net
from lrjax.training.weights import save_variables

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = tiny.shrunk(SuperResolutionConfig())
SHARPENING = tiny.shrunk(SuperResolutionConfig(network="vdsr"))
KEY = jax.random.key(3)


def frames(count: int, size: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_views_are_pieces_of_the_frames_some_of_them_mirrored() -> None:
    images = frames(24)
    part = {"images": images, "example_index": np.arange(24)}
    found = np.asarray(jax.jit(partial(random_views, CONFIG))(KEY, 5, part))
    shifts, mirrored = [], []
    for image, view in zip(images, found, strict=True):
        places = [
            (dy, dx, flip)
            for dy in range(-5, 6)
            for dx in range(-5, 6)
            for flip in (False, True)
            if (image[8 + dy :, 8 + dx :][:32, :32][:, :: -1 if flip else 1] == view).all()
        ]
        assert len(places) == 1  # 20 pixels of 128 are 5 of 32
        shifts.append(places[0][:2])
        mirrored.append(places[0][2])
    assert np.abs(shifts).max(0).tolist() == [5, 5]
    assert 4 < sum(mirrored) < 20


def test_aligned_frames_have_the_room_that_views_are_shifted_in() -> None:
    config = dataclasses.replace(SHARPENING, translation=3 / 30)
    images = np.random.default_rng(2).integers(0, 256, (30, 36, 33, 3), dtype=np.uint8)
    part = {"images": images, "example_index": np.arange(30)}
    found = np.asarray(jax.jit(partial(random_views, config))(KEY, 5, part))
    assert found.shape == (30, 30, 27, 3)
    shifts = set()
    for image, view in zip(images, found, strict=True):
        places = [
            (y, x)
            for y in range(7)
            for x in range(7)
            for step in (1, -1)
            if (image[y : y + 30, x : x + 27][:, ::step] == view).all()
        ]
        assert len(places) == 1
        shifts |= set(places)
    assert {y for y, _ in shifts} == {x for _, x in shifts} == set(range(7))


def by_pillow(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic resizing of float images [n, H, W, 3], antialiased."""
    return np.stack(
        [
            np.stack(
                [
                    np.asarray(
                        Image.fromarray(np.ascontiguousarray(image[..., c])).resize(
                            (width, height), Image.Resampling.BICUBIC
                        )
                    )
                    for c in range(3)
                ],
                axis=-1,
            )
            for image in images.astype(np.float32)
        ]
    )


class Constant:
    """A network that paints everything in one shade."""

    def apply(self, variables: dict[str, Any], images: jax.Array, train: bool) -> jax.Array:
        assert not train
        return jnp.full((len(images), 32, 32, 3), variables["params"])


@pytest.fixture(scope="module")
def constant() -> State:
    net = new_net({"params": jnp.float32(0.25)}, None)
    return State.create({"resolver": net}, {}, jax.random.key(0))


def test_faces_are_shrunk_and_compared_as_pillow_would(constant: State) -> None:
    part = {
        "images": frames(3),
        "example_index": np.arange(3),
        "valid": np.array([True, False, True]),
    }
    arguments = CONFIG, Constant(), degrader(CONFIG), constant, part
    shown, sums = jax.jit(lambda: (rows(*arguments), super_resolution._evaluate(*arguments)))()
    sharp = part["images"][:, 8:40, 8:40].astype(np.float32)
    small = np.clip(by_pillow(sharp, 16, 16), 0, 255)
    np.testing.assert_allclose(shown["sharp"], sharp / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(shown["small"], small / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["bicubic"], by_pillow(small, 32, 32) / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["resolved"], 0.25)
    errors = ((sharp / 127.5 - 1.25) ** 2).mean((1, 2, 3))[[0, 2]]
    assert sums["count"] == 2
    np.testing.assert_allclose(sums["mse"], errors.sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["psnr"], (10 * np.log10(4 / errors)).sum(), rtol=1e-5)
    assert set(sums) == {"mse", "psnr", "ssim", "psnr_bicubic", "ssim_bicubic", "count"}


@pytest.mark.parametrize("network", ["srcnn", "vdsr", "drrn"])
def test_faces_are_shrunk_and_sharpened_by_factors_that_are_neither_whole_nor_equal(
    network: str,
) -> None:
    config = dataclasses.replace(SHARPENING, network=network)
    module = super_resolution.resolver_module(config, None)
    variables = tiny.filled(
        jax.eval_shape(partial(module.init, train=False), KEY, jnp.zeros((1, 12, 10, 3)))
    )
    net = new_net(variables, None)
    state = State.create({"resolver": net}, {}, KEY)
    images = frames(3)[:, 1:, 2:-1]  # 47 x 45
    part = {"images": images, "example_index": np.arange(3), "valid": np.ones(3, bool)}
    arguments = config, module, degrader(config), state, part
    shown, pictures = jax.jit(
        lambda: (
            rows(*arguments),
            super_resolution._pictures(*arguments[:4], {"labelled": part})["faces"]["images"],
        )
    )()
    sharp = images[:, 8:38, 9:36].astype(np.float32)
    small = np.clip(by_pillow(sharp, 12, 10), 0, 255)
    large = by_pillow(small, 30, 27) / 127.5 - 1
    np.testing.assert_allclose(shown["sharp"], sharp / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(shown["small"], small / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["bicubic"], large, atol=1e-4)
    wanted = module.apply(net.variables, large, train=False, method="sharpen")
    np.testing.assert_allclose(shown["resolved"], wanted, atol=1e-3)
    assert pictures.shape == (3, 4 * 30, 27, 3)
    # Pixel by pixel: 30 rows show 12, and 27 columns 10.
    rows_of, columns_of = (np.arange(30) * 2 + 1) * 12 // 60, (np.arange(27) * 2 + 1) * 10 // 54
    pixels = small.round().astype(int)[:, rows_of][:, :, columns_of]
    assert np.abs(pictures[:, :30] - pixels).max() <= 1


def test_a_step_sharpens_what_it_made_small() -> None:
    config = dataclasses.replace(SHARPENING, network="drrn", pixel=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(super_resolution, "make_optimizer", lambda config, steps: optax.sgd(0.1))
        task = super_resolution.make(config, 10)
    state = tiny.start(task)
    mesh = parallel.make_mesh(jax.devices()[:1])
    batch = {"labelled": {"images": frames(4, 44), "example_index": np.arange(4)}}
    train = TrainConfig(batch_size=4, feed="host", parallel="mesh")
    new, metrics = loop.compile_step(task, train, mesh)(
        parallel.replicate(state, mesh), parallel.shard(batch, mesh)
    )
    module = super_resolution.resolver_module(config, None)
    net = state.nets["resolver"]

    def loss(params: dict[str, Any]) -> tuple[jax.Array, Any]:
        views = random_views(config, state.key, state.step, batch["labelled"])
        assert views.shape == (4, 30, 27, 3)
        small = degrader(config)(state, views, None)
        assert small.shape == (4, 12, 10, 3)
        variables = {"params": params, **net.stats}
        made, stats = module.apply(variables, small, train=True, mutable=["batch_stats"])
        return 2 * jnp.square(made - (views / 127.5 - 1)).mean(), stats

    (value, stats), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(net.params)
    np.testing.assert_allclose(metrics["pixel"], value / 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["weighted/pixel"], value, rtol=1e-4)
    assert value > 0.1
    moved = new.nets["resolver"]
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    for after, before, change in zip(
        *map(jax.tree.leaves, (moved.params, net.params, slope)), strict=True
    ):
        np.testing.assert_allclose(after, before - 0.1 * change, atol=1e-4 * max(scale, 1.0))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), moved.stats, stats)


def test_batch_statistics_are_those_of_all_devices() -> None:
    for network in ("srresnet", "drrn"):
        module = super_resolution.resolver_module(dataclasses.replace(SHARPENING, network=network))
        assert getattr(module, "network", module).axis_name == parallel.AXIS


def test_pictures_are_strips_of_four(constant: State) -> None:
    batch = {"labelled": {"images": frames(2), "example_index": np.arange(2)}}
    pictures = partial(super_resolution._pictures, CONFIG, Constant(), degrader(CONFIG))
    found = jax.jit(pictures)(constant, batch)["faces"]["images"]
    assert found.shape == (2, 4 * 32, 32, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 0:32:2, 0::2], found[:, 1:32:2, 1::2])
    assert (found[:, 64:96] == 159).all()
    np.testing.assert_array_equal(found[:, 96:], batch["labelled"]["images"][:, 8:40, 8:40])


def test_bytes_are_rounded_and_clipped() -> None:
    assert to_bytes(jnp.array([-1.5, -1.0, 0.0, 0.251, 1.0, 9.0])).tolist() == [
        *(0, 0, 128, 160, 255, 255)
    ]


@pytest.fixture(
    scope="module",
    params=[
        "srgan",
        pytest.param("esrgan", marks=pytest.mark.slow),  # takes thrice as long to compile
    ],
)
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A configuration, and its networks before and after one step of gradient descent."""
    config = tiny.shrunk(find_config(f"super_resolution:{request.param}-small"))
    if request.param == "esrgan":
        vgg = tiny.vgg_file(tmp_path_factory.mktemp("vgg") / "vgg.safetensors")
        config = tiny.shrunk(find_config("super_resolution:esrgan"), vgg=str(vgg))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(super_resolution, "make_optimizer", lambda config, steps: optax.sgd(0.1))
        task = super_resolution.make(config, 10)
    state = tiny.start(task)
    mesh = parallel.make_mesh(jax.devices()[:1])
    train = TrainConfig(batch_size=4, feed="host", parallel="mesh")
    batch = {"labelled": {"images": frames(4), "example_index": np.arange(4)}}
    run = loop.compile_step(task, train, mesh)
    new, metrics = run(parallel.replicate(state, mesh), parallel.shard(batch, mesh))
    return config, state, batch["labelled"], jax.device_get(new.nets), jax.device_get(metrics)


def test_the_terms_are_those_of_the_papers(step: tuple) -> None:
    config, state, part, _, metrics = step

    @jax.jit
    def by_hand(nets: dict[str, Any], part: dict[str, Any]) -> list[Any]:
        views = random_views(config, state.key, state.step, part)
        small, sharp = degrader(config)(state, views, None), views / 127.5 - 1
        module = super_resolution.resolver_module(config, None)
        train = {"train": True, "mutable": "batch_stats"}
        made, _ = module.apply(nets["resolver"].variables, small, **train)
        judge = super_resolution.SharpnessDiscriminator(**dataclasses.asdict(config.discriminator))
        scores = [
            judge.apply(nets["discriminator"].variables, x, **train)[0] for x in (sharp, made)
        ]
        seen = sharp, made
        if config.vgg:
            features, _ = super_resolution.load_vgg(config.vgg, config.activated)
            seen = [features.apply(nets["vgg"].variables, x) for x in seen]
        return [sharp, made, *scores, *seen]

    sharp, made, real, fake, *seen = map(np.asarray, by_hand(state.nets, part))
    assert made.shape == sharp.shape
    assert abs(made - sharp).max() > 0.1
    wanted = {"score_real": real.mean(), "score_fake": fake.mean()}

    def cost(scores: np.ndarray) -> float:
        """-mean log σ."""
        return float(np.log1p(np.exp(-scores.astype(np.float64))).mean())

    if config.adversarial == "gan":
        weights = {"pixel": 1.0, "gan": 1e-3}
        wanted["pixel"] = ((made - sharp) ** 2).mean()
        wanted["critic"] = cost(real) + cost(-fake)
        wanted["gan"] = cost(fake)
    else:
        weights = {"pixel": 0.01, "perceptual": 1.0, "gan": 0.005}
        wanted["pixel"] = abs(made - sharp).mean()
        wanted["perceptual"] = abs(seen[0] - seen[1]).mean()
        wanted["critic"] = cost(real - fake.mean()) + cost(real.mean() - fake)
        wanted["gan"] = cost(fake - real.mean()) + cost(fake.mean() - real)
    for name, value in wanted.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-3, atol=1e-4, err_msg=name)
    for name, weight in weights.items():
        np.testing.assert_allclose(metrics[f"weighted/{name}"], weight * metrics[name], rtol=1e-5)
    assert sum(name.startswith("weighted") for name in metrics) == len(weights)


def test_both_players_learn_and_vgg_does_not(step: tuple) -> None:
    config, state, _, nets, metrics = step
    # What shifts all scores alike leaves a relativistic loss as it is.
    shift = ["['hidden']['bias']", "['score']['bias']"] * (config.adversarial == "relativistic")
    for name in ("resolver", "discriminator"):
        old = jax.tree_util.tree_leaves_with_path(state.nets[name].params)
        new = jax.tree.leaves(nets[name].params)
        for (path, before), after in zip(old, new, strict=True):
            layer = jax.tree_util.keystr(path)
            assert layer in shift or (np.asarray(before) != after).any(), layer
        assert metrics[f"update/{name}"] > 0
    assert ("vgg" in nets) == (config.vgg is not None)
    if config.vgg is not None:
        assert tiny.same(state.nets["vgg"], nets["vgg"])
    before, after = (n["discriminator"].stats["batch_stats"] for n in (state.nets, nets))
    assert not tiny.same(before, after)
    assert jax.tree.map(np.shape, before) == jax.tree.map(np.shape, after)


def test_the_generator_of_a_run_may_degrade(tmp_path: Path) -> None:
    run = tiny.stage1_run(tmp_path)
    config = dataclasses.replace(CONFIG, degradation="generator", stage1=str(run))
    state = jax.eval_shape(super_resolution.make(config, 10).init, jax.random.key(0))
    assert set(state.nets) == {"resolver", "g1"}
    views, keys = jnp.zeros((2, 32, 32, 3)), jax.random.split(KEY, 2)
    assert jax.eval_shape(degrader(config), state, views, keys).shape == (2, 16, 16, 3)


def test_training_goes_on_from_another_run_of_the_same_network(tmp_path: Path) -> None:
    run = tiny.upsampler_run(tmp_path)
    shapes = jax.eval_shape(super_resolution.make(CONFIG, 10).init, jax.random.key(0))
    net = shapes.nets["resolver"]
    warm = super_resolution.start_from(net, str(run))
    assert tiny.same(warm.variables, tiny.filled(net.variables))
    assert warm.opt_state is net.opt_state
    wider = dataclasses.replace(CONFIG, generator=super_resolution.ResolverConfig(5, 1))
    other = jax.eval_shape(super_resolution.make(wider, 10).init, jax.random.key(0))
    with pytest.raises(InputError, match="set initial to a run with the same network"):
        super_resolution.start_from(other.nets["resolver"], str(run))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (12, 12)}, "from 12x12 to 32x32 .* 2.66667: they are not one whole number"),
        ({"size": (16, 8)}, "'srresnet' doubles .* factors are 2 and 4: they are not one"),
        ({"size": (32, 32)}, "factor 1 is not a power of two"),
        ({"image_size": (48, 48)}, "factor 3 is not a power of two.* one of srcnn, vdsr, drrn"),
        ({"size": (0, 0)}, "32x32 pixels cannot be made small to 0x0"),
        ({"size": (16, 64)}, "32x32 pixels cannot be made small to 16x64"),
        (
            {"network": "vdsr", "size": (16, 12), "degradation": "subsample"},
            "'subsample' makes square faces smaller by a whole number, but .* size 16x12",
        ),
        ({"translation": 0.3}, "translation 0.3 must be between 0 and 0.25"),
        ({"degradation": "generator"}, "stage1 is empty but degradation is 'generator'"),
        ({"perceptual": 1.0}, "set perceptual and vgg"),
        ({"vgg": "vgg.safetensors"}, "set perceptual and vgg"),
        ({"perceptual": 1.0, "vgg": "absent.safetensors"}, "no weights file absent"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        super_resolution.make(dataclasses.replace(CONFIG, **changes), 10)


def load(monkeypatch: pytest.MonkeyPatch, portraits: Identities, **changes: Any) -> Loaded:
    """The data of a run on `portraits`."""
    monkeypatch.setattr(super_resolution_data, "load_identities", lambda spec, data_dir: portraits)
    config = dataclasses.replace(SHARPENING, alignment="resize", **changes)
    return super_resolution_data.load(config, Path("nowhere"), people.darkened)


def test_pictures_of_people_are_framed_with_room_to_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    label = [0, 1, 2, 3, 4, 5] * 8
    parts, held_out, config = load(monkeypatch, people.portraits(label), holdout=0.3)
    assert config.alignment == "resize"
    assert set(parts) == {"labelled"}
    assert set(parts["labelled"].arrays) == {"images"}
    # 20 pixels of 128 are 4.7 of 30.
    assert parts["labelled"].arrays["images"].shape[1:] == (38, 35, 3)
    assert len(parts["labelled"]) + len(held_out) == 48
    assert 5 < len(held_out) < 25
    assert parts["labelled"].note == "3 of 4 faces aligned"
    assert held_out.fingerprint != parts["labelled"].fingerprint
    assert load(monkeypatch, people.portraits(label), holdout=0.0).held_out is None


def test_pictures_of_nobody_known_can_be_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, held_out, _ = load(monkeypatch, people.portraits([-1] * 20 + [0, 1]), holdout=0.4)
    assert 2 < len(held_out) < 16
    assert len(parts["labelled"]) + len(held_out) == 22


def test_how_faces_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Framing] = []
    monkeypatch.setattr(
        people, "darkened", lambda p, f, d=people.darkened: asked.append(f) or d(p, f)
    )
    changes = {"region": (0.25, 0.3, 0.5, 0.5), "fit": "affine", "plain": "pad", "holdout": 0.0}
    load(monkeypatch, people.portraits([0, 1]), **changes)
    streamed = dataclasses.replace(SHARPENING.train, feed="host")
    load(monkeypatch, people.portraits([0, 1]), translation=0.1, train=streamed, **changes)
    for framing, border, feed in zip(asked, (4, 3), (False, True), strict=True):
        assert (framing.alignment, framing.fit, framing.plain) == ("resize", "affine", "pad")
        assert (framing.region, framing.border, framing.streamed) == (
            changes["region"],
            border,
            feed,
        )
        assert (framing.template.height, framing.template.width) == (30, 27)


def test_faces_lie_as_recognisers_want_them() -> None:
    for name in ("arcface112", "centerface", "face32"):
        wanted = TEMPLATES[name]
        config = dataclasses.replace(SHARPENING, image_size=(wanted.height, wanted.width))
        found = super_resolution_data.face_template(config)
        assert (found.height, found.width) == (wanted.height, wanted.width)
        np.testing.assert_allclose(found.points, wanted.points, atol=1e-9)


def test_without_alignment_the_faces_are_those_with_landmarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}

    def faces(spec: Any, **how: Any) -> Any:
        asked.update(how, spec=spec)
        return tiny.faces(12, how["crop_size"], how["scheme"])

    monkeypatch.setattr("lrjax.tasks.faces.load_faces", faces)
    config = dataclasses.replace(SHARPENING, labelled=("w300:train",), holdout=0.0)
    parts, held_out, _ = super_resolution_data.load(config, Path("nowhere"), people.darkened)
    assert (asked["spec"], asked["crop_size"]) == (("w300:train",), 30)
    assert held_out is None
    assert parts["labelled"].arrays["images"].shape == (12, 45, 45, 3)


def test_what_is_no_vgg_is_refused(tmp_path: Path) -> None:
    save_variables(tmp_path / "x.safetensors", {"params": {"conv1_1": {"bias": np.zeros(2)}}}, {})
    with pytest.raises(InputError, match="does not hold the convolutions of VGG-19"):
        super_resolution.load_vgg(str(tmp_path / "x.safetensors"), True)


def test_the_best_network_is_chosen_only_where_pixels_are_all_that_counts() -> None:
    for name, best in (("srresnet", "mse"), ("rrdb", "mse"), ("srgan", None), ("esrgan", None)):
        task = super_resolution.make(find_config(f"super_resolution:{name}-small"), 10)
        assert task.best == best


@pytest.mark.slow
def test_a_run_enlarges_and_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = runs.TASKS["super_resolution"]
    monkeypatch.setitem(runs.TASKS, "super_resolution", entry._replace(load=tiny.noise))
    drawn: dict[int, Any] = {}
    train = tiny.train_config(batch_size=4, steps=2)
    first = tiny.shrunk(find_config("super_resolution:srresnet-small"), train=train)
    place = {"data_dir": Path("nowhere"), "pictures": drawn.__setitem__}
    state = runs.train(first, tmp_path / "first", **place)
    assert drawn[2]["faces"]["images"].shape == (2, 128, 32, 3)
    held_out = [r for r in read(tmp_path / "first" / "metrics.jsonl") if "held_out/mse" in r]
    assert [record["step"] for record in held_out] == [2]
    for which in ("best", "last"):
        (large,) = Upsampler.load(tmp_path / "first", which)([frames(1, 12)[0]])
        assert large.shape == (24, 24, 3)
    second = tiny.shrunk(
        find_config("super_resolution:srgan-small"), train=train, initial=str(tmp_path / "first")
    )
    begin = super_resolution.make(second, 2).init(jax.random.key(0))
    assert tiny.same(begin.nets["resolver"].variables, state.nets["resolver"].variables)
    runs.train(second, tmp_path / "second", **place)
    names = {path.name for path in (tmp_path / "second" / "last").iterdir()}
    assert names == {"resolver.safetensors", "discriminator.safetensors"}
    assert not (tmp_path / "second" / "best").exists()
