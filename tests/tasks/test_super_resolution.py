"""Super-resolution: what it sees, loses, measures and refuses."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import people
import pytest
import tiny
from PIL import Image

from lrjax.config import AlignmentConfig, TrainConfig
from lrjax.data.examples import Loaded
from lrjax.data.identities import Identities
from lrjax.data.pixels import to_bytes
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.upsampler import Upsampler
from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.upsamplers import (
    DRRNConfig,
    RefinerConfig,
    SRCNNConfig,
    SRResNetConfig,
    VDSRConfig,
    VGGConfig,
)
from lrjax.tasks import data, run_folder, runs, super_resolution
from lrjax.tasks.runs import find_config
from lrjax.tasks.super_resolution import SuperResolutionConfig, degraded, random_crops, rows
from lrjax.training import loop, parallel
from lrjax.training.log import read
from lrjax.training.nets import Nets
from lrjax.training.state import Net, State
from lrjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = tiny.shrunk(SuperResolutionConfig())
REFINING = tiny.shrunk(SuperResolutionConfig(network=VDSRConfig()))
KEY = jax.random.key(3)
NOBODY = Nets({}, {})  # where nothing is asked of any network


def frames(count: int, size: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def at(step: int) -> State:
    """A state of no networks after so many steps."""
    return State.create({}, {}, KEY).replace(step=step)


def test_crops_are_pieces_of_the_frames_some_of_them_mirrored() -> None:
    images = frames(24)
    part = {"images": images, "example_index": np.arange(24)}
    found = np.asarray(jax.jit(partial(random_crops, CONFIG))(at(5), part))
    shifts, mirrored = [], []
    for image, crop in zip(images, found, strict=True):
        places = [
            (dy, dx, flip)
            for dy in range(-5, 6)
            for dx in range(-5, 6)
            for flip in (False, True)
            if (image[8 + dy :, 8 + dx :][:32, :32][:, :: -1 if flip else 1] == crop).all()
        ]
        assert len(places) == 1  # 20 pixels of 128 are 5 of 32
        shifts.append(places[0][:2])
        mirrored.append(places[0][2])
    assert np.abs(shifts).max(0).tolist() == [5, 5]
    assert 4 < sum(mirrored) < 20


def test_aligned_frames_have_the_room_that_crops_are_shifted_in() -> None:
    config = dataclasses.replace(REFINING, translation=3 / 30)
    images = np.random.default_rng(2).integers(0, 256, (30, 36, 33, 3), dtype=np.uint8)
    part = {"images": images, "example_index": np.arange(30)}
    found = np.asarray(jax.jit(partial(random_crops, config))(at(5), part))
    assert found.shape == (30, 30, 27, 3)
    shifts = set()
    for image, crop in zip(images, found, strict=True):
        places = [
            (y, x)
            for y in range(7)
            for x in range(7)
            for step in (1, -1)
            if (image[y : y + 30, x : x + 27][:, ::step] == crop).all()
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


class Constant(Nets):
    """A network that paints everything in one shade."""

    def __call__(self, name: str, *inputs: jax.Array, **options: Any) -> jax.Array:
        assert (name, options) == ("upsampler", {})
        return jnp.full((len(inputs[0]), 32, 32, 3), 0.25)


CONSTANT = Constant({}, {})


def test_faces_are_shrunk_and_compared_as_pillow_would() -> None:
    part = {
        "images": frames(3),
        "example_index": np.arange(3),
        "valid": np.array([True, False, True]),
    }
    arguments = CONFIG, CONSTANT, part
    shown, sums = jax.jit(lambda: (rows(*arguments), super_resolution.evaluate(*arguments)))()
    sharp = part["images"][:, 8:40, 8:40].astype(np.float32)
    small = np.clip(by_pillow(sharp, 16, 16), 0, 255)
    np.testing.assert_allclose(shown["sharp"], sharp / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(shown["small"], small / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["bicubic"], by_pillow(small, 32, 32) / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["upsampled"], 0.25)
    errors = ((sharp / 127.5 - 1.25) ** 2).mean((1, 2, 3))[[0, 2]]
    assert sums["count"] == 2
    np.testing.assert_allclose(sums["mse"], errors.sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["psnr"], (10 * np.log10(4 / errors)).sum(), rtol=1e-5)
    assert set(sums) == {"mse", "psnr", "ssim", "psnr_bicubic", "ssim_bicubic", "count"}


@pytest.mark.parametrize("network", [SRCNNConfig(), VDSRConfig(), DRRNConfig()])
def test_faces_are_shrunk_and_refined_by_factors_that_are_neither_whole_nor_equal(
    network: RefinerConfig,
) -> None:
    config = tiny.shrunk(SuperResolutionConfig(network=network))
    module, variables = build(config.network).module, tiny.filled(build(config.network).shapes())
    stats = {kind: value for kind, value in variables.items() if kind != "params"}
    nets = Nets({"upsampler": module}, {"upsampler": Net(variables["params"], stats)})
    images = frames(3)[:, 1:, 2:-1]  # 47 x 45
    part = {"images": images, "example_index": np.arange(3), "valid": np.ones(3, bool)}
    shown, pictures = jax.jit(
        lambda: (
            rows(config, nets, part),
            super_resolution.pictures(config, nets, {"labelled": part})["faces"]["images"],
        )
    )()
    sharp = images[:, 8:38, 9:36].astype(np.float32)
    small = np.clip(by_pillow(sharp, 12, 10), 0, 255)
    large = by_pillow(small, 30, 27) / 127.5 - 1
    np.testing.assert_allclose(shown["sharp"], sharp / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(shown["small"], small / 127.5 - 1, atol=1e-4)
    np.testing.assert_allclose(shown["bicubic"], large, atol=1e-4)
    wanted = module.apply(variables, large, train=False)
    np.testing.assert_allclose(shown["upsampled"], wanted, atol=1e-3)
    assert pictures.shape == (3, 4 * 30, 27, 3)
    # Pixel by pixel: 30 rows show 12, and 27 columns 10.
    rows_of, columns_of = (np.arange(30) * 2 + 1) * 12 // 60, (np.arange(27) * 2 + 1) * 10 // 54
    pixels = small.round().astype(int)[:, rows_of][:, :, columns_of]
    assert np.abs(pictures[:, :30] - pixels).max() <= 1


def one_step(config: SuperResolutionConfig, faces: np.ndarray) -> tuple[State, dict, State, dict]:
    """The state before one step of gradient descent, its faces, the state after it, and metrics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(super_resolution, "make_optimizer", lambda *about: optax.sgd(0.1))
        task = super_resolution.make(config, 10)
    state, part = tiny.start(task), {"images": faces, "example_index": np.arange(len(faces))}
    mesh = parallel.make_mesh(jax.devices()[:1])
    train = TrainConfig(batch_size=len(faces), feed="host", parallel="mesh")
    run = loop.compile_step(task, train, mesh)
    batch = loop.for_step(parallel.shard({"labelled": part}, mesh), 0, mesh)
    new, metrics = run(parallel.replicate(state, mesh), batch)
    return state, part, new, metrics


