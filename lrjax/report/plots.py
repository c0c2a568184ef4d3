"""Curves: error distributions, ranks and training histories, as SVG or PNG.

Figures are made with Matplotlib's objects and not through pyplot, so that plotting in a library,
a thread or a test leaves no global state behind.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from lrjax.errors import InputError
from lrjax.evaluation.landmarks import area_under_ced, ced

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333")
"""Okabe and Ito's colours, which the colour-blind can tell apart; yellow is too pale on white."""

_DASHES = ("-", "--", "-.", ":")
_INK, _GRID = "#333333", "#e4e4e4"
_DARK = {
    _INK: "#e4e7eb",
    _GRID: "#333b45",
    "#0072b2": "#4da3e0",
    "#d55e00": "#ff8a47",
    "#009e73": "#2fc79c",
}
"""What becomes of a colour where the reader's browser is set to dark."""

Series = tuple[ArrayLike, ArrayLike]
"""Steps [t] and values [t]."""


def series_from(
    records: Sequence[Mapping[str, float]], names: Sequence[str], step: str = "step"
) -> dict[str, Series]:
    """Collect series from logged records (one mapping per step), skipping records without them.

    Raises:
      InputError: no record has the name.
    """
    series: dict[str, Series] = {}
    for name in names:
        pairs = [(record[step], record[name]) for record in records if name in record]
        if not pairs:
            raise InputError(f"The log holds no value {name!r}; choose one that was logged.")
        steps, values = zip(*pairs, strict=True)
        series[name] = (np.asarray(steps), np.asarray(values, np.float64))
    return series


def ced_curves(
    errors: Mapping[str, ArrayLike],
    normaliser: str,
    limit: float = 0.08,
    title: str = "",
) -> Figure:
    """Plot cumulative error distributions, one curve per method, with AUC@limit in the legend.

    Args:
      errors: method -> per-image errors [n] as fractions, NaN where excluded.
      normaliser: by what the errors were divided, for the axis.
      limit: right end of the axis, a fraction.
      title: above the plot.
    """
    if not errors:
        raise InputError("There are no errors to plot; evaluate at least one method.")
    at = np.linspace(0.0, limit, 401)
    curves = {
        f"{name} (AUC@{limit:g} {area_under_ced(values, limit):.1f})": (
            100 * at,
            100 * ced(values, at),
        )
        for name, values in errors.items()
    }
    figure, axes = _curves(curves, title)
    axes.set(xlim=(0, 100 * limit), ylim=(0, 100), ylabel="images with a smaller error, %")
    axes.set_xlabel(f"error, % of {normaliser.replace('_', ' ')}")
    return figure


def risk_curves(risks: Mapping[str, ArrayLike], normaliser: str, title: str = "") -> Figure:
    """Plot the mean error over the share of the images that are kept, one curve per method.

    Args:
      risks: method -> mean errors [m] of the surest 1, 2, ... m images, as fractions.
      normaliser: by what the errors were divided, for the axis.
      title: above the plot.
    """
    if not risks:
        raise InputError("There are no errors to plot; evaluate at least one method.")
    curves = {}
    for name, values in risks.items():
        percent = 100 * np.asarray(values, np.float64)
        shares = 100 * np.arange(1, len(percent) + 1) / len(percent)
        curves[f"{name} (AURC {percent.mean():.2f})"] = (shares, percent)
    figure, axes = _curves(curves, title)
    axes.set(xlim=(0, 100), xlabel="surest images that are kept, %")
    axes.set_ylabel(f"their mean error, % of {normaliser.replace('_', ' ')}")
    axes.set_ylim(bottom=0)
    return figure


def share_curves(values: Mapping[str, ArrayLike], label: str, title: str = "") -> Figure:
    """Plot which share of the values is at most as large, one curve per name.

    Args:
      values: name -> [n].
      label: of the values' axis.
      title: above the plot.
    """
    if not values or not all(np.size(some) for some in values.values()):
        raise InputError("There are no values to plot; give at least one of each name.")
    curves = {}
    for name, some in values.items():
        ordered = np.sort(np.asarray(some, np.float64))
        curves[name] = (ordered, 100 * np.arange(1, len(ordered) + 1) / len(ordered))
    figure, axes = _curves(curves, title)
    axes.set(ylim=(0, 100), xlabel=label, ylabel="at most as large, %")
    return figure


def cmc_curves(shares: Mapping[str, ArrayLike], ranks: int = 50, title: str = "") -> Figure:
    """Plot cumulative match characteristics, one curve per method, with rank-1 in the legend.

    Args:
      shares: method -> share [R] of probes found up to rank 1, 2, ...
      ranks: right end of the axis, if so many are given.
      title: above the plot.
    """
    if not shares:
        raise InputError("There are no ranks to plot; identify with at least one method.")
    curves = {}
    for name, values in shares.items():
        percent = 100 * np.asarray(values, np.float64)[:ranks]
        label = f"{name} (rank 1: {percent[0]:.2f} %)"
        curves[label] = (np.arange(1, len(percent) + 1), percent)
    figure, axes = _curves(curves, title)
    axes.set(xlabel="rank", ylabel="probes found, %")
    axes.set_xlim(left=1)
    return figure


