"""What every experiment needs: runs that are trained once, predictions, and where results go."""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from configs import csri as csri_configs
from configs import degradation as degradation_configs
from configs import landmarks as landmark_configs
from configs import recognition as recognition_configs
from configs import super_resolution as resolution_configs
from lrjax.cli.train import save_pictures
from lrjax.config import override
from lrjax.evaluation import landmarks as metrics
from lrjax.files import write_atomically
from lrjax.inference.framing import frames
from lrjax.inference.landmarks import Detector, Inference
from lrjax.report import draw
from lrjax.report.results import Figure, Result, stamp
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
      people: dataset with the splits probe, gallery_match and distractors.
      shrunk: another one, whose faces are sharp ones made small.
    """

    generated: str
    native: str | None
    wild: str
    high: dict[str, str]
    people: str = "tinyface"
    shrunk: str = "synlr"


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
        "synthetic_identities",
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
      recogniser: weights or run of the recogniser that is taken as it is (Table 2b); None: one is
        trained.
      begun: when, for how long a result took.
    """

    size: Size
    runs: Path
    results: Path
    data_dir: Path
    settings: tuple[str, ...] = ()
    recogniser: Path | None = None
    begun: float = dataclasses.field(default_factory=time.monotonic, compare=False)

    @property
    def test(self) -> Test:
        """The test sets of this size."""
        return TESTS[self.size]

    @property
    def cache(self) -> Path:
        """Folder of aligned faces and features, which are made once."""
        return self.runs / "cache"

    @cached_property
    def stage1(self) -> Path:
        """The run of G1 that S2, S3 and S4 share, and that makes the generated test faces."""
        return self._ensure(f"degradation-{self.size}", degradation_configs.get_config(self.size))

    @cached_property
    def end_to_end(self) -> Path:
        """The landmarks of settings L4 and I3: G1, too, has learned from TinyFace's faces."""
        name = f"degradation-tinyface-{self.size}"
        stage1 = self._ensure(name, degradation_configs.get_config(f"tinyface-{self.size}"))
        return self.landmark_run("tinyface", name="end-to-end", stage1=stage1)

    def landmark_run(
        self, setting: str, *, name: str | None = None, stage1: Path | None = None
    ) -> Path:
        """The run of a setting: "s1" to "s4", "tinyface" or "hr"; `name` if it is not its own."""
        config = landmark_configs.get_config(f"{setting}-{self.size}")
        if config.degradation == "generator":
            config = dataclasses.replace(config, stage1=str(stage1 or self.stage1))
        if config.critics and self.size in landmark_configs.CONTINUED:
            config = dataclasses.replace(
                config,
                initial=str(self.landmark_run("s2")),
                train=landmark_configs.CONTINUED[self.size],
            )
        return self._ensure(f"{name or setting}-{self.size}", config)

    def lightcnn_run(self, setting: str, landmarks: Path | str) -> Path:
        """The run of a setting, "l1" to "l5", on faces that the run `landmarks` aligns."""
        changes = {"alignment": str(landmarks)}
        if setting == "l5":
            changes["initial"] = str(self.recognition_run("casia"))
        return self.recognition_run(setting, **changes)

    def recognition_run(self, setting: str, **changes: Any) -> Path:
        """The run of a recogniser, and those of what it goes on from."""
        config = recognition_configs.get_config(f"{setting}-{self._width}")
        base, _, tuned = setting.partition("_")
        if tuned:
            changes["initial"] = str(self.recognition_run(base))
        elif base == "rpcn":
            changes["initial"] = str(self.resolution_run("rpcn"))
        return self._ensure(f"{setting}-{self.size}", dataclasses.replace(config, **changes))

    @cached_property
    def pretrained(self) -> Path:
        """The recogniser of Table 2b, which sees faces of 112 pixels."""
        return self.recogniser or self.recognition_run("arcface")

    def resolution_run(self, setting: str, before: str | None = None) -> Path:
        """The run of a super-resolution network; SRGAN and ESRGAN go on from `before`."""
        config = resolution_configs.get_config(f"{setting}-{self.size}")
        if before is not None:
            config = dataclasses.replace(config, initial=str(self.resolution_run(before)))
        return self._ensure(f"resolver-{setting}-{self.size}", config)

    def csri_run(self, setting: str) -> Path:
        """The run of a joint network, or of independent ones, and what they go on from."""
        config = csri_configs.get_config(f"{setting}-{self._width}")
        resolver, _, recogniser = setting.partition("_")
        if setting in ("csri", "joint_tuned"):
            config = dataclasses.replace(config, initial=str(self.csri_run("joint")))
        elif setting != "joint":
            config = dataclasses.replace(
                config,
                resolver=str(self.resolution_run(csri_configs.RESOLVERS[resolver])),
                recogniser=str(self.recognition_run(recogniser)),
            )
        return self._ensure(f"{setting}-{self.size}", config)

    @property
    def _width(self) -> str:
        """The size of recognisers: what 300W stands for does not matter to them."""
        return "paper" if self.size == "w300" else self.size

    def _ensure(self, name: str, config: runs.Config) -> Path:
        folder = self.runs / name
        config = override(config, self.settings)
        if not (folder / "last").is_dir() or runs.load_config(folder) != config:
            runs.train(
                config,
                folder,
                data_dir=self.data_dir,
                align=partial(frames, cache=self.cache),
                pictures=lambda step, shown: save_pictures(folder, step, shown),
            )
        return folder

    def save(self, name: str, result: Result, pictures: dict[str, bytes | np.ndarray]) -> Path:
        """Write `<name>.json`, and its figures beside it."""
        for file, content in pictures.items():
            data = content if isinstance(content, bytes) else draw.encode_png(content)
            write_atomically(self.results / file, data)
        words = ["lrjax", "experiment", name, "--size", self.size]
        for option, folder, default in (
            ("--runs-dir", self.runs, "runs"),
            ("--results-dir", self.results, "results"),
            ("--data-dir", self.data_dir, None),
        ):
            # What is given from the root on is where this machine keeps its things.
            if not folder.is_absolute() and str(folder) != default:
                words += [option, str(folder)]
        for setting in self.settings:
            words += ["--set", setting]
        if self.recogniser is not None:
            words += ["--recogniser", str(self.recogniser)]
        made = dataclasses.replace(result, command=shlex.join(words), hardware=hardware())
        result = stamp(made, self.begun)
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
