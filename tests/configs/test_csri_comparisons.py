"""What CSRI's tables compare differs in what the paper says that it differs in, and in no more."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from lrjax.config import to_dict
from lrjax.configs import sized
from lrjax.experiments.csri import ENCODER_ALONE, NATIVE_ONLY, SETTINGS, TABLES
from lrjax.models.registry import build
from lrjax.tasks.csri import CSRIConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.runs import find_config

SHARED = (
    *("shift", "mirror", "holdout", "head", "bias", "scale", "margin", "focal", "centre"),
    *("centre_rate", "verification", "verification_margin", "teacher", "coarse"),
)
# Of a branch, of a refiner, and what a run starts from; each is named in another way below.
OTHERS = {
    *("labelled", "people", "alignment", "native", "native_alignment", "down_up", "network"),
    *("refiner", "frozen", "sr", "reduction", "pixels", "optimizer", "train"),
    *("initial", "initial_refiner", "initial_encoder"),
    "teacher_alignment",
    # The data's; how A-Softmax gets harder, which is SphereFace's alone; and on how many devices.
    *("classes", "native_classes", "easing", "shard_classes"),
}


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """Path -> value of what JSON calls objects."""
    if not isinstance(tree, dict):
        return {name: tree}
    items = ((f"{name}.{key}" if name else key, value) for key, value in tree.items())
    return {path: leaf for key, value in items for path, leaf in flat(value, key).items()}


def branch(data: Any, people: Any, alignment: Any, batch: int, down_up: Any) -> dict[str, Any]:
    how = {"data": data, "people": people, "alignment": to_dict(alignment), "batch": batch}
    return how | {"down_up": down_up}


def training(name: str) -> dict[str, Any]:
    """All that a run depends on, in one vocabulary for both tasks, with the runs before it."""
    config = find_config(name)
    if not isinstance(config, CSRIConfig | RecognitionConfig):
        return flat(to_dict(config))
    values: dict[str, Any] = {
        "seen": build(config.network).size,
        "network": to_dict(config.network),
        "steps": config.train.steps,
        "seed": config.train.seed,
        # Those of a refiner concern nobody else.
        "optimizer": to_dict(config.optimizer)
        | {"groups": [g for g in config.optimizer.groups if "upsampler" not in g.match]},
    }
    values |= {field: getattr(config, field) for field in SHARED if hasattr(config, field)}
    before = config.initial
    if isinstance(config, CSRIConfig):
        own = {field: getattr(RecognitionConfig, field) for field in SHARED}
        values = own | values
        batch = config.train.batch_size // (bool(config.labelled) + bool(config.native))
        both = {
            "small": (config.labelled, config.people, config.alignment, batch, config.refiner.size),
            "native": (config.native, (0.0, 1.0), config.native_alignment, batch, None),
        }
        values |= {key: branch(*how) for key, how in both.items() if how[0]}
        values["refiner"] = {"network": to_dict(config.refiner), "learns": not config.frozen}
        if config.labelled:
            pixels = {"sr": config.sr, "reduction": config.reduction, "pixels": config.pixels}
            values["refiner"] |= pixels
        if config.initial_refiner:
            values["refiner"]["before"] = training(config.initial_refiner)
        before = before or config.initial_encoder
    else:
        native = config.labelled[0].startswith(("tinyface", "synlr", "synthetic_identities:train"))
        how = (config.labelled, config.people, config.alignment, config.train.batch_size)
        values["native" if native else "small"] = branch(*how, config.down_up)
    found = flat(values)
    if before is not None:
        found |= {f"before.{key}": value for key, value in training(before).items()}
    return found


def without_joint_step(values: dict[str, Any]) -> dict[str, Any]:
    """A run as if it had gone on at once from what its joint step went on from."""
    own = {key: value for key, value in values.items() if not key.startswith("before.")}
    before = {key: value for key, value in values.items() if key.startswith("before.before.")}
    return own | {key.removeprefix("before."): value for key, value in before.items()}


def differences(one: str, other: str, joint: tuple[bool, bool]) -> dict[str, tuple[Any, Any]]:
    """Field -> what either run has there; of some, without their joint step."""
    a, b = (
        without_joint_step(training(name)) if passed_over else training(name)
        for name, passed_over in zip((one, other), joint, strict=True)
    )
    # Of SphereFace there is no second step: its first one is compared with theirs.
    tuned = [any(key.startswith("native.") for key in side) for side in (a, b)]
    if tuned[0] != tuned[1]:
        cut = [
            {k.removeprefix("before."): v for k, v in side.items() if k.startswith("before.")}
            if there
            else side
            for side, there in zip((a, b), tuned, strict=True)
        ]
        a, b = cut[0] | {"tuned": tuned[0]}, cut[1] | {"tuned": tuned[1]}
    pairs = {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys())}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


# The encoders' own: networks, losses and the solvers that their authors suggest. Each has seen as
# many native faces.
ENCODER = (
    *(r"network\.", "seen$", r"optimizer\.(learning_rate|drops)$", "steps$", r"native\.batch$"),
    *("verification$", "head$", "bias$", "centre$", r"small\.batch$", r"small\.down_up$"),
)
BEFORE = tuple(rf"before\.{field}" for field in ENCODER)
REFINER = (r"refiner\.",)
# CSRI's second step, as against fine-tuning alone.
COMPLEMENT = (r"small\.", r"refiner\.learns$", r"refiner\.(sr|reduction|pixels)$")
# Its first step: the encoder sees small faces behind a refiner, by the softmax alone.
JOINT = (r"before\.refiner\.", r"before\.small\.down_up", r"before\.centre$")
# CSRI's tables pass over how RPCN begins.
RPCN = (*ENCODER, *BEFORE, r"before\.before\.")


def expected(better: str, worse: str) -> tuple[str, ...]:
    """The fields in which the paper lets two rows of its tables differ."""
    pair = {better, worse}
    if pair == {"joint", ENCODER_ALONE}:
        return (*REFINER, r"before\.refiner\.")
    if pair == {"CSRI", NATIVE_ONLY}:
        return COMPLEMENT[:1] + COMPLEMENT[2:]
    if pair == {"CSRI", "joint"}:
        return COMPLEMENT
    if pair == {"joint", "CentreFace"} or pair == {"joint", "VDSR + CentreFace"}:
        return (*REFINER, *JOINT)
    if "SynLR" in better:
        return (r"native\.data",)
    if "CSRI" in pair:
        other = worse if better == "CSRI" else better
        same = other.endswith("CentreFace")
        return (*COMPLEMENT, *REFINER, *JOINT, *(() if same else RPCN))
    if "RPCN" in pair:
        return (*RPCN, *REFINER)
    if better in worse:
        return REFINER
    return (*ENCODER, *BEFORE, "tuned")


AFTER_DISTILLATION = {"joint", "CSRI", ENCODER_ALONE, NATIVE_ONLY}
PAIRS = sorted({pair for table in TABLES.values() for pair in table.orders})


def examples(name: str) -> int:
    """How many native faces a run has seen."""
    found = training(name)
    return found["steps"] * found["native.batch"]


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_compared(name: str) -> None:
    table = TABLES[name]
    assert {row for pair in table.orders for row in pair} == table.settings.keys()


def test_what_the_text_claims_is_compared() -> None:
    orders = {name: set(table.orders) for name, table in TABLES.items()}
    # 4.0 points over CentreFace alone, 10.1 over independent learning.
    assert {("joint", "CentreFace"), ("joint", "VDSR + CentreFace")} <= orders["csri_table6"]
    table5 = TABLES["csri_table5"].settings.keys()
    assert {(row, "RPCN") for row in table5 - {"RPCN"}} <= orders["csri_table5"]
    assert {("CSRI", row) for row in table5 - {"CSRI"}} <= orders["csri_table5"]
    table3 = TABLES["csri_table3"].settings.keys()
    assert {("CentreFace", row) for row in table3 - {"CentreFace"}} <= orders["csri_table3"]
    assert TABLES["csri_table4"].rank == 20


def test_no_field_is_passed_over() -> None:
    fields = {f.name for kind in (CSRIConfig, RecognitionConfig) for f in dataclasses.fields(kind)}
    assert fields == {*SHARED, *OTHERS}


@pytest.mark.parametrize("size", ["paper", "small", "quick"])
@pytest.mark.parametrize(("better", "worse"), PAIRS)
def test_rows_differ_in_what_the_paper_says(better: str, worse: str, size: str) -> None:
    one, other = (sized(SETTINGS[row].encoder, size) for row in (better, worse))
    # At the size `small` joint learning begins with a distilled encoder, as the other rows do. Its
    # steps come on top; what takes as many without the refiner is a row of its own.
    later = [size == "small" and row in AFTER_DISTILLATION for row in (better, worse)]
    found = differences(one, other, (False, False) if all(later) else (later[0], later[1]))
    for key, values in found.items():
        print(f"{key}: {values[0]} | {values[1]}")
    allowed = re.compile("|".join(expected(better, worse)))
    more = {key: values for key, values in found.items() if not allowed.match(key)}
    assert not more
    assert found or size == "quick"  # There, SynLR's people are TinyFace's.


@pytest.mark.parametrize("size", ["paper", "small", "quick"])
def test_every_row_has_seen_as_many_native_faces_and_lost_none(size: str) -> None:
    rows = [sized(row.encoder, size) for name, row in SETTINGS.items() if name != "SphereFace"]
    assert len({examples(row) for row in rows}) == 1
    assert {find_config(row).holdout for row in rows} == {0.1 if size == "quick" else 0.0}
    assert {training(row)["shift"] for row in rows} == {8 / 128}
    assert {training(row)["centre"] for row in rows} == {0.0}


@pytest.mark.parametrize("size", ["small", "quick"])
def test_the_pixels_weigh_as_much_where_they_are_fewer(size: str) -> None:
    for name in ("csri:joint", "csri:csri"):
        paper, fewer = find_config(name), find_config(sized(name, size))
        height, width = paper.refiner.image_size
        half = fewer.refiner.image_size
        assert half == (height // 2, width // 2)
        # Half the sum over the batch by its size: of as many pixels as there are.
        assert fewer.sr * half[0] * half[1] == pytest.approx(paper.sr * height * width)


@pytest.mark.parametrize("refiner", ["srcnn", "vdsr", "drrn"])
def test_encoders_are_fine_tuned_behind_a_refiner_as_they_are_alone(refiner: str) -> None:
    for encoder in ("centreface", "vggface"):
        alone = find_config(f"recognition:{encoder}_tuned")
        behind = find_config(f"csri:{refiner}_{encoder}")
        assert behind.optimizer == alone.optimizer
        assert behind.train == alone.train
        # At the size that the refiner has learned on.
        assert behind.refiner == find_config(behind.initial_refiner).network


def test_biases_learn_as_in_the_cited_solvers() -> None:
    """Caffe's `lr_mult: 2, decay_mult: 0` of each bias that learns."""
    for name in ("recognition:centreface", "recognition:vggface_tuned", "csri:joint", "csri:csri"):
        groups = find_config(name).optimizer.groups
        found = next(g for g in groups if re.search(g.match, "encoder.conv1.bias"))
        assert (found.rate, found.decay) == (2, 0)
        assert not any(re.search(g.match, "encoder.conv1.kernel") for g in groups)
