"""Configurations as data: there and back, changed by name, refused by name."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lrjax.config import TrainConfig, from_dict, override, to_dict
from lrjax.configs import degradation as degradation_configs
from lrjax.configs import landmarks as landmark_configs
from lrjax.errors import InputError
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
        ({"sigma": "wide"}, "'wide' is not of type float.*sigma"),
        ({"sigma": None}, "None is not of type float.*sigma"),
        ({"stage1": 3}, "3 is not of type str.*stage1"),
        ({"critics": ["heat"]}, r"heat not in \['heatmap', 'confidence'\] @ critics\[0\]"),
        ({"generator": {"widths": [4, "x"]}}, "'x' is not of type int.*widths"),
        ({"scheme": "sixty"}, "sixty not in .*scheme"),
        ({"critics": "heatmap"}, "'heatmap' is not a list @ critics"),
        ({"train": [3]}, r"\[3\] is not an object with named fields @ train"),
    ],
)
def test_wrong_types_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"LandmarksConfig is not valid: .*{named}"):
        from_dict(LandmarksConfig, values)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    config = override(
        LandmarksConfig(),
        [
            "train.steps=10",
            "generator.widths=[8, 16]",
            "sigma=1",
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
        generator=dataclasses.replace(LandmarksConfig().generator, widths=(8, 16)),
        sigma=1.0,
        stage1="runs/degradation",
        labelled=("w300:train",),
        degradation="camera",
    )
    assert config == expected
    assert isinstance(config.sigma, float)
    assert override(config, []) == config
    assert override(DegradationConfig(), ["beta=2.5"]).beta == 2.5


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


def test_configurations_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().steps = 3  # type: ignore[misc]