def test_a_step_refines_what_it_made_small() -> None:
    config = tiny.shrunk(SuperResolutionConfig(network=DRRNConfig()), pixel=2.0)
    state, part, new, metrics = one_step(config, frames(4, 44))
    module = build(config.network).module
    net = state.nets["upsampler"]

    def loss(params: dict[str, Any]) -> tuple[jax.Array, Any]:
        crops = random_crops(config, state, part)
        assert crops.shape == (4, 30, 27, 3)
        small = degraded(config, NOBODY, crops, None)
        assert small.shape == (4, 12, 10, 3)
        variables = {"params": params, **net.stats}
        large = jax.image.resize(small, (4, 30, 27, 3), "bicubic")
        made, stats = module.apply(variables, large, train=True, mutable=["batch_stats"])
        return 2 * jnp.square(made - (crops / 127.5 - 1)).mean(), stats

    (value, stats), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(net.params)
    np.testing.assert_allclose(metrics["pixel"], value / 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["weighted/pixel"], value, rtol=1e-4)
    assert value > 0.1
    moved = new.nets["upsampler"]
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    for after, before, change in zip(
        *map(jax.tree.leaves, (moved.params, net.params, slope)), strict=True
    ):
        np.testing.assert_allclose(after, before - 0.1 * change, atol=1e-4 * max(scale, 1.0))
    chex.assert_trees_all_close(moved.stats, stats, rtol=1e-3, atol=1e-4)


def test_batch_statistics_are_those_of_all_devices() -> None:
    for network in (SRResNetConfig(), DRRNConfig()):
        config = SuperResolutionConfig(network=network, adversarial="gan")
        modules = super_resolution.make(config, 10).modules
        assert modules["upsampler"].axis_name == parallel.AXIS
        assert modules["discriminator"].axis_name == parallel.AXIS


def test_pictures_are_strips_of_four() -> None:
    batch = {"labelled": {"images": frames(2), "example_index": np.arange(2)}}
    pictures = partial(super_resolution.pictures, CONFIG, CONSTANT)
    found = jax.jit(pictures)(batch)["faces"]["images"]
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
    config = tiny.shrunk(find_config(f"super_resolution:{request.param}-small"), initial=None)
    if request.param == "esrgan":
        vgg = tiny.vgg_file(tmp_path_factory.mktemp("vgg") / "vgg.safetensors")
        config = tiny.shrunk(find_config("super_resolution:esrgan"), initial=None, vgg=str(vgg))
    state, part, new, metrics = one_step(config, frames(4))
    return config, state, part, jax.device_get(new.nets), jax.device_get(metrics)


