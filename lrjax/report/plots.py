"""Curves: error distributions and training histories, as PNG or SVG.

Figures are made with Matplotlib's objects and not through pyplot, so that plotting in a library,
a thread or a test leaves no global state behind.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lrjax.errors import InputError
from lrjax.evaluation.landmarks import area_under_ced, ced

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's colours, which the colour-blind can tell apart; yellow is too pale on white."""

_DASHES = ("-", "--", "-.", ":")
_INK = "#333333"

Series = tuple[ArrayLike, ArrayLike]
"""Steps [t] and values [t]."""


def series_from(
    records: Sequence[Mapping[str, float]], names: Sequence[str], step: str = "step"
) -> dict[str, Series]:
    """Series out of logged records (one mapping per logged step), skipping records without them.

    Raises:
      InputError: no record has the name.
    """
    series = {}
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
    """Cumulative error distributions, one curve per method, with AUC@limit in the legend.

    Args:
      errors: method -> per-image errors [n] as fractions, NaN where excluded.
      normaliser: by what the errors were divided, for the axis.
      limit: right end of the axis, a fraction.
      title: above the plot.
    """
    if not errors:
        raise InputError("There are no errors to plot; evaluate at least one method.")
    figure, axes = _single(title)
    thresholds = np.linspace(0.0, limit, 401)
    for i, (name, values) in enumerate(errors.items()):
        label = f"{name} (AUC@{limit:g} {area_under_ced(values, limit):.1f})"
        axes.plot(100 * thresholds, 100 * ced(values, thresholds), label=label, **_line(i))
    axes.set(xlim=(0, 100 * limit), ylim=(0, 100))
    axes.set_xlabel(f"error, % of {normaliser.replace('_', ' ')}")
    axes.set_ylabel("images with a smaller error, %")
    _legend(axes)
    return figure


def cmc_curves(shares: Mapping[str, ArrayLike], ranks: int = 50, title: str = "") -> Figure:
    """Cumulative match characteristics, one curve per method, with rank-1 in the legend.

    Args:
      shares: method -> share [R] of probes found up to rank 1, 2, ...
      ranks: right end of the axis, if so many are given.
      title: of the figure.
    """
    if not shares:
        raise InputError("There are no ranks to plot; identify with at least one method.")
    figure, axes = _single(title)
    for i, (name, values) in enumerate(shares.items()):
        values = 100 * np.asarray(values, np.float64)[:ranks]
        label = f"{name} (rank 1: {values[0]:.2f} %)"
        axes.plot(np.arange(1, len(values) + 1), values, label=label, **_line(i))
    axes.set_xlabel("rank")
    axes.set_ylabel("probes found, %")
    axes.set_xlim(left=1)
    _legend(axes)
    return figure


def precision_recall_curves(curves: Mapping[str, Series], title: str = "") -> Figure:
    """Mean interpolated precision over recall, one curve per method.

    Args:
      curves: method -> (recall [n], precision [n]), fractions.
      title: of the figure.
    """
    if not curves:
        raise InputError("There are no precisions to plot; identify with at least one method.")
    figure, axes = _single(title)
    for i, (name, (recall, precision)) in enumerate(curves.items()):
        percent = (100 * np.asarray(part, np.float64) for part in (recall, precision))
        axes.plot(*percent, label=name, **_line(i))
    axes.set_xlabel("recall, %")
    axes.set_ylabel("mean interpolated precision, %")
    axes.set_xlim(0, 100)
    _legend(axes)
    return figure


def training_curves(
    series: Mapping[str, Series], ylabel: str, title: str = "", logarithmic: bool = False
) -> Figure:
    """Values over training steps, one curve per name.

    Values that are not finite leave a gap. With `logarithmic`, so do those that are not positive.
    """
    figure, axes = _single(title)
    _plot_series(axes, series, logarithmic)
    axes.set(xlabel="step", ylabel=ylabel)
    _legend(axes)
    return figure


def loss_balance(terms: Mapping[str, Series], k: Series | None = None, title: str = "") -> Figure:
    """The weighted terms of a generator's loss over the steps, and BEGAN's k_t below.

    Shows whether the order that the paper asks for holds in training: in Eq. 1
    alpha * l_GAN against beta * l_pixel, in Eq. 13 a * l_MSE > b * l_kp > c * l_conf.

    Args:
      terms: label -> steps and *weighted* values; drawn by magnitude, on a logarithmic axis.
      k: steps and k_t in [0, 1], where D2 is trained.
      title: above the plot.
    """
    magnitudes = {name: (steps, np.abs(values)) for name, (steps, values) in terms.items()}
    if k is None:
        return training_curves(magnitudes, "weighted loss term", title, logarithmic=True)
    figure = _figure(height=4.8)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        _style(axes)
    _plot_series(upper, magnitudes, logarithmic=True)
    _plot_series(lower, {"k": k}, logarithmic=False)
    upper.set(ylabel="weighted loss term")
    upper.set_title(title, loc="left", color=_INK)
    lower.set(xlabel="step", ylabel="$k_t$", ylim=(-0.03, 1.03))
    _legend(upper)
    return figure


def to_png(figure: Figure, dots_per_inch: int = 144) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def to_svg(figure: Figure) -> bytes:
    """The figure as the bytes of an SVG file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    # Without a fixed salt and with the date, each run would rewrite every picture in a repository.
    with rc_context({"svg.hashsalt": "lrjax", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _plot_series(axes: Axes, series: Mapping[str, Series], logarithmic: bool) -> None:
    if not series:
        raise InputError("There is no series to plot; name at least one logged value.")
    drawn = 0
    for i, (name, (steps, values)) in enumerate(series.items()):
        steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        if steps.shape != values.shape or steps.ndim != 1:
            raise InputError(
                f"Series {name!r} has {steps.shape} steps and {values.shape} values; they must "
                "be two lists of one length."
            )
        usable = np.isfinite(values) & ((values > 0) | (not logarithmic))
        drawn += int(usable.sum())
        # A single logged value would be an invisible line.
        marker = {"marker": "o", "markersize": 3} if usable.sum() < 20 else {}
        axes.plot(steps, np.where(usable, values, np.nan), label=name, **_line(i), **marker)
    if logarithmic and drawn:
        axes.set_yscale("log")


def _line(i: int) -> dict[str, object]:
    style = _DASHES[i // len(PALETTE) % len(_DASHES)]
    return {"color": PALETTE[i % len(PALETTE)], "linestyle": style, "linewidth": 1.7}


def _figure(width: float = 6.4, height: float = 4.0) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _single(title: str) -> tuple[Figure, Axes]:
    figure = _figure()
    axes = figure.subplots()
    _style(axes)
    axes.set_title(title, loc="left", color=_INK)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=_INK)
    axes.grid(True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


# More curves than these leave no room for their names among them.
_CROWD = 6


def _legend(axes: Axes) -> None:
    beside = len(axes.get_legend_handles_labels()[0]) > _CROWD
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {}
    axes.legend(frameon=False, labelcolor=_INK, **place)
    if beside:
        axes.figure.set_figwidth(1.5 * axes.figure.get_figwidth())
