"""What the tables of recognition share: faces aligned in some way, and told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.common import Context, figure, held
from lrjax.data.identities import Identities, load_identities
from lrjax.evaluation.identification import Identification, identify
from lrjax.evaluation.scores import Metric
from lrjax.inference.align import Aligner
from lrjax.inference.embed import Recogniser, cached_embeddings
from lrjax.inference.landmarks import Inference
from lrjax.inference.resolve import Resolver
from lrjax.report import draw, plots
from lrjax.report.results import Result
from lrjax.report.tables import Table, beside_paper

SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a paper measures.

    Attributes:
      metric: of features, which are those of a face without its mirror image.
      distractors: whether the gallery holds pictures of nobody.
      ranks: where it reports the CMC, besides mAP.
      size: of the paper's test set, in words.
    """

    metric: Metric
    distractors: bool
    ranks: tuple[int, ...]
    size: str

    @property
    def words(self) -> str:
        """For a table's note."""
        metric = {"cosine": "Cosine", "euclidean": "Euclidean distance"}[self.metric]
        return f"{metric}, {'with' if self.distractors else 'no'} distractors, no mirror image."


KUMAR = Protocol("cosine", False, (1, 5, 10, 20), "3,728 probes and 4,443 gallery pictures")
CHENG = Protocol(
    "euclidean",
    True,
    (1, 20, 50),
    "3,728 probes, 4,443 gallery pictures and 153,428 distractors",
)
STAND_IN = (
    "Measured on {data}; paper: on TinyFace's {paper}. What stands in "
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
    *,
    protocol: Protocol = KUMAR,
    dataset: str | None = None,
) -> Told:
    """The closed-set protocol.

    Args:
      landmarks: what the faces are aligned by (see `Aligner.load`), as the paper uses its networks:
        in one look at one view.
      resolver: enlarges the faces first.
      protocol: the paper's.
      dataset: with the splits probe, gallery_match and perhaps distractors; None for this size's.
    """
    aligner = Aligner.load(
        landmarks,
        recogniser.template,
        resolve=resolver,
        options=Inference(flip=False, passes=1),
    )
    splits = ["probe", "gallery_match"] + ["distractors"] * protocol.distractors
    features, portraits = {}, {}
    for split in splits:
        portraits[split] = load_identities(
            f"{dataset or context.test.people}:{split}", context.data_dir
        )
        features[split] = cached_embeddings(
            recogniser, aligner, portraits[split], flip="none", cache=context.cache
        )
    probe, gallery = features["probe"], features["gallery_match"]
    found = identify(
        probe.features,
        portraits["probe"].label,
        gallery.features,
        portraits["gallery_match"].label,
        features["distractors"].features if protocol.distractors else None,
        metric=protocol.metric,
    )
    aligned = np.concatenate([probe.aligned, gallery.aligned])
    shown = next(iter(aligner.parts(first_of(portraits["probe"], SHOWN), SHOWN)))
    return Told(found, f"{aligned.sum():,} of {len(aligned):,}", shown.images)


def first_of(portraits: Identities, count: int) -> Identities:
    """The first pictures of a split."""
    return dataclasses.replace(
        portraits, images=portraits.images[:count], names=portraits.names[:count]
    )


def conclude(
    context: Context,
    name: str,
    title: str,
    order: float,
    paper: Mapping[str, Mapping[str, float]],
    told: Mapping[str, Told],
    claims: Sequence[Sequence[str]],
    *,
    protocol: Protocol = KUMAR,
    note: str = "",
    notes: Sequence[str] = (),
) -> Result:
    """Write an experiment's table, its CMC curves and its faces, and whether its orders held.

    Args:
      name: of the experiment.
      title, order: of the section on the page.
      paper: row -> column -> the paper's figure, in percent.
      told: row -> ours.
      claims: rows by the paper's rank-1, best first.
      note: more to say below the table.
      notes: more paragraphs.
    """
    data = sizes(told)
    result = Result(
        title=title,
        order=order,
        tables=(table(title, paper, told, protocol, note),),
        figures=(
            figure(f"{name}-cmc.png", "Cumulative match characteristics."),
            figure(f"{name}-faces.png", "The first probes, as each recogniser is given them."),
        ),
        notes=(
            *orders(told, claims),
            *notes,
            STAND_IN.format(data=data, paper=protocol.size),
        ),
        data=data,
    )
    context.save(name, result, pictures(name, told))
    return result


def table(
    title: str,
    paper: Mapping[str, Mapping[str, float]],
    told: Mapping[str, Told],
    protocol: Protocol,
    note: str = "",
) -> Table:
    """CMC at the paper's ranks and mAP in percent, paper beside ours."""
    ours: dict[str, dict[str, str | float]] = {}
    for name, one in told.items():
        values = {f"rank-{rank}": 100 * one.found.cmc_at(rank) for rank in protocol.ranks}
        ours[name] = values | {"mAP": 100 * one.found.mean_ap, "aligned": one.aligned}
    return beside_paper(
        title,
        "Setting",
        (*(f"rank-{rank}" for rank in protocol.ranks), "mAP", "aligned"),
        {name: dict(values) for name, values in paper.items()},
        ours,
        note=f"In percent. {protocol.words} {note}".strip(),
        data=sizes(told),
        digits=2,
    )


def sizes(told: Mapping[str, Told]) -> str:
    """What was told apart, in words."""
    found = next(iter(told.values())).found
    count = "no" if found.distractors is None else f"{found.distractors:,}"
    return f"{found.probes:,} probes, {found.gallery:,} gallery pictures, distractors: {count}"


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