def test_the_terms_are_those_of_the_papers(step: tuple) -> None:
    config, state, part, _, metrics = step

    @jax.jit
    def by_hand(nets: dict[str, Any], part: dict[str, Any]) -> list[Any]:
        crops = random_crops(config, state, part)
        small, sharp = degraded(config, NOBODY, crops, None), crops / 127.5 - 1
        train = {"train": True, "mutable": "batch_stats"}
        made, _ = build(config.network).module.apply(nets["upsampler"].variables, small, **train)
        judge = build(config.discriminator).module
        scores = [
            judge.apply(nets["discriminator"].variables, x, **train)[0] for x in (sharp, made)
        ]
        seen = sharp, made
        if config.vgg:
            features = build(VGGConfig(widths=(2, 2, 3, 3, 4), activated=False)).module
            seen = [features.apply(nets["vgg"].variables, x, train=False) for x in seen]
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
        weights = {"pixel": 0.005, "perceptual": 1.0, "gan": 0.005}
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
    for name in ("upsampler", "discriminator"):
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
    task = super_resolution.make(config, 10)
    state = jax.eval_shape(partial(init_state, task), jax.random.key(0))
    assert set(state.nets) == {"upsampler", "g1"}
    crops, keys = jnp.zeros((2, 32, 32, 3)), jax.random.split(KEY, 2)

    def made(nets: dict[str, Net]) -> jax.Array:
        return degraded(config, Nets(task.modules, nets), crops, keys)

    assert jax.eval_shape(made, state.nets).shape == (2, 16, 16, 3)
    smaller = dataclasses.replace(config.network, size=(8, 8))
    with pytest.raises(InputError, match="makes 16 pixels of 32, and not 8 of 32"):
        super_resolution.make(dataclasses.replace(config, network=smaller), 10)


def test_training_goes_on_from_another_run_of_the_same_network(tmp_path: Path) -> None:
    run = tiny.upsampler_run(tmp_path)
    warm = super_resolution.make(dataclasses.replace(CONFIG, initial=str(run)), 10)
    net = init_state(warm, jax.random.key(0)).nets["upsampler"]
    assert tiny.same(net.variables, tiny.filled(build(CONFIG.network).shapes()))
    assert not any(leaf.any() for leaf in jax.tree.leaves(net.opt_state))
    wider = dataclasses.replace(CONFIG.network, width=5)
    with pytest.raises(InputError, match="set initial to weights of that network"):
        super_resolution.make(dataclasses.replace(CONFIG, network=wider, initial=str(run)), 10)


