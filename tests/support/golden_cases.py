"""The cases whose five steps are recorded: tiny networks, noise, all settings of the losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tiny
from golden_adapter import begun, configured

from lrjax.geometry.points import SCHEMES

Data = dict[str, dict[str, np.ndarray]]
# An empty folder, for what it starts from -> (configuration, arrays).
Case = Callable[[Path], tuple[Any, Data]]

# Data ---------------------------------------------------------------------------------------------


def frames(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Noise uint8 [count, height, width, 3] in blocks of four pixels, and some in each pixel."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 192, (count, -(-height // 4), -(-width // 4), 3))
    large = blocks.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    return (large + rng.integers(0, 64, large.shape)).astype(np.uint8)


def faces(view: int, scheme: str, seed: int) -> dict[str, np.ndarray]:
    """Twelve square frames for a view, with points, a tenth of which are invisible."""
    rng = np.random.default_rng(100 + seed)
    side, count = view * 3 // 2, SCHEMES[scheme].count
    points = rng.uniform(0.2 * side, 0.8 * side, (12, count, 2)).astype(np.float32)
    visible = rng.random((12, count)) < 0.9
    return {"images": frames(12, side, side, seed), "points": points, "visible": visible}


def portraits(height: int, width: int, classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Three pictures of each of `classes` people."""
    label = np.arange(3 * classes, dtype=np.int32) % classes
    return {"images": frames(len(label), height, width, seed), "label": label}


# Cases --------------------------------------------------------------------------------------------

# Not Adam, which hides gradients that are wrong by a factor, and makes much of those that are zero
# but for rounding.
DESCENT = {"method": "sgd", "learning_rate": 0.02, "weight_decay": 0.01}
GROUPED = {
    **DESCENT,
    "clip_norm": 5.0,
    "groups": [
        {"match": r"^classifier\.", "rate": 3.0},
        {"match": r"bias$", "rate": 2.0, "decay": 0.0},
    ],
}
# For what would else multiply rounding errors from step to step.
SLOW = {**DESCENT, "learning_rate": 0.002}
TRAIN = {"batch_size": 4}
UNET = {"stem": 4, "widths": [4]}
CRITIC = {"widths": [4, 4, 4], "hidden": 4, "pooled_blocks": 2}
AUGMENTED = {
    "flip": 0.5,
    "brightness": 0.2,
    "contrast": 0.4,
    "gamma": 0.4,
    "colour": 0.1,
    "grey": 0.2,
    "occlusion": 0.5,
    "tight": 0.5,
}


def degradation(folder: Path, **settings: Any) -> tuple[Any, Data]:
    """G1 and D1 from 32 to 16 pixels."""
    g1 = {"image_size": 32, "stem": 4, "encoder": [4], "decoder": [4], "noise": 4}
    defaults = {"g1": g1, "d1": CRITIC, "optimizer": DESCENT, "train": TRAIN}
    data = {"labelled": faces(32, "five", 0), "real": faces(16, "five", 1)}
    return configured("degradation", defaults | settings), data


def landmarks(
    folder: Path, g2: dict[str, Any] | None = None, warm: bool = False, **settings: Any
) -> tuple[Any, Data]:
    """G2 on 16 pixels, of 32; and what a setting adds, with weights that are all felt."""
    g2 = {"size": 16, "points": "five", **UNET} | (g2 or {})
    defaults = {
        "image_size": 32,
        "degradation": "subsample",
        "g2": g2,
        "d2": UNET,
        "d3": CRITIC | {"name": "confidence_discriminator"},
        "a": 0.9,
        "b": 0.3,
        "c": 0.2,
        "gamma": 10.0,  # k is above 0 from the first step on
        "lambda_k": 0.01,
        "optimizer": DESCENT,
        "train": TRAIN,
    }
    values = defaults | settings
    if values["degradation"] == "generator":
        values["stage1"] = begun(degradation(folder)[0], folder / "stage1", 1)
    if warm:
        values["initial"] = begun(configured("landmarks", values), folder / "initial", 2)
    config = configured("landmarks", values)
    data = {"labelled": faces(values["image_size"], g2["points"], 0)}
    if values.get("consistency") or "confidence" in values.get("critics", ()):
        data["real"] = faces(16, g2["points"], 1)
    return config, data


