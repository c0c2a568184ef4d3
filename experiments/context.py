"""What an experiment is given: a size, its test sets, runs that are trained once, and where its
results go.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from lrjax.config import override
from lrjax.configs import Size, sized
from lrjax.errors import InputError
from lrjax.evaluation.intervals import RESAMPLES
from lrjax.files import write_atomically
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.report import draw
from lrjax.report.results import Figure
from lrjax.report.samples import save_pictures
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.runs import Runs, find_config

AS_IN_THE_PAPERS = PredictConfig(flip=False, passes=1)
"""One look at one crop; `lrjax predict` looks also at the mirror image, and twice."""


W300 = {
    "Common": "w300:common",
    "Challenge": "w300:challenging",
    "Full": "w300:full",
    "Private": "w300:private_test",
}
"""300W's test sets, by the names in K&C's Table 4; the last one is not in it."""


@dataclasses.dataclass(frozen=True)
class TestSets:
    """Where a size of the experiments is tested.

    Attributes:
      generated: faces with points, tested after degradation by G1.
      native: native low-resolution faces with points.
      others: further faces with points, and to which side they are shrunk, if they are.
      wild: native low-resolution faces to look at.
      sharp: test sets of HR-LD: name -> (its setting, faces).
      identities: dataset with the splits probe, gallery_match and distractors.
      shrunk: another one, whose faces are sharp ones made small.
    """

    generated: str = "w300:full"
    native: str = "alrf:test"
    others: tuple[tuple[str, float | None], ...] = ()
    wild: str = "wider_face_crops:lr"
    sharp: dict[str, tuple[str, str]] = dataclasses.field(
        default_factory=lambda: {name: ("hr68", spec) for name, spec in W300.items()}
    )
    identities: str = "tinyface"
    shrunk: str = "synlr"


SHRUNK: tuple[tuple[str, float | None], ...] = tuple(("w300:common", side) for side in (32, 20, 16))
"""Faces that no network was trained on where AFLW is left out, at three sizes in pixels."""

TESTS: dict[Size, TestSets] = {
    "paper": TestSets(
        generated="aflw:test",
        sharp={name: ("hr68", spec) for name, spec in W300.items()}
        | {"AFLW": ("hr", "aflw:test"), "AFLW frontal": ("hr", "aflw:frontal")},
    ),
    "w300": TestSets(others=SHRUNK),
    # What can be had without asking anybody. MTFL's test faces are AFLW's.
    "small": TestSets(
        others=(("mtfl:test", None), *SHRUNK), sharp={"Common": ("hr68", "w300:common")}
    ),
    "quick": TestSets(
        generated="synthetic_faces:hr_test",
        native="synthetic_faces:lr_test",
        wild="synthetic_faces:lr_test",
        sharp={"Synthetic": ("hr", "synthetic_faces:hr_test")},
        identities="synthetic_identities",
        shrunk="synthetic_identities",
    ),
}


@dataclasses.dataclass(frozen=True)
class Context:
    """One round of experiments.

    Attributes:
      size: which variants of the configurations are trained, and on which data they are tested.
      runs: what is there is not trained again.
      results: folder for `<experiment>.json` and its pictures.
      encoder: weights or run of the face encoder that is taken as it is (K&C's Table 2b); None: one
        is trained.
      seeds: how often everything but distilled encoders is trained, over which tables with claims
        average.
      halves: seed by which K&C's Tables 2 and 3 share each person's pictures out at random, as
        their text says; None: as the official lists do.
    """

    size: Size
    runs: Runs
    results: Path
    encoder: Path | None = None
    seeds: int = 1
    halves: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"The number of seeds is {self.seeds}; give 1 or more.")
        if self.seeds > 1 and any(one.startswith("train.seed=") for one in self.runs.settings):
            raise InputError(
                f"There are {self.seeds} seeds, and `train.seed` is set for all of them; give one "
                "or the other."
            )

    @classmethod
    def create(
        cls,
        size: Size,
        runs_dir: Path,
        results_dir: Path,
        data_dir: Path,
        settings: tuple[str, ...] = (),
        encoder: Path | None = None,
        seeds: int = 1,
        halves: int | None = None,
    ) -> Context:
        """Make a context from folders.

        Args:
          size, encoder, seeds, halves: see above.
          runs_dir: of run folders, and of a cache of aligned faces and features.
          results_dir: of results.
          data_dir: of prepared records.
          settings: overrides for every configuration, as for `lrjax train --set`.
        """
        runs = Runs(runs_dir, data_dir, settings, runs_dir / "cache", save_pictures)
        return cls(size, runs, results_dir, encoder, seeds, halves)

    @property
    def seed(self) -> int:
        """The seed that is set for all runs, or else the configurations' own, which is 0."""
        own = [one for one in self.runs.settings if one.startswith("train.seed=")]
        return int(own[-1].partition("=")[2]) if own else 0

    def seeded(self) -> Iterator[Context]:
        """Make a context of each seed: the configurations' own, then 1, 2, ... in other folders.

        Distilled encoders are those of the first seed in all of them.
        """
        yield dataclasses.replace(self, seeds=1)
        for seed in range(1, self.seeds):
            settings = (*self.runs.settings, f"train.seed={seed}")
            folder = self.runs.folder / f"seed-{seed}"
            runs = dataclasses.replace(self.runs, folder=folder, settings=settings, first=self.runs)
            yield dataclasses.replace(self, runs=runs, seeds=1)

    def judged(self, drawn: str) -> str:
        """Say how claims are judged, of what is drawn in the bootstrap, such as "faces"."""
        trained = "one seed: how much another one changes is not in the interval"
        if self.seeds > 1:
            trained = (
                f"{self.seeds} seeds, over which differences are averaged; how much others change "
                "is not in the interval"
            )
        halved = " Nor is how much other halves change." * (self.halves is not None)
        return (
            "A claim held, or did not, where the 95 % interval of the difference lies on one side "
            f"of zero; else it is not shown. Interval: percentiles of {RESAMPLES:,} resamples of "
            f"{drawn}. Networks were trained with {trained}.{halved}"
        )

    @property
    def tests(self) -> TestSets:
        """The test sets of this size."""
        return TESTS[self.size]

    @property
    def data_dir(self) -> Path:
        """Folder of prepared records."""
        return self.runs.data_dir

    def run(self, name: str) -> Path:
        """Train or find the run of a configuration, such as "landmarks:s4", at this size."""
        return self.runs.ensure(sized(name, self.size))

    def landmarks(self, setting: str, which: str = "last") -> LandmarkPredictor:
        """Load the landmark network of a setting, and look with it as the paper does."""
        run = self.run(f"landmarks:{setting}")
        return LandmarkPredictor.load(run, AS_IN_THE_PAPERS, which)

    def departures(self, setting: str) -> str:
        """Say where the training of a landmark setting has other numbers than the paper's."""
        found = find_config(sized(f"landmarks:{setting}", self.size))
        config: LandmarksConfig = override(found, self.runs.settings)
        numbers = (
            ("σ of the heatmaps", config.g2.sigma, "2"),
            ("faces are turned by up to ± degrees", config.augment.rotation, "30"),
            ("learning rate", config.optimizer.learning_rate, "0.0002"),
            ("its schedule", config.optimizer.schedule, "halving"),
            ("share of training faces without a margin", config.augment.tight, "not said"),
        )
        shown = [
            (name, ours if isinstance(ours, str) else f"{ours:g}", paper)
            for name, ours, paper in numbers
        ]
        other = [f"{name} {ours} (paper: {paper})" for name, ours, paper in shown if ours != paper]
        return f"Training here: {'; '.join(other) or 'with all numbers of the paper'}."

    def figure(self, file: str, caption: str, content: bytes | np.ndarray) -> Figure:
        """Write a figure to the results, as bytes of its format or as a picture [H, W, 3]."""
        data = content if isinstance(content, bytes) else draw.encode_png(content)
        write_atomically(self.results / file, data)
        return Figure(file, caption)

    def command(self, name: str) -> str:
        """Say by which command an experiment is repeated."""
        words = ["lrjax", "experiment", name, "--size", self.size]
        for option, folder, default in (
            ("--runs-dir", self.runs.folder, "runs"),
            ("--results-dir", self.results, "results"),
            ("--data-dir", self.data_dir, None),
        ):
            # What is given from the root on is where this machine keeps its things.
            if not folder.is_absolute() and str(folder) != default:
                words += [option, str(folder)]
        for setting in self.runs.settings:
            words += ["--set", setting]
        if self.encoder is not None:
            words += ["--encoder", str(self.encoder)]
        if self.seeds > 1:
            words += ["--seeds", str(self.seeds)]
        if self.halves is not None:
            words += ["--halves", str(self.halves)]
        return shlex.join(words)


def hardware() -> str:
    """Say kind and number of devices in words."""
    kind = jax.devices()[0].device_kind
    if kind == "cpu":
        return f"{os.cpu_count()} CPU cores"
    return f"{jax.device_count()} x {kind}"
