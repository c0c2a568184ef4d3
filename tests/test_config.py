"""Configurations as data: there and back, changed by name, refused by name."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from lrjax.config import OptimizerConfig, TrainConfig, from_dict, override, to_dict
from lrjax.configs import degradation as degradation_configs
from lrjax.configs import landmarks as landmark_configs
from lrjax.errors import InputError
from lrjax.models.encoders import EncoderConfig
from lrjax.models.s2ld import CriticConfig
from lrjax.models.upsamplers import SRResNetConfig, UpsamplerConfig, VDSRConfig
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig

ALL = [landmark_configs.get_config(v) for v in landmark_configs.VARIANTS] + [
    degradation_configs.get_config(v) for v in degradation_configs.VARIANTS
]


@pytest.mark.parametrize("config", ALL, ids=lambda c: type(c).__name__)
def test_every_configuration_returns_from_json(config: Any) -> None:
    again = from_dict(type(config), json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert hash(again) == hash(config)


def test_a_field_may_be_left_out_but_not_made_up() -> None:
    assert from_dict(TrainConfig, {}) == TrainConfig()
    with pytest.raises(InputError, match=r"TrainConfig is not valid: .*stepz"):
        from_dict(TrainConfig, {"stepz": 3})
    with pytest.raises(InputError, match="blurr"):
        from_dict(LandmarksConfig, {"camera": {"blurr": 3}})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"train": {"steps": "3"}}, "'3' is not of type int.*steps"),
        ({"train": {"steps": 2.5}}, "2.5 is not of type int.*steps"),
        ({"train": {"batch_size": True}}, "True is not of type int.*batch_size"),
        ({"train": {"parallel": "threads"}}, r"threads not in \['pmap', 'mesh'\] @ train.parallel"),
        ({"g2": {"sigma": "wide"}}, "'wide' is not of type float.*g2.sigma"),
        ({"g2": {"sigma": None}}, "None is not of type float.*g2.sigma"),
        ({"stage1": 3}, "3 is not of type str.*stage1"),
        ({"critics": ["heat"]}, r"heat not in \['heatmap', 'confidence'\] @ critics\[0\]"),
        ({"g2": {"widths": [4, "x"]}}, "'x' is not of type int.*g2.widths"),
        ({"g2": {"points": "sixty"}}, "sixty not in .*g2.points"),
        ({"critics": "heatmap"}, "'heatmap' is not a list @ critics"),
        ({"train": [3]}, r"\[3\] is not an object with named fields @ train"),
        ({"train": {"log_every": 0}}, "log_every is 0; set it to 1 or more @ train"),
        ({"train": {"evaluate_every": 0}}, "evaluate_every is 0"),
        ({"train": {"checkpoint_every": -3}}, "checkpoint_every is -3"),
        ({"train": {"batch_size": 0}}, "batch_size is 0"),
        ({"train": {"readers": 0}}, "readers is 0"),
        ({"train": {"keep": 0}}, "keep is 0"),
        ({"train": {"samples": -1}}, "samples is -1; set it to 0 or more @ train"),
        ({"train": {"epochs": 0}}, "epochs is 0.0; set it to more than 0"),
        ({"train": {"epochs": math.inf}}, "inf is not a finite number @ train.epochs"),
        ({"train": {"epochs": math.nan}}, "nan is not a finite number @ train.epochs"),
        ({"train": {"steps": -1}}, "steps is -1"),
        ({"train": {"steps": 1 << 31}}, r"steps is 2147483648; set it to 0 or more, below 2\^31"),
        ({"train": {"seed": -1}}, "seed is -1"),
        ({"train": {"seed": 1 << 32}}, r"seed is 4294967296; .* below 2\^32 @ train"),
        ({"optimizer": {"learning_rate": -1e-4}}, "learning_rate is -0.0001; .* @ optimizer"),
        ({"optimizer": {"b1": 1}}, "b1 is 1.0; set it to 0 or more, below 1"),
        ({"optimizer": {"b2": 1}}, "b2 is 1.0"),
        ({"optimizer": {"momentum": -0.1}}, "momentum is -0.1"),
        ({"optimizer": {"drops": [0.4, 80]}}, r"drops is \(0.4, 80.0\); .* a number from 0 to 1"),
        ({"optimizer": {"drop_factor": -2}}, "drop_factor is -2.0"),
        ({"optimizer": {"weight_decay": -1}}, "weight_decay is -1.0"),
        ({"optimizer": {"clip_norm": 0}}, "clip_norm is 0.0; set it to more than 0"),
        ({"optimizer": {"adjustable_clip": -1}}, "adjustable_clip is -1.0"),
        ({"optimizer": {"groups": [{"match": "a", "rate": -1}]}}, r"rate is -1.0.*groups\[0\]"),
        ({"augment": {"flip": 1.5}}, "flip is 1.5; set it to a number from 0 to 1 @ augment"),
        ({"augment": {"tight": -0.1}}, "tight is -0.1"),
        ({"augment": {"rotation": math.nan}}, "nan is not a finite number @ augment.rotation"),
        ({"augment": {"gamma": -1}}, "gamma is -1.0"),
        ({"augment": {"scale": [1.1, 0.9]}}, r"scale is \(1.1, 0.9\); .* smaller number first"),
        ({"augment": {"scale": [0, 1]}}, r"scale is \(0.0, 1.0\); set it to more than 0"),
        ({"camera": {"size": [48, 18]}}, r"size is \(48.0, 18.0\); .* smaller number first"),
        ({"camera": {"size": [0, 18]}}, "size is .*more than 0"),
        ({"camera": {"noise": -1}}, "noise is -1.0"),
        ({"camera": {"jpeg": 2}}, "jpeg is 2.0"),
        ({"camera": {"quality": [0, 95]}}, "quality is .*from 1 to 100"),
        ({"camera": {"quality": [95, 25]}}, "quality is .* smaller number first"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"LandmarksConfig is not valid: .*{named}"):
        from_dict(LandmarksConfig, values)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    config = override(
        LandmarksConfig(),
        [
            "train.steps=10",
            "g2.widths=[8, 16]",
            "g2.sigma=1",
            "stage1=runs/degradation",
            "critics=[]",
            "average=null",
            'labelled=["w300:train"]',
            "degradation=camera",
        ],
    )
    expected = dataclasses.replace(
        LandmarksConfig(),
        train=TrainConfig(steps=10),
        g2=dataclasses.replace(LandmarksConfig().g2, widths=(8, 16), sigma=1.0),
        stage1="runs/degradation",
        labelled=("w300:train",),
        degradation="camera",
    )
    assert config == expected
    assert isinstance(config.g2.sigma, float)
    assert override(config, []) == config
    assert override(DegradationConfig(), ["beta=2.5"]).beta == 2.5


def test_types_are_told_apart_by_their_names() -> None:
    assert from_dict(UpsamplerConfig, "vdsr") == VDSRConfig()
    assert from_dict(UpsamplerConfig, {"name": "vdsr", "layers": 3}) == VDSRConfig(layers=3)
    assert from_dict(SRResNetConfig, {"width": 8}) == SRResNetConfig(width=8)
    config = LandmarksConfig(d3=CriticConfig("confidence_discriminator", hidden=4))
    assert from_dict(LandmarksConfig, json.loads(json.dumps(to_dict(config)))) == config
    for values, message in (
        ({"name": "vdsr", "blocks": 3}, "blocks"),
        ("lightcnn29", "no network 'lightcnn29'; choose one of .*vdsr"),
        ({"width": 8}, "the field name is missing"),
        ({"name": 3}, "the field name is missing"),
        (3, "3 is neither a name nor fields of UpsamplerConfig"),
    ):
        with pytest.raises(InputError, match=message):
            from_dict(UpsamplerConfig, values)
    with pytest.raises(InputError, match="choose one of lightcnn29, "):
        from_dict(EncoderConfig, "vdsr")


@pytest.mark.parametrize(
    "setting",
    [
        "steps=3",
        "train=",
        "train.step=3",
        "train.steps",
        "train.steps.more=1",
        "=3",
        "",
        "train.=1",
    ],
)
def test_a_setting_that_names_no_field_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match=r"names no field of LandmarksConfig|is not valid"):
        override(LandmarksConfig(), [setting])


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(InputError, match="with the fields that `lrjax config` prints"):
        override(LandmarksConfig(), ["steps=3"])
    with pytest.raises(InputError, match="'many' is not of type int"):
        override(LandmarksConfig(), ["train.steps=many"])
    for text in ("[" * 100_000, "9" * 5000):  # deeper, and longer, than JSON is read
        with pytest.raises(InputError, match=r"is not of type int @ train\.steps"):
            override(LandmarksConfig(), [f"train.steps={text}"])
    with pytest.raises(InputError, match="keep is 0; set it to 1 or more @ train"):
        override(LandmarksConfig(), ["train.keep=0"])


def test_the_least_and_the_most_are_accepted() -> None:
    config = TrainConfig(batch_size=1, epochs=1e-3, steps=0, seed=(1 << 32) - 1, keep=1, samples=0)
    assert from_dict(TrainConfig, to_dict(config)) == config
    config = OptimizerConfig(learning_rate=0.0, b1=0.0, drops=(0.0, 1.0), clip_norm=None)
    assert from_dict(OptimizerConfig, to_dict(config)) == config


def test_configurations_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().steps = 3  # type: ignore[misc]


def test_a_field_that_resembles_a_misspelt_one_is_named() -> None:
    for setting, field in (("train.step=3", "train.steps"), ("batchsize=3", "batch_size")):
        config = TrainConfig() if "." not in setting else landmark_configs.get_config("s1")
        with pytest.raises(InputError, match=rf"\(did you mean '{field}'\?\); write path"):
            override(config, [setting])
