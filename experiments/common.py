"""What every experiment needs: runs that are trained once, predictions, and where results go."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from configs import degradation as degradation_configs
from configs import landmarks as landmark_configs
from lrjax.cli.train import save_pictures
from lrjax.config import override
from lrjax.evaluation import landmarks as metrics
from lrjax.files import write_atomically
from lrjax.inference.landmarks import Detector, Inference
from lrjax.report import draw
from lrjax.report.results import Figure, Result
from lrjax.tasks import runs

Size = Literal["paper", "w300", "small", "quick"]


@dataclasses.dataclass(frozen=True)
class Test:
    """Where a size of the experiments is tested.

    Attributes:
      generated: faces with points, tested after degradation by G1.
      native: native low-resolution faces with points, or None.
      wild: native low-resolution faces to look at.
      high: test sets of HR-LD, by name.
    """

    generated: str
    native: str | None
    wild: str
    high: dict[str, str]


TESTS: dict[Size, Test] = {
    "paper": Test(
        "aflw:test",
        "alrf:test",
        "wider_face_crops:lr",
        {
            "Common": "w300:common",
            "Challenge": "w300:challenging",
            "Full": "w300:full",
            "AFLW": "aflw:test",
        },
    ),
    "w300": Test("w300:full", "alrf:test", "wider_face_crops:lr", {"Common": "w300:common"}),
    "small": Test("w300:full", "alrf:test", "wider_face_crops:lr", {"Common": "w300:common"}),
    "quick": Test(
        "synthetic_faces:hr_test",
        "synthetic_faces:lr_test",
        "synthetic_faces:lr_test",
        {"Synthetic": "synthetic_faces:hr_test"},
    ),
}


@dataclasses.dataclass(frozen=True)
class Context:
    """One round of experiments.

    Attributes:
      size: which variants of the configurations are trained, on which data.
      runs: folder of run folders; what is there is not trained again.
      results: folder for `<experiment>.json` and its pictures.
      data_dir: prepared records.
      settings: overrides for every configuration, as for `lrjax train --set`.
    """

    size: Size
    runs: Path
    results: Path
    data_dir: Path
    settings: tuple[str, ...] = ()

    @property
    def test(self) -> Test:
        """The test sets of this size."""
        return TESTS[self.size]

    @cached_property
    def stage1(self) -> Path:
        """The run of G1 that S2, S3 and S4 share, and that makes the generated test faces."""
        return self._ensure(f"degradation-{self.size}", degradation_configs.get_config(self.size))

    def landmark_run(self, setting: str, **changes: Any) -> Path:
        """The run of a setting: "s1" to "s4" or "hr"."""
        config = landmark_configs.get_config(f"{setting}-{self.size}")
        if config.degradation == "generator":
            config = dataclasses.replace(config, stage1=str(self.stage1))
        if config.critics and self.size in landmark_configs.CONTINUED:
            config = dataclasses.replace(
                config,
                initial=str(self.landmark_run("s2")),
                train=landmark_configs.CONTINUED[self.size],
            )
        return self._ensure(f"{setting}-{self.size}", dataclasses.replace(config, **changes))

    def _ensure(self, name: str, config: runs.Config) -> Path:
        folder = self.runs / name
        config = override(config, self.settings)
        if not (folder / "last").is_dir() or runs.load_config(folder) != config:
            runs.train(
                config,
                folder,
                data_dir=self.data_dir,
                pictures=lambda step, shown: save_pictures(folder, step, shown),
            )
        return folder

    def save(self, name: str, result: Result, pictures: dict[str, bytes | np.ndarray]) -> Path:
        """Write `<name>.json`, and its figures beside it."""
        for file, content in pictures.items():
            data = content if isinstance(content, bytes) else draw.encode_png(content)
            write_atomically(self.results / file, data)
        command = f"lrjax experiment {name} --size {self.size}"
        if self.settings:
            command += "".join(f" --set {setting}" for setting in self.settings)
        result = dataclasses.replace(result, command=command, hardware=hardware())
        path = self.results / f"{name}.json"
        result.save(path)
        return path


def hardware() -> str:
    """Device kind and count, in words."""
    kind = jax.devices()[0].device_kind
    if kind == "cpu":
        return f"{os.cpu_count()} CPU cores"
    return f"{jax.device_count()} x {kind}"


def network(run: Path, which: str = "last") -> Detector:
    """The network of a run as the paper uses it: one look, at one view."""
    return Detector.load(run, Inference(flip=False, passes=1), which=which)


def figure(file: str, caption: str) -> Figure:
    """A figure of a result."""
    return Figure(file=file, caption=caption)


def in_percent(errors: np.ndarray) -> dict[str, str | float]:
    """The columns of Table 1b: NRMSE ± std and the two AUCs, in percent."""
    values = metrics.summary(errors)
    return {
        "NRMSE ± std": f"{values['nrmse']:.2f} ± {values['std']:.2f}",
        "AUC@0.07": values["auc@0.07"],
        "AUC@0.08": values["auc@0.08"],
    }


def held(relation: str, values: Sequence[float]) -> str:
    """Whether a claimed order of `values`, largest first, held: "RELATION: held (4.2, 4.1)"."""
    ordered = all(a > b for a, b in pairwise(values))
    shown = ", ".join(f"{100 * value:.2f}" for value in values)
    return f"{relation}: {'held' if ordered else 'not held'} ({shown} %)"