def precision_recall_curves(curves: Mapping[str, Series], title: str = "") -> Figure:
    """Plot mean interpolated precision over recall, one curve per method.

    Args:
      curves: method -> (recall [n], precision [n]), fractions.
      title: above the plot.
    """
    if not curves:
        raise InputError("There are no precisions to plot; identify with at least one method.")
    percent = {
        name: (100 * np.asarray(recall), 100 * np.asarray(precision))
        for name, (recall, precision) in curves.items()
    }
    figure, axes = _curves(percent, title)
    axes.set(xlabel="recall, %", ylabel="mean interpolated precision, %", xlim=(0, 100))
    return figure


def loss_balance(terms: Mapping[str, Series], k: Series | None = None, title: str = "") -> Figure:
    """Plot the weighted terms of a generator's loss over the steps, and BEGAN's k_t below.

    Shows whether the order that the paper asks for holds in training: in Eq. 1
    alpha * l_GAN against beta * l_pixel, in Eq. 13 a * l_MSE > b * l_kp > c * l_conf.

    Args:
      terms: label -> steps and *weighted* values; drawn by magnitude, on a logarithmic axis, with
        gaps where they are zero or not finite.
      k: steps and k_t in [0, 1], where D2 is trained.
      title: above the plot.
    """
    if not terms:
        raise InputError("There is no series to plot; name at least one logged value.")
    figure, panels = _figure(title, height_ratios=(1,) if k is None else (3, 1))
    magnitudes = {name: _magnitude(values) for name, (_, values) in terms.items()}
    for i, (name, values) in enumerate(magnitudes.items()):
        _plot_series(panels[0], name, terms[name][0], values, i)
    if any(np.isfinite(values).any() for values in magnitudes.values()):
        panels[0].set_yscale("log")
    panels[0].set_ylabel("magnitude")
    if k is not None:
        _plot_series(panels[1], "k", *k)
        panels[1].set(ylabel="$k_t$", ylim=(-0.03, 1.03))
    panels[-1].set_xlabel("step")
    _add_legend(figure, panels[0])
    return figure


def to_svg(figure: Figure) -> bytes:
    """Return the figure as the bytes of an SVG file; equal figures give equal bytes.

    It has no background, and lighter colours where the browser that shows it is set to dark.
    """
    buffer = io.BytesIO()
    # Without a fixed salt and with the date, each run would rewrite every picture in a repository.
    with rc_context({"svg.hashsalt": "lrjax", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in _DARK.items()
        for part in ("fill", "stroke")
    )
    style = f"@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return buffer.getvalue().replace(b"</style>", style.encode(), 1)


def _curves(curves: Mapping[str, Series], title: str) -> tuple[Figure, Axes]:
    figure, (axes,) = _figure(title)
    for i, (label, series) in enumerate(curves.items()):
        axes.plot(*series, label=label, **_line(i))
    _add_legend(figure, axes)
    return figure, axes


def _magnitude(values: ArrayLike) -> NDArray[np.float64]:
    """Absolute values, NaN where a logarithmic axis has no place for them."""
    size = np.abs(np.asarray(values, np.float64))
    return np.where(np.isfinite(size) & (size > 0), size, np.nan)


def _plot_series(axes: Axes, name: str, steps: ArrayLike, values: ArrayLike, i: int = 0) -> None:
    steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if steps.shape != values.shape or steps.ndim != 1:
        raise InputError(
            f"Series {name!r} has {steps.shape} steps and {values.shape} values; they must "
            "be two lists of one length."
        )
    # The line of a few logged values would hardly be seen.
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(values) < 20 else {}
    axes.plot(steps, values, label=name, **_line(i), **marker)


def _line(i: int) -> dict[str, Any]:
    style = _DASHES[i // len(PALETTE) % len(_DASHES)]
    return {"color": PALETTE[i % len(PALETTE)], "linestyle": style, "linewidth": 1.7}


def _figure(title: str, height_ratios: Sequence[float] = (1,)) -> tuple[Figure, list[Axes]]:
    """A narrow figure, so that its letters can still be read on a phone."""
    rows = len(height_ratios)
    figure = Figure((5.6, 2.8 + 0.8 * rows), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=height_ratios)[:, 0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#999999")
        axes.tick_params(which="both", colors=_INK)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].set_title(title, loc="left", color=_INK, parse_math=False)
    return figure, list(panels)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Name the curves below the plot, where long names and many curves have room."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= 30 and len(labels) > 1 else 1
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(labels) // columns))
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        labelcolor=_INK,
        fontsize=9,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
