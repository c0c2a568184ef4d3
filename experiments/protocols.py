"""Tables of identification as data: how a paper measures, and which rows it compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lrjax.config import AlignmentConfig
from lrjax.evaluation.identification import Identification
from lrjax.evaluation.scores import Metric
from lrjax.experiments.context import Context
from lrjax.experiments.floors import FLOORS, Floor


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a paper measures.

    Attributes:
      metric: of features, which are those of a face without its mirror image.
      ranks: where it reports the CMC, besides mAP.
      distractors: in the gallery of its test set, pictures of nobody; None: it leaves them out.
      probes, gallery: of its test set.
      halves: whether it says that each person's pictures are shared out at random.
    """

    metric: Metric
    ranks: tuple[int, ...]
    distractors: int | None
    probes: int = 3728
    gallery: int = 4443
    halves: bool = False

    @property
    def note(self) -> str:
        """What a table says below."""
        metric = {"cosine": "Cosine", "euclidean": "Euclidean distance"}[self.metric]
        distractors = "no" if self.distractors is None else "with"
        return f"{metric}, {distractors} distractors, no mirror image."

    def is_whole(self, found: Identification) -> bool:
        """Tell whether as many faces were identified as in the paper, however they are halved."""
        sizes = (found.probes + found.gallery, found.distractors)
        return sizes == (self.probes + self.gallery, self.distractors)


# Paper: "half of the face images are randomly assigned to the probe set". Ours: the official lists
# are the default, so that results can be compared with others'.
KUMAR = Protocol("cosine", (1, 5, 10, 20), None, halves=True)
CHENG = Protocol("euclidean", (1, 20, 50), 153_428)


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
      floor: what takes the encoder's place, and has learned nothing; None: the encoder itself.
    """

    paper: Mapping[str, float]
    encoder: str | None
    alignment: AlignmentConfig | None = AlignmentConfig("resize")
    shrunk: bool = False
    floor: Floor | None = None


@dataclasses.dataclass(frozen=True)
class IdentificationTable:
    """A table of a paper.

    Attributes:
      title, order: of the section on the page.
      protocol: how it was measured.
      settings: its rows.
      orders: pairs of rows that the paper compares, the better one first.
      floors: rows of whose faces and networks floors are made.
      note: more to say below the table; "{encoder}" stands for the encoder's name.
      rank: at which the rows are compared.
      small: what to say besides at the size `small`.
    """

    title: str
    order: float
    protocol: Protocol
    settings: Mapping[str, Setting]
    orders: tuple[tuple[str, str], ...]
    floors: tuple[str, ...]
    note: str = ""
    rank: int = 1
    small: str = ""

    @property
    def rows(self) -> dict[str, Setting]:
        """The settings, and the floors below them."""
        rows = dict(self.settings)
        for label in self.floors:
            where = label.partition(", ")[2] if len(self.floors) > 1 else ""
            for floor in FLOORS:
                name = ", ".join(filter(None, (floor, where)))
                rows[name] = dataclasses.replace(rows[label], paper={}, floor=floor)
        return rows

    def compared(self, context: Context) -> tuple[tuple[str, str], ...]:
        """The orders of rows that differ at a context's size.

        Where the sharp faces made small are those of the other rows, there is nothing to compare.
        """
        shrunk = {label: setting.shrunk for label, setting in self.settings.items()}
        same = context.tests.shrunk == context.tests.identities
        return tuple((a, b) for a, b in self.orders if not (same and shrunk[a] != shrunk[b]))
