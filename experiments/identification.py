"""How tables of identification are measured: faces aligned in some way, encoded, and identified."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lrjax.data.identities import load_identities
from lrjax.evaluation.identification import Identification, identify, redraw_halves
from lrjax.evaluation.intervals import Sample
from lrjax.experiments.context import Context
from lrjax.experiments.floors import FLOORS, floor_of
from lrjax.experiments.protocols import IdentificationTable, Protocol, Setting
from lrjax.inference.aligner import Aligner
from lrjax.inference.encoder import FaceEncoder, cached_embeddings
from lrjax.report import draw, plots
from lrjax.report.results import Result, claims
from lrjax.report.tables import beside_paper
from lrjax.tasks.runs import load_config, names_run

SHOWN = 12


STAND_IN = (
    "Paper: {paper} of TinyFace. What stands in for them here, {data}, shows whether the order of "
    "the settings holds, not their level: its people and its pictures are others."
)
SHORT = (
    "Networks that were trained at the size `{size}` are narrow and have learned for a short time: "
    "their order may tell something, their level does not."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """One setting, measured.

    Attributes:
      dataset: whose probes were identified.
      encoder: what it is called.
      results: ranks of all probes, for each seed of training.
      people: whose each probe is [p].
      aligned: of probes and gallery, how many faces could be aligned, for each seed.
      faces: the first aligned probes, uint8 [n, H, W, 3].
    """

    dataset: str
    encoder: str
    results: tuple[Identification, ...]
    people: np.ndarray
    aligned: tuple[str, ...]
    faces: np.ndarray

    @functools.cached_property
    def result(self) -> Identification:
        """The probes of all seeds in a row, whose figures are averages over the seeds."""
        ranks = np.concatenate([one.ranks for one in self.results])
        return dataclasses.replace(self.results[0], ranks=ranks)

    @property
    def sizes(self) -> str:
        """Among how many pictures the probes were identified."""
        result = self.results[0]
        count = "no" if result.distractors is None else f"{result.distractors:,}"
        return (
            f"{self.dataset}: {result.probes:,} probes, {result.gallery:,} gallery pictures, "
            f"distractors: {count}"
        )

    def hits(self, rank: int) -> Sample:
        """What the CMC averages: 100 for a probe with a mate up to a rank, 0 for another."""
        found = 100.0 * (self.result.ranks[:, 0] <= rank)
        return Sample(found, np.tile(self.people, len(self.results)), self.dataset)


def load_encoder(context: Context, setting: Setting) -> FaceEncoder:
    """Load the encoder of a setting, after training it if need be."""
    if setting.floor is not None:
        encoder = load_encoder(context, dataclasses.replace(setting, floor=None))
        return floor_of(encoder, setting.floor, context.seed)
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
        return str(find(name)) if name and names_run(name) else name

    resolved = dataclasses.replace(
        how, landmarks=source(how.landmarks), upsample=source(how.upsample)
    )
    which = "last" if names_run(how.landmarks) else None
    return Aligner.load(resolved, encoder.template, which=which)


def measure(context: Context, setting: Setting, protocol: Protocol) -> Measured:
    """Identify the probes of a setting's dataset by a paper's closed-set protocol."""
    encoder = load_encoder(context, setting)
    aligner = load_aligner(context, setting, encoder)
    dataset = context.tests.shrunk if setting.shrunk else context.tests.identities
    identities, features = {}, {}
    for split in ["probe", "gallery_match"] + ["distractors"] * (protocol.distractors is not None):
        identities[split] = load_identities(f"{dataset}:{split}", context.data_dir)
        features[split] = cached_embeddings(
            encoder, aligner, identities[split], flip="none", cache=context.runs.cache
        )
    probe, gallery = features["probe"], features["gallery_match"]
    matched = (
        *(probe.features, identities["probe"].label),
        *(gallery.features, identities["gallery_match"].label),
    )
    if protocol.halves and context.halves is not None:
        matched = redraw_halves(*matched, context.halves)
    result = identify(
        *matched,
        None if protocol.distractors is None else features["distractors"].features,
        metric=protocol.metric,
    )
    aligned = np.concatenate([probe.aligned, gallery.aligned])
    shown = next(iter(aligner.parts(identities["probe"], SHOWN)))
    count = f"{aligned.sum():,} of {len(aligned):,}"
    return Measured(dataset, encoder.name, (result,), matched[1], (count,), shown.images)


def pooled(seeds: Sequence[Measured]) -> Measured:
    """Put what was measured with each seed of training together."""
    return dataclasses.replace(
        seeds[0],
        results=tuple(result for one in seeds for result in one.results),
        aligned=tuple(count for one in seeds for count in one.aligned),
    )


def write(
    context: Context, name: str, table: IdentificationTable, measured: Mapping[str, Measured]
) -> Result:
    """Make the result of a table: its figures beside ours, CMC and precision-recall curves, faces,
    and its claims.

    Args:
      context: where figures go.
      name: of the experiment, with which the names of its figures begin.
      table: the paper's.
      measured: setting -> ours.
    """
    ranks, at = table.protocol.ranks, f"rank-{table.rank}"
    ours = {
        label: one.result.summary(ranks) | {"aligned": "; ".join(one.aligned)}
        for label, one in measured.items()
    }
    paper = {label: dict(setting.paper) for label, setting in table.rows.items()}
    data = "; ".join(dict.fromkeys(one.sizes for one in measured.values()))
    note = table.note.format(encoder=next(iter(measured.values())).encoder)
    if table.protocol.halves and context.halves is not None:
        note += f" Probes and gallery are random halves (seed {context.halves})."
    curves = plots.cmc_curves({label: one.result.cmc for label, one in measured.items()})
    precisions = plots.precision_recall_curves(
        {label: one.result.precision_recall for label, one in measured.items()}
    )
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
                note=f"In percent. {table.protocol.note} {note} {_floors(table)}",
                data=data,
                digits=2,
            ),
        ),
        claims=claims(
            table.compared(context),
            {label: one.hits(table.rank) for label, one in measured.items()},
            {label: values[at] for label, values in paper.items() if values},
            at,
        ),
        figures=(
            context.figure(
                f"{name}-cmc.svg", "Cumulative match characteristics.", plots.to_svg(curves)
            ),
            context.figure(
                f"{name}-pr.svg",
                "Precision over recall: the mean over the probes of the interpolated precision.",
                plots.to_svg(precisions),
            ),
            context.figure(
                f"{name}-faces.png",
                "The first probes, as each encoder is given them.",
                draw.labelled_rows(rows, 96),
            ),
        ),
        notes=_notes(context, table, measured),
        data=data,
    )


def _floors(table: IdentificationTable) -> str:
    """What the rows are that have learned nothing."""
    of = " and ".join(f"`{label}`" for label in table.floors)
    pixels, network = (f"`{floor}`" for floor in FLOORS)
    return (
        f"Not in the paper: {pixels}, and the {network}, with its weights as drawn, both on the "
        f"faces of {of}."
    )


def _notes(
    context: Context, table: IdentificationTable, measured: Mapping[str, Measured]
) -> tuple[str, ...]:
    """What the figures do not say."""
    protocol, notes = table.protocol, []
    if table.compared(context):
        notes.append(context.judged("the people, with all of their probes"))
    if table.compared(context) != table.orders:
        notes.append(
            "The sharp faces made small are those of the other rows here, so that these are the "
            "same rows twice, and their order is not judged."
        )
    others = dict.fromkeys(
        m.sizes for m in measured.values() if not protocol.is_whole(m.results[0])
    )
    if others:
        count = "" if protocol.distractors is None else f", {protocol.distractors:,} distractors"
        paper = f"{protocol.probes:,} probes, {protocol.gallery:,} gallery pictures{count}"
        notes.append(STAND_IN.format(paper=paper, data="; ".join(dict.fromkeys(others))))
    if context.size in ("small", "quick"):
        notes.append(SHORT.format(size=context.size))
    if context.size == "small" and table.small:
        notes.append(table.small)
    return tuple(notes)


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
            seeds = list(context.seeded())
            measured = {
                label: pooled([measure(one, setting, table.protocol) for one in seeds])
                for label, setting in table.rows.items()
            }
            return write(context, name, table, measured)

        run.__doc__ = f"{paper} {table.title}.".strip()
        return run

    return {name: experiment(name, table) for name, table in tables.items()}
