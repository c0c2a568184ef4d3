"""Every variant builds, initialises and steps at its full width, without being computed; and the
runs that it names can be trained.
"""

from __future__ import annotations

import dataclasses
import importlib
import operator
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import people
import pytest
import tiny

from lrjax.config import AugmentConfig, OptimizerConfig, TrainConfig
from lrjax.configs import sized
from lrjax.data import batches
from lrjax.errors import InputError
from lrjax.experiments.context import TESTS
from lrjax.geometry.points import AFLW19, IBUG68, SCHEMES, convert
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import build
from lrjax.tasks import csri, degradation, landmarks, recognition, runs, super_resolution
from lrjax.tasks.csri import CSRIConfig, branches
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.runs import find_config
from lrjax.training import loop, parallel
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer, make_schedule
from lrjax.training.step import init_state
from lrjax.training.task import Player, Task

CONFIGS = runs.config_names()
VARIANTS = [
    f"{name}:{variant}"
    for name in CONFIGS
    for variant in importlib.import_module(f"lrjax.configs.{name}").VARIANTS
]
# Where AFLW plays no part, "w300" differs from the paper's in the names of runs only.
TRACED = [v for v in VARIANTS if not (v.startswith(("recognition", "csri")) and "-w300" in v)]
# The others differ from these in width or in data only; they are traced by the slow tests.
QUICK = (
    "degradation:paper",
    "landmarks:s4-paper",
    "landmarks:hr-quick",
    "landmarks:pretrained",
    "recognition:l1-quick",
    "super_resolution:srgan-small",
    "super_resolution:vdsr-paper",
    "super_resolution:drrn_b1u9-quick",
    "recognition:deepid2-quick",
    "csri:csri-paper",
    "csri:drrn_vggface-quick",
)


def zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def without_runs(config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`config` as if the runs that it names had left arrays of the right shapes."""

    def g1(name: str) -> Player:
        network = build(find_config(name).g1)
        return Player(network, None, zeros(network.shapes()))

    monkeypatch.setattr(degradation, "player", g1)
    monkeypatch.setattr(csri, "initial_variables", lambda config, name, network: {})
    if isinstance(config, CSRIConfig):
        return config
    return dataclasses.replace(
        config, **{field: None for field in ("initial",) if hasattr(config, field)}
    )


def abstract_state(task: Task) -> Any:
    return jax.eval_shape(partial(init_state, task), jax.random.key(0))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRACED],
)
def test_every_variant_steps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = without_runs(find_config(name), monkeypatch)
    if getattr(config, "perceptual", 0) > 0:
        vgg = tiny.vgg_file(tmp_path / "vgg.safetensors")
        config = dataclasses.replace(config, vgg=str(vgg))
    if isinstance(config, RecognitionConfig):
        config = dataclasses.replace(config, classes=config.classes or 5)
        data = {"labelled": people.examples(config, 12).arrays}
    elif isinstance(config, CSRIConfig):
        config = dataclasses.replace(config, classes=5, native_classes=4)
        data = {n: people.examples(one, 12).arrays for n, one in branches(config).items()}
    else:
        faces, _ = tiny.noise_sources(config)
        data = {part: tiny.examples(found).arrays for part, found in faces.items()}
    task = runs.TASKS[runs.task_name(config)].make(config, 1000)
    last = dict(data[list(task.batch)[-1]])
    data = {
        part: batches.with_pairs(data[part], part) if part in task.pairs else data[part]
        for part in task.batch
    }
    state = abstract_state(task)
    counted = sum(task.batch.values()) if "native" in task.batch else task.batch["labelled"]
    assert counted == config.train.batch_size
    train = dataclasses.replace(config.train, parallel="mesh", feed="device")
    step = loop.compile_step(task, train, parallel.make_mesh())
    new, metrics = jax.eval_shape(step, state, data)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (state, new)]
    assert shapes[0] == shapes[1]
    assert {value.shape for value in metrics.values()} == {()}
    assert {value.dtype for value in metrics.values()} == {np.dtype(np.float32)}
    sums = jax.eval_shape(
        lambda nets, part: task.evaluate(Nets(task.modules, nets), part),
        state.nets,
        last | {"example_index": np.arange(12), "valid": np.ones(12, bool)},
    )
    assert "count" in sums
    if task.best is not None:
        assert task.best in sums


def named_runs(config: Any) -> dict[str, str]:
    """The fields of a configuration that name other runs, and which."""
    found = {}
    for field in config.needs:
        owner, _, _ = field.rpartition(".")
        value = operator.attrgetter(field)(config) if getattr(config, owner or field) else None
        if value and runs.names_run(value):
            found[field] = value
    return found


TRAINED = {
    "stage1": "g1",
    "initial": None,
    "initial_refiner": "upsampler",
    "initial_encoder": "encoder",
    "alignment.landmarks": "g2",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_runs_that_a_variant_names_exist_and_are_of_its_size(name: str) -> None:
    config = find_config(name)
    size = name.rpartition("-")[2] if "-" in name else name.partition(":")[2]
    for field, run in named_runs(config).items():
        needed = find_config(run)
        role = TRAINED[field] or next(
            role for role in ("g2", "upsampler", "encoder") if role in players(config)
        )
        if name.startswith("recognition:rpcn-") and field == "initial":
            role = "upsampler"  # whose convolutions it takes
        assert role in players(needed), (field, run)
        if size in ("w300", "small", "quick"):
            assert run.endswith(size), (field, run)
        else:
            assert not run.endswith(("w300", "small", "quick", "paper")), (field, run)
        if field != "alignment.landmarks" and role in players(config):
            # What it learned fits: the same network, on other sizes of faces at most.
            there, here = ({**vars(networks(c)[role])} for c in (needed, config))
            for sizes in ("image_size", "dropout"):
                there.pop(sizes, None), here.pop(sizes, None)
            assert fits(there, here), (field, run)


def fits(there: dict[str, Any], here: dict[str, Any]) -> bool:
    """LightCNN's and L5's names differ by their pixels alone; 68 points may grow by five."""
    if (there.get("points"), here.get("points")) == ("ibug68", "ibug68_five"):
        there = there | {"points": "ibug68_five"}
    names = [one["name"].removesuffix("_32") for one in (there, here)]
    return names[0] == names[1] and there | {"name": ""} == here | {"name": ""}


def networks(config: Any) -> dict[str, Any]:
    fields = {
        degradation.DegradationConfig: {"g1": "g1"},
        landmarks.LandmarksConfig: {"g2": "g2"},
        recognition.RecognitionConfig: {"encoder": "network"},
        super_resolution.SuperResolutionConfig: {"upsampler": "network"},
        CSRIConfig: {"upsampler": "refiner", "encoder": "network"},
    }[type(config)]
    return {role: getattr(config, field) for role, field in fields.items()}


def players(config: Any) -> set[str]:
    return set(networks(config))


def test_what_has_critics_goes_on_from_s2_where_minutes_are_few() -> None:
    for setting in ("s3", "s4", "tinyface", "end_to_end"):
        for size, steps in (("small", 1000), ("quick", 60)):
            config = find_config(f"landmarks:{setting}-{size}")
            assert config.initial == f"landmarks:s2-{size}"
            assert config.train.steps == steps
        for size in ("paper", "w300"):
            assert find_config(f"landmarks:{setting}-{size}").initial is None


def test_end_to_end_is_tinyface_after_a_degradation_that_saw_it() -> None:
    """And it turns, scales and shifts less, in either stage."""
    for size in ("", "-w300", "-small", "-quick"):
        native, whole = (find_config(f"landmarks:{n}{size}") for n in ("tinyface", "end_to_end"))
        assert whole.stage1 == f"degradation:tinyface{size}"
        more, less = native.augment, whole.augment
        assert find_config(whole.stage1).augment == less
        assert less.rotation < more.rotation
        assert more.scale[0] < less.scale[0] < 1 < less.scale[1] < more.scale[1]
        assert less.translation < more.translation
        assert dataclasses.replace(whole, stage1=native.stage1, augment=more) == native


def test_variants_are_those_that_their_file_describes() -> None:
    for name in CONFIGS:
        module = importlib.import_module(f"lrjax.configs.{name}")
        for described in re.findall(rf"lrjax train {name}:?(\S*)", module.__doc__):
            assert module.get_config(*[described] * bool(described)) is not None
        for variant in module.VARIANTS:
            assert isinstance(find_config(f"{name}:{variant}"), runs.TASKS[name].config)
        assert find_config(name) in [find_config(f"{name}:{v}") for v in module.VARIANTS]


@pytest.mark.parametrize("file", CONFIGS)
def test_other_variants_are_refused(file: str) -> None:
    setting = VARIANTS[[v.partition(":")[0] for v in VARIANTS].index(file)].partition(":")[2]
    for variant in ("other", f"{setting.partition('-')[0]}-huge", "-small", "other-small"):
        with pytest.raises(
            InputError, match=f"no variant '{variant}'( \\(.*\\))?; there are .*-quick"
        ):
            find_config(f"{file}:{variant}")


SETTINGS = ("s1", "s2", "s3", "s4", "hr")


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_settings_are_the_papers(setting: str) -> None:
    config = find_config(f"landmarks:{setting}")
    assert config == find_config(f"landmarks:{setting}-paper")
    assert config.optimizer == OptimizerConfig(2e-4, 0.5, 0.9, "halving", (0.4, 0.8), 0.5)
    assert (config.train.batch_size, config.train.epochs, config.train.steps) == (32, 200, None)
    assert config.augment == AugmentConfig(
        rotation=30, scale=(0.9, 1.1), translation=20 / 128, tight=0.5
    )
    whole = ("aflw:train", "w300:train", "w300:full", "w300:private_test")
    assert config.labelled == (("aflw:train",) if setting in ("s1", "hr") else whole)
    assert config.objective == "heatmap"
    assert config.g2.sigma == 2.0
    assert config.average is None
    assert config.consistency == 0
    ways = {"s1": "subsample", "hr": "none"}
    assert config.degradation == ways.get(setting, "generator")
    critics = {"s3": ("heatmap",), "s4": ("heatmap", "confidence")}
    assert config.critics == critics.get(setting, ())
    assert config.size == (128 if setting == "hr" else 32)
    assert config.a > config.b > config.c > 0
    assert config.needs_real == (setting == "s4")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", ["w300", "small", "quick"])
def test_smaller_sizes_change_no_loss(size: str, setting: str) -> None:
    paper, config = (find_config(f"landmarks:{setting}-{s}") for s in ("paper", size))
    losses = ("degradation", "critics", "objective", "size", "a", "b", "c", "gamma", "lambda_k")
    for field in losses:
        assert getattr(config, field) == getattr(paper, field), field
    assert not any("aflw" in spec for spec in config.labelled)


@pytest.mark.parametrize("name", [v for v in VARIANTS if not v.startswith("recognition")])
def test_the_points_wanted_are_in_every_dataset(name: str) -> None:
    annotated = {"aflw": AFLW19, "w300": IBUG68, "synthetic_faces": IBUG68}
    config = find_config(name)
    for spec in config.labelled:
        scheme = annotated.get(spec.partition(":")[0])
        if scheme is not None:
            zeros = np.zeros((scheme.count, 2)), np.ones(scheme.count, bool)
            points, _ = convert(*zeros, scheme, SCHEMES[config.scheme])
            assert points.shape == (SCHEMES[config.scheme].count, 2)


@pytest.mark.parametrize("size", ["paper", "w300", "small"])
def test_on_tinyface_only_the_native_faces_differ(size: str) -> None:
    wider, tiny_face = (find_config(f"landmarks:{name}-{size}") for name in ("s4", "tinyface"))
    assert tiny_face.real == ("tinyface:train",)
    assert dataclasses.replace(tiny_face, real=wider.real) == wider
    wider, tiny_face = (find_config(f"degradation:{name}{size}") for name in ("", "tinyface-"))
    assert tiny_face.real == ("tinyface:train",)
    assert dataclasses.replace(tiny_face, real=wider.real, augment=wider.augment) == wider


@pytest.mark.parametrize("size", ["paper", "w300", "small", "quick"])
def test_margins_are_the_same_in_all_that_is_compared(size: str) -> None:
    settings = ("s1", "s2", "s3", "s4", "tinyface", "end_to_end", "hr")
    configs = [find_config(f"landmarks:{setting}-{size}") for setting in settings]
    configs += [find_config(f"degradation:{name}{size}") for name in ("", "tinyface-")]
    assert {(config.augment.tight, config.context) for config in configs} == {(0.5, 1.25)}


def test_stage_one_is_the_papers() -> None:
    config = find_config("degradation")
    assert config.optimizer == OptimizerConfig()
    assert config.train == TrainConfig()
    assert config.alpha > 0
    assert config.beta > 0
    assert config.image_size == 4 * config.size == 128


@pytest.mark.parametrize("size", ["paper", "w300", "small", "quick"])
def test_no_network_has_seen_the_photographs_that_it_is_tested_on(size: str) -> None:
    parts = {"w300:full": {"w300:common", "w300:challenging"}, "aflw:test": {"aflw:frontal"}}

    def splits(specs: Iterable[str]) -> set[str]:
        return {part for spec in specs for part in {spec} | parts.get(spec, set())}

    tests = TESTS[size]
    looked_at = [(f"landmarks:{s}", tests.generated) for s in ("s1", "s2", "s3", "s4")]
    looked_at += [(f"landmarks:{setting}", spec) for setting, spec in tests.sharp.values()]
    for name, spec in looked_at:
        config = find_config(sized(name, size))
        seen = splits(config.labelled)
        if config.degradation == "generator":
            seen |= splits(find_config(config.stage1).labelled)
        assert not seen & splits([spec]), name


def test_the_control_of_s3_and_s4_is_s2_for_as_long() -> None:
    for size in ("small", "quick"):
        control, before, after = (
            find_config(f"landmarks:{name}-{size}") for name in ("s2_longer", "s2", "s3")
        )
        assert dataclasses.replace(after, critics=()) == control
        assert control.initial == f"landmarks:s2-{size}"
        assert dataclasses.replace(control, initial=None, train=before.train) == before
    # Where all begin from nothing, they are equally long.
    for size in ("paper", "w300"):
        trains = [find_config(f"landmarks:s{i}-{size}").train for i in (1, 2, 3, 4)]
        assert len(set(trains)) == 1


def test_hr_ld_is_two_networks() -> None:
    for size in ("paper", "small"):
        hr, hr68 = (find_config(f"landmarks:{name}-{size}") for name in ("hr", "hr68"))
        assert (hr.scheme, hr68.scheme) == ("aflw19", "ibug68")
        assert hr68.labelled == ("w300:train",)
        same = dataclasses.replace(hr68, labelled=hr.labelled, g2=hr.g2)
        assert same == hr
        assert dataclasses.replace(hr68.g2, points="aflw19") == hr.g2


def test_the_pretrained_network_is_small_enough() -> None:
    config = dataclasses.replace(find_config("landmarks:pretrained"), initial=None)
    net = abstract_state(landmarks.make(config, 1)).nets["g2"]
    numbers = sum(leaf.size for leaf in jax.tree.leaves(net.evaluation_variables))
    assert 2 * numbers < 20e6  # half precision, 20 MB


def test_super_resolution_is_trained_as_its_papers_say() -> None:
    srresnet, srgan, rrdb, esrgan = (
        find_config(f"super_resolution:{name}") for name in ("srresnet", "srgan", "rrdb", "esrgan")
    )
    assert [config.network.blocks for config in (srresnet, rrdb)] == [16, 23]
    for before, after in ((srresnet, srgan), (rrdb, esrgan)):
        assert before.adversarial == "none"
        assert before.network == after.network
        assert before.labelled == after.labelled == degradation.DegradationConfig().labelled
        assert before.network.factors == (4, 4)
        assert before.train.batch_size == after.train.batch_size == 16
    assert (srgan.adversarial, srgan.distance, srgan.activated) == ("gan", "mse", True)
    assert (esrgan.adversarial, esrgan.distance, esrgan.activated) == ("relativistic", "l1", False)
    assert (srgan.pixel, srgan.perceptual, srgan.gan) == (0, 0.006, 1e-3)
    # The absolute difference of pixels in [-1, 1] is twice that in [0, 1], for which η is 1e-2.
    assert (2 * esrgan.pixel, esrgan.perceptual, esrgan.gan) == (1e-2, 1, 5e-3)
    for name in ("srresnet", "srgan", "rrdb", "esrgan"):
        for size in ("small", "quick"):
            config = find_config(f"super_resolution:{name}-{size}")
            assert config.perceptual == 0  # nobody has VGG at hand
            assert config.pixel == 1


@pytest.mark.parametrize(
    ("setting", "batch", "epochs", "rates", "piece"),
    [
        ("srcnn", 128, 170, (1e-4, 1e-4, 1e-4, 1e-4), 21),
        # Of these, a tenth of the authors' rate.
        ("vdsr", 64, 80, (0.01, 1e-3, 1e-4, 1e-5), 41),
        ("drrn_b1u9", 128, 50, (0.01, 0.005, 0.0025, 0.00125), 31),
        ("drrn_b1u25", 128, 50, (0.01, 0.005, 0.0025, 0.00125), 31),
    ],
)
def test_refiners_are_trained_as_its_papers_say(
    setting: str, batch: int, epochs: int, rates: tuple[float, ...], piece: int
) -> None:
    config = find_config(f"super_resolution:{setting}")
    assert (config.train.batch_size, config.train.epochs) == (batch, epochs)
    assert (config.size, config.image_size) == ((20, 16), (112, 96))  # TinyFace, CentreFace
    assert (config.degradation, config.distance, config.adversarial) == ("bicubic", "mse", "none")
    optimizer = config.optimizer
    assert (optimizer.method, optimizer.momentum) == ("sgd", 0.9)
    schedule = make_schedule(optimizer, 1000)
    # VDSR's falls every 20 of 80 epochs, DRRN's every 10 of 50.
    every = {"vdsr": 250}.get(setting, 200)
    found = [float(schedule(n * every + 10)) for n in range(4)]
    np.testing.assert_allclose(found, rates, rtol=1e-5)
    # Theirs, θ = 0.01 at a rate of 0.1, diverges within a step.
    assert optimizer.clip_norm == (None if setting == "srcnn" else 0.4)
    assert optimizer.adjustable_clip is None
    # Half of the sum of squares over a piece of pixels in [0, 1], from their mean in [-1, 1].
    squares = np.random.default_rng(0).normal(size=(piece, piece)) ** 2
    np.testing.assert_allclose(config.pixel * 4 * squares.mean(), squares.sum() / 2)
    for size in ("small", "quick"):
        other = find_config(f"super_resolution:{setting}-{size}")
        for field in ("size", "degradation", "distance", "translation"):
            assert getattr(other, field) == getattr(config, field), field
        assert other.alignment.landmarks == config.alignment.landmarks == "resize"
        depth = {
            "srcnn": {},
            "vdsr": {"layers": 8},
            "drrn_b1u9": {"units": 3},
            "drrn_b1u25": {"units": 8},
        }[setting]
        assert other.network == dataclasses.replace(
            config.network, width=16, image_size=(56, 48), residual=True, **depth
        )


@pytest.mark.parametrize(("setting", "slow"), [("srcnn", 1e-5), ("drrn_b1u9", 0.001)])
def test_layers_that_learn_slowly_are_those_of_the_authors(setting: str, slow: float) -> None:
    config = find_config(f"super_resolution:{setting}")
    params = zeros(build(config.network).shapes())["params"]
    plain = dataclasses.replace(config.optimizer, weight_decay=0.0, clip_norm=None)
    optimizer = make_optimizer(plain, 9)
    ones = jax.tree.map(np.ones_like, params)
    update, _ = optimizer.update(ones, optimizer.init(params), params)
    rates = {
        jax.tree_util.keystr(path, simple=True, separator="."): -float(leaf.reshape(-1)[0])
        for path, leaf in jax.tree_util.tree_leaves_with_path(update)
    }
    slowly = {name for name, rate in rates.items() if np.isclose(rate, slow)}
    rest = [rate for name, rate in rates.items() if name not in slowly]
    np.testing.assert_allclose(rest, config.optimizer.learning_rate, rtol=1e-5)
    convolutions = {"block_0_start", "block_0_first", "block_0_second", "image"}
    assert (
        slowly
        == {
            "srcnn": {"conv_2.kernel", "conv_2.bias"},
            "drrn_b1u9": {f"{name}.bias" for name in convolutions},
        }[setting]
    )


def test_the_deeper_drrn_has_52_convolutions() -> None:
    for setting, units in (("drrn_b1u9", 9), ("drrn_b1u25", 25)):
        network = find_config(f"super_resolution:{setting}").network
        assert (network.blocks, network.units, network.width) == (1, units, 128)
    assert find_config("super_resolution:vdsr").network.layers == 20


@pytest.mark.parametrize("setting", ["l1", "l2", "l3", "l4", "l5"])
def test_recognition_is_trained_as_by_lightcnn_s_script(setting: str) -> None:
    config = find_config(f"recognition:{setting}")
    assert (config.network, config.classes) == (EncoderConfig("lightcnn29_32"), 2570)
    assert config.labelled == ("tinyface:train",)
    assert (config.head, config.focal) == ("softmax", 0.0)
    assert (config.train.batch_size, config.train.epochs) == (128, 80)
    schedule = make_schedule(config.optimizer, 80 * 61)
    rates = [float(schedule(epoch * 61 + 1)) for epoch in range(0, 80, 9)]
    expected = [0.01 * 0.457305051927326 ** (epoch // 10) for epoch in range(0, 80, 9)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert config.initial == ("recognition:casia" if setting == "l5" else None)
    by = {"l1": "s2", "l2": "s3", "l3": "tinyface"}.get(setting, "end_to_end")
    assert config.alignment.landmarks == f"landmarks:{by}"
    for size in ("small", "quick"):
        other = find_config(f"recognition:{setting}-{size}")
        assert other.network.name == config.network.name
        longer = "_longer" if by == "s2" else ""  # than S2, as S3 is
        assert other.alignment == dataclasses.replace(
            config.alignment, landmarks=f"landmarks:{by}{longer}-{size}"
        )
        for field in ("head", "focal", "shift", "mirror"):
            assert getattr(other, field) == getattr(config, field), field


def test_biases_and_the_classifier_learn_at_the_rates_of_lightcnn_s_script() -> None:
    config = find_config("recognition:l1").optimizer
    assert config.clip_norm == 0.4  # not theirs
    config = dataclasses.replace(config, clip_norm=None)
    params = {"kernel": np.float32(5.0), "bias": np.float32(5.0)}
    rates = {
        "encoder": ({"conv1": params}, {"conv1": {"kernel": (1, 1e-4), "bias": (2, 0)}}),
        "classifier": (params, {"kernel": (10, 1e-4), "bias": (20, 0)}),
    }
    for net, (tree, expected) in rates.items():
        optimizer = make_optimizer(config, 100, net)
        ones = jax.tree.map(np.ones_like, tree)
        update, _ = optimizer.update(ones, optimizer.init(tree), tree)
        wanted = jax.tree.map(
            lambda pair: -0.01 * pair[0] * (1 + 5.0 * pair[1]),
            expected,
            is_leaf=lambda node: isinstance(node, tuple),
        )
        chex.assert_trees_all_close(update, wanted, rtol=1e-6)


@pytest.mark.slow
def test_weights_of_128_pixels_fit_the_network_for_32() -> None:
    """L5 starts from what "casia" trains."""
    shapes = []
    for name in ("recognition:casia", "recognition:l5"):
        config = find_config(name)
        shapes.append(jax.tree.map(lambda leaf: leaf.shape, build(config.network).shapes()))
    assert shapes[0] == shapes[1]
