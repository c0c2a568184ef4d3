"""Plots: the numbers on the curves, reproducible files, no global state."""

import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.report import plots

STEPS = np.arange(0, 1000, 10)


def test_ced_curve_shows_shares_in_percent() -> None:
    figure = plots.ced_curves({"S2": [0.01, 0.03, np.nan, 0.05, 0.2]}, "face_size", limit=0.08)
    (axes,) = figure.axes
    (line,) = axes.lines
    at = dict(zip(np.round(line.get_xdata(), 6), line.get_ydata(), strict=True))
    assert at[0.0] == 0
    assert at[2.0] == 25
    assert at[4.0] == 50
    assert at[8.0] == 75
    assert "face size" in axes.get_xlabel()
    # (7/8 + 5/8 + 3/8) / 4 of the area.
    (label,) = [text.get_text() for text in figure.legends[0].get_texts()]
    assert label == "S2 (AUC@0.08 46.9)"


def test_what_cannot_be_drawn_on_a_logarithmic_axis_leaves_a_gap() -> None:
    values = np.array([1.0, np.nan, 0.5, 0.0, -0.25])
    (axes,) = plots.loss_balance({"loss": (np.arange(5), values)}).axes
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, np.nan, 0.5, np.nan, 0.25])


def test_a_series_without_any_positive_value_still_plots() -> None:
    figure = plots.loss_balance({"loss": ([0, 1], [0.0, float("nan")])})
    assert ElementTree.fromstring(plots.to_svg(figure)) is not None


def test_loss_balance_draws_magnitudes_and_k_below() -> None:
    terms = {"a MSE": (STEPS, np.exp(-STEPS / 300)), "c conf": (STEPS, -0.01 * np.ones(100))}
    upper, lower = plots.loss_balance(terms, k=(STEPS, STEPS / 2000), title="S4").axes
    assert [line.get_label() for line in upper.lines] == ["a MSE", "c conf"]
    np.testing.assert_allclose(upper.lines[1].get_ydata(), 0.01)
    np.testing.assert_allclose(lower.lines[0].get_ydata(), STEPS / 2000)
    assert lower.get_ylim()[0] < 0 < 1 < lower.get_ylim()[1]
    assert len(plots.loss_balance(terms).axes) == 1


def test_curves_have_different_colours_or_dashes() -> None:
    series = {str(i): (STEPS, STEPS + i) for i in range(20)}
    lines = plots.loss_balance(series).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20


def test_series_are_collected_from_records() -> None:
    records = [{"step": 1, "a": 0.5}, {"step": 2, "b": 3.0}, {"step": 5, "a": 0.25}]
    series = plots.series_from(records, ["a", "b"])
    assert series["a"][0].tolist() == [1, 5]
    assert series["a"][1].tolist() == [0.5, 0.25]
    assert series["b"][0].tolist() == [2]
    with pytest.raises(InputError, match="no value 'c'"):
        plots.series_from(records, ["c"])


def test_files_are_images_and_repeatable() -> None:
    def figure() -> object:
        return plots.ced_curves({"S1": [0.01, 0.03], "S2": [0.01, 0.02]}, "side", title="CED")

    svg = plots.to_svg(figure())
    assert svg == plots.to_svg(figure())
    drawing = ElementTree.fromstring(svg)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(drawing.attrib["width"].removesuffix("pt")) == pytest.approx(5.6 * 72, abs=1)


def test_drawings_have_no_background_and_lighter_ink_in_the_dark() -> None:
    svg = plots.to_svg(plots.ced_curves({"S1": [0.01, 0.03]}, "side", title="CED")).decode()
    style = svg[svg.index("@media (prefers-color-scheme: dark)") : svg.index("</style>")]
    assert '[style*="fill: #333333"]{fill:#e4e7eb!important}' in style
    body = svg[svg.index("</style>") :]
    for colour in ("fill: #333333", "stroke: #e4e4e4", "stroke: #0072b2"):
        assert colour in body
        assert colour in style
    assert "fill: #ffffff" not in body


def test_plotting_leaves_no_global_state() -> None:
    before = dict(matplotlib.rcParams)
    figure = plots.loss_balance({"loss": (STEPS, STEPS + 1)})
    plots.to_svg(figure)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.ced_curves({}, "side"), "no errors to plot"),
        (lambda: plots.cmc_curves({}), "no ranks to plot"),
        (lambda: plots.precision_recall_curves({}), "no precisions to plot"),
        (lambda: plots.loss_balance({}), "no series to plot"),
        (lambda: plots.loss_balance({"a": ([1, 2], [1])}), "Series 'a' has"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_cmc_curves_end_at_the_rank_asked_for() -> None:
    shares = {"a": np.linspace(0.25, 1, 80), "b": [0.5, 0.75]}
    figure = plots.cmc_curves(shares, ranks=20)
    (axes,) = figure.axes
    first, second = axes.get_lines()
    np.testing.assert_array_equal(first.get_xdata(), np.arange(1, 21))
    np.testing.assert_allclose(first.get_ydata(), 100 * shares["a"][:20])
    np.testing.assert_allclose(second.get_ydata(), [50, 75])
    assert first.get_label() == "a (rank 1: 25.00 %)"


def test_precision_over_recall() -> None:
    figure = plots.precision_recall_curves({"a": ([0.0, 0.5, 1.0], [1.0, 0.8, 0.2])})
    (line,) = figure.axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [0, 50, 100])
    np.testing.assert_allclose(line.get_ydata(), [100, 80, 20])


def test_share_curves_end_at_everything() -> None:
    figure = plots.share_curves({"a": [0.4, 0.1, 0.2, 0.2], "b": [0.9]}, "confidence")
    a, b = (line.get_xydata() for line in figure.axes[0].lines)
    np.testing.assert_allclose(a, [[0.1, 25], [0.2, 50], [0.2, 75], [0.4, 100]])
    np.testing.assert_allclose(b, [[0.9, 100]])
    for values in ({}, {"a": [0.1], "b": []}):
        with pytest.raises(InputError, match="no values to plot"):
            plots.share_curves(values, "confidence")