def recognise(
    folder: Path,
    size: tuple[int, int] = (16, 16),
    network: dict[str, Any] | None = None,
    enlarged: bool = False,
    **settings: Any,
) -> tuple[Any, Data]:
    """A small network and six people, whose pictures are shifted by a pixel or more."""
    defaults = {
        "labelled": ["people:train"],
        "classes": 6,
        "network": {"name": "small", "dropout": 0.0} | (network or {}),
        "alignment": {"landmarks": "resize"},
        "shift": 1 / 16,
        "scale": 8.0,
        "optimizer": DESCENT,
        "train": {"batch_size": 8},
    }
    values = defaults | settings
    if enlarged:
        # After a network that enlarges faces, in the sizes of rpcn.
        first = {"name": "rpcn_refiner", "width": 3 / 64, "image_size": size, "size": (20, 16)}
        first_config = configured("super_resolution", {"network": first})
        values["initial"] = begun(first_config, folder / "initial", 1)
    config = configured("recognition", values)
    edge = 2 * round(values["shift"] * size[0])
    return config, {"labelled": portraits(size[0] + edge, size[1] + edge, 6)}


WIDTHS = {
    "srresnet": {"width": 4, "blocks": 1},
    "rrdb": {"width": 4, "blocks": 1, "growth": 2},
    "srcnn": {"width": 4},
    "vdsr": {"width": 4, "layers": 3},
    "drrn": {"width": 4, "blocks": 1, "units": 2},
    "rpcn_refiner": {"width": 4 / 64},
}


def super_resolution(
    folder: Path, network: str = "srresnet", warm: bool = False, **settings: Any
) -> tuple[Any, Data]:
    """From 16 to 32 pixels, or from 12 × 10 to 30 × 27; with weights that are all felt."""
    doubles = network in ("srresnet", "rrdb")
    sizes = {
        "image_size": [32, 32] if doubles else [30, 27],
        "size": [16, 16] if doubles else [12, 10],
    }
    defaults = {
        "network": {"name": network} | WIDTHS[network] | sizes,
        "discriminator": {"widths": [4, 4], "hidden": 4},
        "pixel": 0.8,
        "gan": 0.2,
        "optimizer": DESCENT,
        "train": TRAIN,
    }
    values = defaults | settings
    if values.get("degradation") == "generator":
        values["stage1"] = begun(degradation(folder)[0], folder / "stage1", 1)
    if values.get("perceptual"):
        values["vgg"] = str(folder / "vgg.safetensors")
        tiny.vgg_file(folder / "vgg.safetensors")
    if warm:
        values["initial"] = begun(configured("super_resolution", values), folder / "first", 2)
    images = faces(32, "five", 0)
    return configured("super_resolution", values), {"labelled": images}


def csri(
    folder: Path,
    start: str | None = None,
    refiner: str = "srcnn",
    dropout: float = 0.0,
    **settings: Any,
) -> tuple[Any, Data]:
    """Two small networks on 16 pixels, of 5 × 4, with as many people as pictures allow.

    `start` is where the networks come from: "joint", a run of this task, or "apart", two runs.
    """
    sizes = {"size": [5, 4], "image_size": [16, 16], "residual": True}
    defaults = {
        "labelled": ["celeba:all"],
        "classes": 4,
        "native": ["tinyface:train"],
        "native_classes": 3,
        "refiner": {"name": refiner} | WIDTHS[refiner] | sizes,
        "network": {"name": "small", "dropout": dropout},
        "shift": 1 / 16,
        "sr": 0.05,
        "optimizer": DESCENT,
        "train": {"batch_size": 8},
    }
    values = defaults | settings
    if start == "joint":
        joint = values | {"native": [], "native_classes": None, "frozen": False}
        joint |= {"labelled": ["celeba:all"], "classes": 4}
        values["initial"] = begun(configured("csri", joint), folder / "joint", 1)
    if start == "apart":
        enlarges = configured("super_resolution", {"network": values["refiner"]})
        values["initial_refiner"] = begun(enlarges, folder / "refiner", 1)
        values["initial_encoder"] = begun(recognise(folder)[0], folder / "encoder", 2)
    parts = {"labelled": values["classes"], "native": values["native_classes"]}
    data = {
        name: portraits(18, 18, classes, seed)
        for seed, (name, classes) in enumerate(parts.items())
        if classes
    }
    return configured("csri", values), data


