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
from lrjax.data import batches, sources
from lrjax.evaluation import landmarks as metrics
from lrjax.files import write_atomically
from lrjax.geometry.points import SCHEMES, convert
from lrjax.report import draw
from lrjax.report.results import Figure, Result
from lrjax.tasks import degradation, landmarks, runs
from lrjax.training.state import State

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
BATCH = 32


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
        if self.size == "quick" and config.critics:
            # A newcomer's minutes are few: the adversarial settings go on from S2.
            start = str(self.landmark_run("s2"))
            config = dataclasses.replace(config, initial=start, train=landmark_configs.CONTINUED)
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

    def faces(self, spec: str, config: landmarks.LandmarksConfig) -> sources.Faces:
        """Faces of a high-resolution test set, with the points that `config` predicts."""
        return self._load(spec, config, config.image_size, config.scheme)

    def native_faces(self, spec: str, config: landmarks.LandmarksConfig) -> sources.Faces:
        """Faces of a native low-resolution test set, with five points as in K&C §4.2."""
        return self._load(spec, config, config.size, "five")

    def _load(
        self, spec: str, config: landmarks.LandmarksConfig, view: int, scheme: str
    ) -> sources.Faces:
        return sources.load(
            spec, data_dir=self.data_dir, view=view, context=config.context, scheme=scheme
        )

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


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Points found and true, in pixels of `images`.

    Attributes:
      images: uint8 [n, s, s, 3], as the network saw them.
      points, confidence: [n, N, 2] and [n, N], as the network gave them.
      truth, visible: [n, M, 2] and [n, M], in the points of the test set.
      config: of the network.
      scheme: the test set's points; those found are converted to it before they are compared.
    """

    images: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    visible: np.ndarray
    config: landmarks.LandmarksConfig
    scheme: str

    def errors(self, name: str = "face_size") -> np.ndarray:
        """Errors of faces [n] by a normaliser; face_size is the side of the face square."""
        scheme = SCHEMES[self.scheme]
        found, _ = convert(
            self.points, np.ones(self.points.shape[:2], bool), SCHEMES[self.config.scheme], scheme
        )
        side = self.images.shape[1] / self.config.context
        boxes = np.tile([0.0, 0.0, side, side], (len(self.points), 1))
        scale = metrics.normaliser(name, self.truth, boxes, self.visible, scheme)
        return metrics.normalised_errors(found, self.truth, self.visible, scale)

    def pictures(self, count: int, columns: int, *, truth: bool = False) -> np.ndarray:
        """The first `count` faces enlarged, with what was found (and, in orange, what is true)."""
        scale = max(1, 128 // self.images.shape[1])
        shown = []
        for i in range(min(count, len(self.images))):
            everything = np.ones(self.points.shape[1], bool)
            canvas = draw.draw_points(self.images[i], self.points[i], everything, draw.GREEN, scale)
            if truth:
                canvas = draw.overlay_points(
                    canvas, self.truth[i], self.visible[i], draw.ORANGE, scale
                )
            shown.append(canvas)
        return draw.sample_grid(np.stack(shown), columns, 1)


def predict(
    run: Path,
    faces: sources.Faces,
    *,
    degraded_by: Literal["none", "subsample", "generator"],
    stage1: Path | None = None,
    which: str = "last",
) -> Predictions:
    """What the network of a landmark run finds on faces, degraded in one way or not at all.

    Args:
      run: a landmark run folder.
      faces: frames of a high-resolution view, or with "none" of the network's own size.
      degraded_by: how high-resolution faces become what the network sees.
      stage1: G1's run folder, for "generator".
      which: "last" or "best" weights.
    """
    config = runs.load_config(run)
    if not isinstance(config, landmarks.LandmarksConfig):
        raise TypeError(f"{run} is not a landmark run")
    view = round(faces.images.shape[1] / sources.FRAME)
    config = dataclasses.replace(
        config,
        degradation=degraded_by,
        image_size=view,
        stage1=None if stage1 is None else str(stage1),
    )
    config.validate()
    nets = {"g2": degradation.load_net(run, "g2", which)}
    if degraded_by == "generator":
        nets["g1"] = degradation.load_net(stage1, "g1")
    state = State.create(nets, {}, jax.random.key(0))
    module, degrade = landmarks.generator_module(config), landmarks.degrader(config)

    @jax.jit
    def run_batch(part: dict[str, Any]) -> dict[str, jax.Array]:
        images, truth = landmarks.plain_views(config, degrade, state, part)
        points, confidence = landmarks.predict(config, module, state.nets["g2"], images)
        shown = ((images + 1.0) * 127.5).round().clip(0, 255).astype("uint8")
        return {"images": shown, "points": points, "confidence": confidence, "truth": truth}

    parts = [jax.device_get(run_batch(part)) for part in batches.padded(runs.arrays(faces), BATCH)]
    count = len(faces.images)
    joined = {name: np.concatenate([p[name] for p in parts])[:count] for name in parts[0]}
    scheme = faces.scheme or config.scheme
    return Predictions(visible=faces.visible, config=config, scheme=scheme, **joined)


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
