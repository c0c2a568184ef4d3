"""K&C's Table 1b: what the learned degradation is worth, and each critic."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from lrjax.configs import sized
from lrjax.evaluation import landmarks as metrics
from lrjax.evaluation.intervals import Sample
from lrjax.experiments.context import Context
from lrjax.experiments.landmarks import (
    CAMERA,
    CAMERA_D3,
    CAMERA_LONGER,
    FACE,
    LONGER,
    networks_of,
    ordered_share,
)
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.models.s2ld import LandmarkConfig
from lrjax.report import draw, plots
from lrjax.report.results import Claim, Result, claims
from lrjax.report.tables import Cell, Table, beside_paper
from lrjax.tasks.measure import Measured, measure_photographs
from lrjax.tasks.measure_small import measure_degraded, measure_small, small_faces
from lrjax.tasks.runs import find_config
from lrjax.training.log import read

TABLE1B = {
    "S1": {"NRMSE ± std": "11.33 ± 9.81", "AUC@0.07": 11.897, "AUC@0.08": 21.894},
    "S2": {"NRMSE ± std": "4.23 ± 4.52", "AUC@0.07": 50.843, "AUC@0.08": 55.751},
    "S3": {"NRMSE ± std": "4.120 ± 4.43", "AUC@0.07": 51.889, "AUC@0.08": 56.791},
    "S4": {"NRMSE ± std": "4.123 ± 4.394", "AUC@0.07": 51.775, "AUC@0.08": 56.697},
}
TABLE1B_NRMSE = {name: float(str(row["NRMSE ± std"]).split()[0]) for name, row in TABLE1B.items()}
FLOOR = "mean face"
# A row, measured with each seed of training.
Row = tuple[Measured, ...]


def table1b(context: Context) -> Result:
    """K&C Table 1b: settings S1 to S4 on generated low-resolution faces, and on native ones.

    Where S3 and S4 go on from S2, another row is S2 after as many more steps. Beyond the paper are
    rows of a parametric camera in G1's place, and more faces.
    """
    tests, data_dir, networks = context.tests, context.data_dir, networks_of(context)
    found: dict[str, list[tuple[Measured, ...]]] = {name: [] for name in networks}
    subsampled = []
    for one in context.seeded():
        predictors = {name: one.landmarks(setting) for name, setting in networks.items()}
        shape: LandmarkConfig = predictors["S1"].config
        stage1 = str(one.run("degradation"))
        crops = small_faces(shape, tests.generated, data_dir, "generator", stage1)
        native_crops = small_faces(shape, tests.native, data_dir, "none")
        for name, predictor in predictors.items():
            small = [measure_small(predictor, faces) for faces in (crops, native_crops)]
            others = [measure_photographs(predictor, s, data_dir, side) for s, side in tests.others]
            found[name].append((*small, *others))
        subsampled.append(
            measure_degraded(predictors["S1"], tests.generated, data_dir, "subsample")
        )
    generated, native, *others = (
        {name: tuple(sets[i] for sets in seeds) for name, seeds in found.items()}
        for i in range(2 + len(tests.others))
    )
    curves = plots.ced_curves({n: _errors(m) for n, m in generated.items()}, "face size", 0.2)
    rows = [(name, draw.face_cells(m[0].images[:8], m[0].found[:8])) for name, m in native.items()]
    figures = [
        context.figure(
            "table1b-ced.svg",
            "Cumulative errors on generated low-resolution faces.",
            plots.to_svg(curves),
        ),
        context.figure(
            "table1b-native.png",
            "Points that each network finds on native faces.",
            draw.labelled_rows(rows, 128),
        ),
    ]
    steps = {
        name: _steps(context, sized(f"landmarks:{setting}", context.size))
        for name, setting in networks.items()
    }
    own = _summary(tuple(subsampled))["nrmse"]
    everything = (generated, native, *others)
    notes = [
        context.departures("s4"),
        context.judged("the faces, which are paired"),
        f"S1 on subsampled test faces, its own domain: NRMSE {own:.2f} %.",
    ]
    for name, terms in (("S3", ("a_mse", "b_kp")), ("S4", ("a_mse", "b_kp", "c_conf"))):
        records = read(context.run(f"landmarks:{name.lower()}") / "metrics.jsonl")
        figures.append(
            context.figure(
                f"table1b-{name}-losses.svg",
                f"{name}: the weighted terms of Eq. 13, and k.",
                _balance(records, name, terms),
            )
        )
        share = ordered_share(records)
        notes.append(f"{name}: the weighted terms were in the order of Eq. 13 in {share}.")
    return Result(
        title="Table 1b: what the degradation, and each critic, is worth",
        order=1.2,
        tables=(_generated_table(generated, steps), *map(_other_table, everything[1:])),
        figures=tuple(figures),
        notes=tuple(notes),
        claims=tuple(
            claim
            for one in everything
            for claim in _claims(
                one, TABLE1B_NRMSE if one is generated else {}, f"error on {one['S1'][0].label}"
            )
        ),
        data="; ".join(one["S1"][0].data for one in everything),
    )


def _steps(context: Context, name: str) -> int:
    """How many steps a run's network has learned for, those of the run before it included."""
    network = LandmarkPredictor.load(context.runs.ensure(name), which="last")
    before = find_config(name).initial
    return network.weights.provenance["step"] + (_steps(context, before) if before else 0)