BOTH = ["heatmap", "confidence"]
ALONE = {"native": [], "native_classes": None}
NATIVE = {"labelled": [], "classes": None}
CASES: dict[str, Case] = {
    "degradation": degradation,
    "degradation-average": partial(
        degradation,
        alpha=0.7,
        beta=2.0,
        d1={**CRITIC, "pooling": "average", "spectral_norm": False},
        augment={"tight": 0.5},
    ),
    "landmarks-s1": landmarks,
    "landmarks-s2": partial(landmarks, degradation="generator"),
    "landmarks-s3": partial(landmarks, degradation="generator", critics=["heatmap"]),
    "landmarks-s4": partial(landmarks, degradation="generator", critics=BOTH),
    "landmarks-confidence": partial(landmarks, critics=["confidence"]),
    "landmarks-hr": partial(landmarks, degradation="none", g2={"size": 32}, warm=True),
    "landmarks-integral": partial(
        landmarks,
        degradation="camera",
        objective="integral",
        average=0.9,
        g2={"sigma": 1.2},
        augment=AUGMENTED,
        camera={"size": [6, 20]},
        optimizer={**DESCENT, "schedule": "cosine", "clip_norm": 1.0},
    ),
    "landmarks-consistency": partial(
        landmarks,
        objective="integral",
        average=0.9,
        consistency=0.4,
        g2={"decoder": "soft"},
        augment={"tight": 0.5},
    ),
    "landmarks-s4-consistency": partial(
        landmarks,
        critics=BOTH,
        average=0.9,
        consistency=0.4,
        augment=AUGMENTED,
        g2={"points": "aflw19", "decoder": "soft"},  # others jump where two peaks are equally high
        gamma=5.0,
        optimizer=SLOW,
    ),
    "recognition-softmax": partial(recognise, bias=False),
    "recognition-bias": partial(recognise, optimizer=GROUPED),
    "recognition-arcface": partial(recognise, head="arcface"),
    "recognition-cosface": partial(recognise, head="cosface", margin=0.4),
    "recognition-sphereface": partial(recognise, head="sphereface", easing=[0.5, 4.0, 0.3]),
    "recognition-focal": partial(recognise, focal=2.0),
    "recognition-arcface-focal": partial(
        recognise, head="arcface", focal=2.0, network={"dropout": 0.3}
    ),
    "recognition-centre": partial(recognise, centre=0.1, centre_rate=0.4),
    "recognition-pairs": partial(recognise, verification=0.3, verification_margin=3.0),
    "recognition-dropout": partial(recognise, network={"dropout": 0.4}, down_up=[7, 6]),
    "recognition-deepid2": partial(
        recognise,
        size=(55, 47),
        network={"name": "deepid2", "width": 0.1},
        verification=0.3,
        centre=0.1,
    ),
    "recognition-rpcn": partial(
        recognise, size=(56, 48), network={"name": "rpcn", "width": 3 / 64}, enlarged=True
    ),
    "super_resolution-mse": super_resolution,
    "super_resolution-l1": partial(super_resolution, network="rrdb", distance="l1", warm=True),
    "super_resolution-huber": partial(super_resolution, network="rpcn_refiner", distance="huber"),
    "super_resolution-coupled": partial(
        super_resolution, network="rpcn_refiner", distance="huber", coupled=0.6
    ),
    "super_resolution-srcnn": partial(super_resolution, network="srcnn"),
    "super_resolution-vdsr": partial(
        super_resolution, network="vdsr", optimizer={**DESCENT, "adjustable_clip": 0.001}
    ),
    "super_resolution-drrn": partial(super_resolution, network="drrn"),
    "super_resolution-gan": partial(super_resolution, adversarial="gan"),
    "super_resolution-srgan": partial(super_resolution, adversarial="gan", perceptual=2000.0),
    "super_resolution-esrgan": partial(
        super_resolution,
        network="rrdb",
        adversarial="relativistic",
        distance="l1",
        optimizer=SLOW,
        perceptual=20.0,
        activated=False,
    ),
    "super_resolution-perceptual": partial(super_resolution, perceptual=2000.0, pixel=0.0),
    "super_resolution-subsample": partial(super_resolution, degradation="subsample"),
    "super_resolution-generator": partial(super_resolution, degradation="generator"),
    "csri-joint": partial(csri, **ALONE),
    "csri-both": partial(csri, sr=0.04, dropout=0.3),
    "csri-from-joint": partial(csri, start="joint", refiner="vdsr", sr=0.003),
    "csri-tuned": partial(csri, start="joint", frozen=True, **NATIVE),
    "csri-independent": partial(csri, start="apart", frozen=True, **NATIVE),
    "csri-apart-both": partial(csri, start="apart", centre=0.1, reduction="mean", sr=5.0),
    "csri-joint-centre": partial(csri, centre=0.1, centre_rate=0.4, optimizer=GROUPED, **ALONE),
    "csri-sum-unit": partial(csri, reduction="sum", pixels="unit", **ALONE),
    "csri-mean-bytes": partial(csri, reduction="mean", pixels="bytes", sr=0.001, **ALONE),
}