def sized(**sizes: tuple[int, int]) -> dict[str, Any]:
    """The field `network` with other sizes."""
    return {"network": dataclasses.replace(CONFIG.network, **sizes)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (sized(size=(12, 12)), r"from size \(12, 12\) to .* factors are 2.66667 and 2.66667"),
        (sized(size=(16, 8)), "'srresnet' doubles .* factors are 2 and 4; set image_size"),
        (sized(size=(32, 32)), "factors are 1 and 1; set image_size to 2, 4, 8"),
        (sized(image_size=(48, 48)), "factors are 3 and 3; .* one of srcnn, vdsr and drrn"),
        (sized(size=(0, 0)), "32x32 pixels cannot be made small to 0x0"),
        (sized(size=(16, 64)), "32x32 pixels cannot be made small to 16x64"),
        (
            {"network": VDSRConfig(size=(16, 12)), "degradation": "subsample"},
            "'subsample' makes square faces smaller by a whole number, but .*network.size 16x12",
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
    people.prepared(monkeypatch, portraits)
    changes = {"alignment": AlignmentConfig("resize")} | changes
    return data.load_super_resolution(dataclasses.replace(REFINING, **changes), Path("nowhere"))


def test_pictures_of_people_are_framed_with_room_to_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    label = [0, 1, 2, 3, 4, 5] * 8
    parts, held_out, config = load(monkeypatch, people.portraits(label), holdout=0.3)
    assert config.alignment == AlignmentConfig("resize")
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
    asked: list[Any] = []

    class Asked(people.Darkened):
        """Notes what it is asked for."""

        @classmethod
        def load(
            cls, alignment: AlignmentConfig, template: Template, *, border: int, which: str | None
        ) -> Any:
            asked.extend([alignment, (template.height, template.width), border])
            return super().load(alignment, template, border=border, which=which)

        def frames(self, identities: Identities, *, streamed: bool, cache: Path | None) -> Any:
            asked.extend([streamed, cache])
            return super().frames(identities, streamed=streamed, cache=cache)

    monkeypatch.setattr(people, "Darkened", Asked)
    alignment = AlignmentConfig(
        "resize", region=(0.25, 0.3, 0.5, 0.5), fit="affine", resize_mode="pad"
    )
    changes = {"alignment": alignment, "holdout": 0.0}
    load(monkeypatch, people.portraits([0, 1]), **changes)
    assert asked == [alignment, (30, 27), 4, False, None]
    asked.clear()
    streamed = dataclasses.replace(REFINING.train, feed="host")
    load(monkeypatch, people.portraits([0, 1]), translation=0.1, train=streamed, **changes)
    assert asked == [alignment, (30, 27), 3, True, None]


def test_faces_lie_as_encoders_want_them() -> None:
    for name in ("arcface112", "centerface", "face32"):
        wanted = TEMPLATES[name]
        found = data.face_template(wanted.height, wanted.width)
        assert (found.height, found.width) == (wanted.height, wanted.width)
        np.testing.assert_allclose(found.points, wanted.points, atol=1e-9)


def test_without_alignment_the_faces_are_those_with_landmarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}

    def faces(spec: Any, **how: Any) -> Any:
        asked.update(how, spec=spec)
        return tiny.faces(12, how["crop_size"], how["scheme"])

    monkeypatch.setattr("lrjax.data.faces.load_faces", faces)
    config = dataclasses.replace(REFINING, labelled=("w300:train",), holdout=0.0)
    parts, held_out, _ = data.load_super_resolution(config, Path("nowhere"))
    assert (asked["spec"], asked["crop_size"]) == (("w300:train",), 30)
    assert held_out is None
    assert parts["labelled"].arrays["images"].shape == (12, 45, 45, 3)


def test_what_is_no_vgg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    config = dataclasses.replace(CONFIG, perceptual=1.0, vgg=str(path))
    tiny.network_file(path, CONFIG.network)
    with pytest.raises(InputError, match="name one with the convolutions of VGG-19"):
        super_resolution.make(config, 10)
    weights.save(path, VGGConfig(), {"params": {"conv1_1": {"bias": np.zeros(2, "f4")}}}, {})
    with pytest.raises(InputError, match="are not those of the vgg19 that it describes"):
        super_resolution.make(config, 10)


def test_the_best_network_is_chosen_only_where_pixels_are_all_that_counts() -> None:
    for name, best in (("srresnet", "mse"), ("rrdb", "mse"), ("srgan", None), ("esrgan", None)):
        config = find_config(f"super_resolution:{name}-small")
        task = super_resolution.make(dataclasses.replace(config, initial=None), 10)
        assert task.best == best


def test_weights_say_how_their_faces_were_cut(tmp_path: Path) -> None:
    config = tiny.shrunk(SuperResolutionConfig(context=1.4))
    resized = dataclasses.replace(config, alignment=AlignmentConfig("resize"))
    for one, context in ((config, 1.4), (resized, None)):
        task = super_resolution.make(one, 10)
        run_folder.weights_writer(tmp_path, task, "super_resolution")(tiny.start(task), "last")
        assert Upsampler.load(tmp_path).context == context


@pytest.mark.slow
def test_a_run_enlarges_and_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = runs.TASKS["super_resolution"]
    monkeypatch.setitem(runs.TASKS, "super_resolution", entry._replace(load=tiny.noise))
    drawn: dict[tuple[str, int], Any] = {}
    train = tiny.train_config(batch_size=4, steps=2)
    first = tiny.shrunk(find_config("super_resolution:srresnet-small"), train=train)
    there = runs.Runs(
        tmp_path,
        Path("nowhere"),
        pictures=lambda folder, step, shown: drawn.update({(folder.name, step): shown}),
    )
    state = there.train(first, tmp_path / "first")
    assert drawn["first", 2]["faces"]["images"].shape == (2, 128, 32, 3)
    held_out = [r for r in read(tmp_path / "first" / "metrics.jsonl") if "held_out/mse" in r]
    assert [record["step"] for record in held_out] == [2]
    for which in ("best", "last"):
        (large,) = Upsampler.load(tmp_path / "first", which)([frames(1, 12)[0]])
        assert large.shape == (24, 24, 3)
    second = tiny.shrunk(
        find_config("super_resolution:srgan-small"), train=train, initial=str(tmp_path / "first")
    )
    begin = init_state(super_resolution.make(second, 2), jax.random.key(0))
    assert tiny.same(begin.nets["upsampler"].variables, state.nets["upsampler"].variables)
    there.train(second, tmp_path / "second")
    names = {path.name for path in (tmp_path / "second" / "last").iterdir()}
    assert names == {"upsampler.safetensors", "discriminator.safetensors"}
    assert not (tmp_path / "second" / "best").exists()