def _errors(row: Row) -> np.ndarray:
    """Errors of all faces, seed after seed."""
    return np.concatenate([one.errors(FACE) for one in row])


def _summary(row: Row) -> dict[str, float]:
    return metrics.summary(_errors(row))


def _generated_table(last: dict[str, Row], steps: dict[str, int]) -> Table:
    ours: dict[str, dict[str, Cell]] = {}
    for name, row in last.items():
        values = _summary(row)
        ours[name] = {
            "NRMSE ± std": f"{values['nrmse']:.2f} ± {values['std']:.2f}",
            "AUC@0.07": values["auc@0.07"],
            "AUC@0.08": values["auc@0.08"],
        }
    return beside_paper(
        "Table 1b: NRMSE on generated low-resolution faces, in percent of the face size",
        "Setting",
        ("NRMSE ± std", "AUC@0.07", "AUC@0.08"),
        TABLE1B,
        ours,
        note=(
            "Normaliser: √(w·h) of the face box. Paper: 4,386 AFLW faces, 19 points. Ours: after "
            f"the last step. {_small_print(steps)}"
        ),
        data=last["S1"][0].data,
    )


def _other_table(found: dict[str, Row]) -> Table:
    shown = ("nrmse", "median", "failure@0.08")
    rows = {name: _summary(row) for name, row in found.items()}
    rows[FLOOR] = _summary((_mean_face(found["S1"][0]),))
    return Table(
        title=f"The same networks on {found['S1'][0].label}",
        columns=("Setting", "NRMSE", "median", "failures at 0.08"),
        rows=tuple((name, *map(values.get, shown)) for name, values in rows.items()),
        note=f"In percent of √(w·h) of the face box; not in the paper. `{FLOOR}`: the places that "
        "points have in the mean of these very faces, in all of their boxes.",
        data=found["S1"][0].data,
    )


def _mean_face(measured: Measured) -> Measured:
    """Put the points of every face where they are in their mean, which looks at none of them."""
    corner, sides = measured.boxes[:, None, :2], measured.boxes[:, None, 2:]
    places = np.where(measured.visible[..., None], (measured.truth - corner) / sides, np.nan)
    return dataclasses.replace(measured, predicted=corner + sides * np.nanmean(places, axis=0))


def _small_print(steps: dict[str, int]) -> str:
    """How long each network has learned for."""
    said = f"Steps of training: {', '.join(f'{name} {count:,}' for name, count in steps.items())}."
    if LONGER in steps:
        return (
            f"{said} S3 and S4 go on from S2, as the control `{LONGER}` does, with which they are "
            "compared"
            + f"; so does `{CAMERA_D3}`, with `{CAMERA_LONGER}`, from `{CAMERA}`"
            * (CAMERA_D3 in steps)
            + "."
        )
    if len(set(steps.values())) > 1:
        said += " All are as many epochs, of AFLW's faces for S1, and of 300W's, too, for the rest."
    return said


def orders_of(rows: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of rows that are compared, that of the larger error first: the paper's, and ours.

    What S3 and S4 are compared with is S2 after as many steps; and so of the camera.
    """
    there = set(rows)
    second, camera = (LONGER, CAMERA_LONGER) if LONGER in there else ("S2", CAMERA)
    orders = (
        *(("S1", "S2"), (second, "S3"), (second, "S4"), ("S4", "S3")),
        *(("S1", CAMERA), (CAMERA, "S2"), (camera, "S4"), (camera, CAMERA_D3)),
    )
    return tuple(order for order in orders if there.issuperset(order))


def _claims(found: dict[str, Row], paper: dict[str, float], where: str) -> tuple[Claim, ...]:
    samples = {}
    for name, row in found.items():
        faces = np.tile(np.arange(len(row[0].truth)), len(row))
        samples[name] = Sample(100 * _errors(row), faces, row[0].label)
    known = paper | {LONGER: paper["S2"]} if paper else {}
    return claims(orders_of(found), samples, known, where)


def _balance(records: list[dict[str, float]], name: str, terms: tuple[str, ...]) -> bytes:
    series = plots.series_from(records, [f"weighted/{term}" for term in terms])
    k = plots.series_from(records, ["k"])
    return plots.to_svg(plots.loss_balance(series, k.get("k"), name))


EXPERIMENTS = {"table1b": table1b}
