"""Tables of identification as data, and how they are measured: faces aligned in some way, encoded,
and identified.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from lrjax.config import AlignmentConfig
from lrjax.data.identities import load_identities
from lrjax.evaluation.identification import Identification, identify
from lrjax.evaluation.scores import Metric
from lrjax.experiments.context import Context
from lrjax.inference.aligner import Aligner
from lrjax.inference.encoder import FaceEncoder, cached_embeddings
from lrjax.report import draw, plots
from lrjax.report.results import Result, claims
from lrjax.report.tables import beside_paper
from lrjax.tasks.runs import load_config

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
    def note(self) -> str:
        """What a table says below."""
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
    "people are fewer, their pictures were shrunk by a rule, and the encoders are narrow or "
    "were trained on little."
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a table.

    Attributes:
      paper: the paper's figures in percent, by metric; empty if it has no such row.
      encoder: the configuration whose encoder sees the faces; None for the context's, which is
        taken as it is.
      alignment: how faces are aligned; its networks may be configurations. None: as those that
        the encoder has learned from.
      shrunk: whether they are sharp faces made small.
    """

    paper: Mapping[str, float]
    encoder: str | None
    alignment: AlignmentConfig | None = AlignmentConfig("resize")
    shrunk: bool = False


@dataclasses.dataclass(frozen=True)
class IdentificationTable:
    """A table of a paper.

    Attributes:
      title, order: of the section on the page.
      protocol: how it was measured.
      settings: its rows.
      orders: rows by the paper's rank-1, best first.
      note: more to say below the table; "{encoder}" stands for the encoder's name.
    """

    title: str
    order: float
    protocol: Protocol
    settings: Mapping[str, Setting]
    orders: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One setting, measured.

    Attributes:
      dataset: whose probes were identified.
      encoder: what it is called.
      result: ranks of all probes.
      aligned: of probes and gallery, how many faces could be aligned.
      faces: the first aligned probes, uint8 [n, H, W, 3].
    """

    dataset: str
    encoder: str
    result: Identification
    aligned: str
    faces: np.ndarray

    @property
    def sizes(self) -> str:
        """Among how many pictures the probes were identified."""
        result = self.result
        count = "no" if result.distractors is None else f"{result.distractors:,}"
        return (
            f"{self.dataset}: {result.probes:,} probes, {result.gallery:,} gallery pictures, "
            f"distractors: {count}"
        )


def load_encoder(context: Context, setting: Setting) -> FaceEncoder:
    """Load the encoder of a setting, after training it if need be."""
    if setting.encoder is not None:
        return FaceEncoder.load(context.run(setting.encoder), "last")
    if context.encoder is None:
        return FaceEncoder.load(context.run("recognition:arcface"), "last")
    return FaceEncoder.load(context.encoder, "last" if context.encoder.is_dir() else None)


def load_aligner(context: Context, setting: Setting, encoder: FaceEncoder) -> Aligner:
    """Load what aligns the faces of a setting to the template of its encoder."""

    how, find = setting.alignment, context.run
    if how is None:
        # The names in it are of this size already.
        how, find = load_config(context.run(setting.encoder)).alignment, context.runs.ensure

    def source(name: str | None) -> str | None:
        return str(find(name)) if name and ":" in name else name

    resolved = dataclasses.replace(
        how, landmarks=source(how.landmarks), upsample=source(how.upsample)
    )
    which = "last" if ":" in how.landmarks else None
    return Aligner.load(resolved, encoder.template, which=which)


def measure(context: Context, setting: Setting, protocol: Protocol) -> Measured:
    """Identify the probes of a setting's dataset by a paper's closed-set protocol."""
    encoder = load_encoder(context, setting)
    aligner = load_aligner(context, setting, encoder)
    dataset = context.tests.shrunk if setting.shrunk else context.tests.identities
    identities, features = {}, {}
    for split in ["probe", "gallery_match"] + ["distractors"] * protocol.distractors:
        identities[split] = load_identities(f"{dataset}:{split}", context.data_dir)
        features[split] = cached_embeddings(
            encoder, aligner, identities[split], flip="none", cache=context.runs.cache
        )
    probe, gallery = features["probe"], features["gallery_match"]
    result = identify(
        probe.features,
        identities["probe"].label,
        gallery.features,
        identities["gallery_match"].label,
        features["distractors"].features if protocol.distractors else None,
        metric=protocol.metric,
    )
    aligned = np.concatenate([probe.aligned, gallery.aligned])
    shown = next(iter(aligner.parts(identities["probe"], SHOWN)))
    count = f"{aligned.sum():,} of {len(aligned):,}"
    return Measured(dataset, encoder.name, result, count, shown.images)


def write(
    context: Context, name: str, table: IdentificationTable, measured: Mapping[str, Measured]
) -> Result:
    """Make the result of a table: its figures beside ours, CMC curves, faces, and its claims.

    Args:
      context: where figures go.
      name: of the experiment, with which the names of its figures begin.
      table: the paper's.
      measured: setting -> ours.
    """
    ranks = table.protocol.ranks
    ours = {
        label: one.result.summary(ranks) | {"aligned": one.aligned}
        for label, one in measured.items()
    }
    paper = {label: dict(setting.paper) for label, setting in table.settings.items()}
    data = "; ".join(dict.fromkeys(one.sizes for one in measured.values()))
    note = table.note.format(encoder=next(iter(measured.values())).encoder)
    curves = plots.cmc_curves({label: one.result.cmc for label, one in measured.items()})
    rows = [(label, list(one.faces)) for label, one in measured.items()]
    return Result(
        title=table.title,
        order=table.order,
        tables=(
            beside_paper(
                table.title,
                "Setting",
                (*(f"rank-{rank}" for rank in ranks), "mAP", "aligned"),
                paper,
                ours,
                note=f"In percent. {table.protocol.note} {note}".strip(),
                data=data,
                digits=2,
            ),
        ),
        claims=claims(
            table.orders,
            {label: values["rank-1"] for label, values in ours.items()},
            {label: values["rank-1"] for label, values in paper.items() if values},
            "rank-1",
        ),
        figures=(
            context.figure(
                f"{name}-cmc.svg", "Cumulative match characteristics.", plots.to_svg(curves)
            ),
            context.figure(
                f"{name}-faces.png",
                "The first probes, as each encoder is given them.",
                draw.labelled_rows(rows, 96),
            ),
        ),
        notes=(STAND_IN.format(data=data, paper=table.protocol.size),),
        data=data,
    )


def experiments_of(
    tables: Mapping[str, IdentificationTable], paper: str = ""
) -> dict[str, Callable[[Context], Result]]:
    """Make an experiment of each table, which trains what is missing and measures its settings.

    Args:
      tables: by the experiment's name.
      paper: whose they are, where their titles do not say it.
    """

    def experiment(name: str, table: IdentificationTable) -> Callable[[Context], Result]:
        def run(context: Context) -> Result:
            measured = {
                label: measure(context, setting, table.protocol)
                for label, setting in table.settings.items()
            }
            return write(context, name, table, measured)

        run.__doc__ = f"{paper} {table.title}.".strip()
        return run

    return {name: experiment(name, table) for name, table in tables.items()}
