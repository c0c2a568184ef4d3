"""What the tables of recognition share: faces aligned in some way, and told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.common import Context, held
from lrjax.data.identities import load_portraits
from lrjax.evaluation.identification import Identification, identify
from lrjax.inference.align import Aligner
from lrjax.inference.embed import Recogniser, cached_embeddings
from lrjax.inference.landmarks import Inference
from lrjax.inference.resolve import Resolver
from lrjax.report import draw, plots
from lrjax.report.tables import Table, beside_paper

SHOWN = 12
COLUMNS = ("top-1", "top-5", "top-10", "top-20", "mAP")
STAND_IN = (
    "Measured on {data}; paper: on TinyFace's 3,728 and 4,443 pictures. What stands in "
    "for them at a CPU's sizes shows whether the order of the settings holds, not their level: its "
    "people are fewer, their pictures were shrunk by a rule, and the recognisers are narrow or "
    "were trained on little."
)


@dataclasses.dataclass(frozen=True)
class Told:
    """One way of telling people apart, measured.

    Attributes:
      found: ranks of all probes.
      aligned: of probes and gallery, how many faces could be aligned, and how.
      faces: the first aligned probes, uint8 [n, H, W, 3].
    """

    found: Identification
    aligned: str
    faces: np.ndarray


def tell_apart(
    context: Context,
    recogniser: Recogniser,
    landmarks: str | Path,
    resolver: Resolver | None = None,
) -> Told:
    """The closed-set protocol without distractors, as K&C use it: cosine of single features.

    Args:
      landmarks: what the faces are aligned by (see `Aligner.load`), as the paper uses its networks:
        in one look at one view.
      resolver: enlarges the faces first.
    """
    aligner = Aligner.load(
        landmarks,
        recogniser.template,
        resolve=resolver,
        options=Inference(flip=False, passes=1),
    )
    features, portraits = {}, {}
    for split in ("probe", "gallery_match"):
        portraits[split] = load_portraits(f"{context.test.people}:{split}", context.data_dir)
        features[split] = cached_embeddings(
            recogniser, aligner, portraits[split], flip="none", cache=context.cache
        )
    probe, gallery = features["probe"], features["gallery_match"]
    found = identify(
        probe.features,
        portraits["probe"].label,
        gallery.features,
        portraits["gallery_match"].label,
        metric="cosine",
    )
    aligned = np.concatenate([probe.aligned, gallery.aligned])
    first = dataclasses.replace(
        portraits["probe"],
        images=portraits["probe"].images[:SHOWN],
        names=portraits["probe"].names[:SHOWN],
    )
    shown = next(iter(aligner.parts(first, SHOWN)))
    return Told(found, f"{aligned.sum():,} of {len(aligned):,}", shown.images)


def table(
    title: str, paper: Mapping[str, Mapping[str, float]], told: Mapping[str, Told], note: str = ""
) -> Table:
    """CMC at the paper's ranks and mAP in percent, paper beside ours."""
    ours: dict[str, dict[str, str | float]] = {}
    for name, one in told.items():
        values = {f"top-{rank}": 100 * one.found.cmc_at(rank) for rank in (1, 5, 10, 20)}
        ours[name] = values | {"mAP": 100 * one.found.mean_ap, "aligned": one.aligned}
    return beside_paper(
        title,
        "Setting",
        (*COLUMNS, "aligned"),
        {name: dict(values) for name, values in paper.items()},
        ours,
        note="In percent. Cosine, no distractors, no mirror image. " + note,
        data=sizes(told),
    )


def sizes(told: Mapping[str, Told]) -> str:
    """What was told apart, in words."""
    found = next(iter(told.values())).found
    return f"{found.probes:,} probes, {found.gallery:,} gallery pictures, distractors: no"


def orders(told: Mapping[str, Told], claims: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Whether the paper's orders of rank-1 hold; each claim names settings, best first."""
    return tuple(
        held(" > ".join(claim), [told[name].found.cmc_at(1) for name in claim]) for claim in claims
    )


def pictures(name: str, told: Mapping[str, Told]) -> dict[str, bytes | np.ndarray]:
    """CMC curves, and the first probes as each setting aligns them."""
    rows = [(label, list(one.faces)) for label, one in told.items()]
    return {
        f"{name}-cmc.png": plots.to_png(
            plots.cmc_curves({label: one.found.cmc for label, one in told.items()})
        ),
        f"{name}-faces.png": draw.labelled_rows(rows, 96),
    }
