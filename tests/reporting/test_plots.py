"""Plots: correct, without warnings, and without changes of matplotlib's global state."""

import sys
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

from pushforward.errors import DataError, MissingExtra, NumericError, ShapeError
from pushforward.reporting.plots import (
    calibration,
    corner,
    density,
    image_grid,
    log_densities,
    training_curve,
    warp,
    warp_layers,
)
from pushforward.reporting.plots.canvas import DATA, MODEL, limits
from pushforward.reporting.plots.marginals import regions
from pushforward.reporting.plots.pit import distance, effective_count, kolmogorov_band


def draw(figure):
    figure.savefig("/dev/null", format="png", dpi=40)
    return figure


def history(epochs=30, **changes):
    t = np.arange(epochs)
    train = 1.0 - 2.0 * np.exp(-t / 4.0)
    fields = {"train": list(train), "validation": list(train - 0.1), "seconds": list(2.0 + 0.5 * t)}
    return SimpleNamespace(**{**fields, "best_epoch": epochs - 1, "gaussian": -0.5, **changes})


def normal(count, width, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def standard(x):
    return -0.5 * (np.asarray(x) ** 2).sum(axis=1) - np.log(2.0 * np.pi)


PICTURES = {
    "corner": lambda: corner(normal(400, 3), normal(300, 3, 1)),
    "corner of one column": lambda: corner(normal(50, 1), normal(60, 1, 1)),
    "corner of a constant and a spike": lambda: corner(np.repeat([[3.0, 0.0]], 50, 0), normal(60, 2, 1)),
    "corner of two rows": lambda: corner(normal(2, 2), normal(1, 2)),
    "corner with heavy tails": lambda: corner(normal(400, 2), np.random.default_rng(0).standard_cauchy((400, 2))),
    "corner of other scales": lambda: corner(normal(400, 2) * [1e-30, 1.0] + [0.0, 1e9], normal(400, 2) * [1e-30, 1.0]),
    "corner with hostile names": lambda: corner(normal(90, 3), normal(90, 3), ["$x_{$", "a\n\x00b", "w" * 999]),
    "density": lambda: density(standard, (-3, 3, -2, 2), resolution=24, data=normal(500, 2), title="$a_{$"),
    "log density": lambda: density(SimpleNamespace(log_prob=standard), (-9, 9, -9, 9), resolution=24, log=True),
    "density with contours and dots": lambda: density(
        standard, (-3, 3, -2, 2), resolution=24, data=normal(5000, 2), contours=True, veiled=True
    ),
    "contours of nothing": lambda: density(
        lambda x: np.full(len(x), -np.inf), (0, 1, 0, 1), resolution=8, contours=True
    ),
    "density of nothing": lambda: density(lambda x: np.full(len(x), -np.inf), (0, 1, 0, 1), resolution=8),
    "training": lambda: training_curve(history(), title="$a_{$"),
    "one epoch": lambda: training_curve(history(1)),
    "no best epoch": lambda: training_curve(history(best_epoch=-1)),
    "hours, no validation": lambda: training_curve(history(validation=[], seconds=list(range(0, 30_000, 1000)))),
    "a low first epoch, no baseline": lambda: training_curve(history(train=[-1e9, np.nan, *[1.0] * 28], gaussian=None)),
    "grey images": lambda: image_grid(np.arange(48).reshape(3, 4, 4, 1), levels=48, columns=2),
    "images in colour": lambda: image_grid(np.full((9, 4, 6, 3), 255)),
    "warp": lambda: warp(lambda z: z**3 / 9.0),
    "layers": lambda: warp_layers([lambda z: z + 1, lambda z: z**3], titles=["$a_{$", "b", "c"], shown=[0, 2]),
    "a layer that flattens": lambda: warp_layers([lambda z: 0.0 * z]),
    "log-densities": lambda: log_densities(normal(900, 1)[:, 0], normal(300, 1, 1)[:, 0], title="$a_{$"),
    "log-densities of few rows": lambda: log_densities([1.0, -1e9, -np.inf], [-np.inf]),
    "log-densities all alike": lambda: log_densities([-2.0] * 40),
    "log-densities of nothing": lambda: log_densities([-np.inf] * 3),
    "samples far from the rows": lambda: log_densities(1e-3 * normal(900, 1)[:, 0], 1e6 + normal(300, 1, 1)[:, 0]),
    "calibration of many": lambda: calibration(
        np.random.default_rng(0).uniform(size=(50, 90)) ** 3, references=70, n_projections=30
    ),
    "calibration": lambda: calibration(np.random.default_rng(0).uniform(size=(200, 3)) ** [1.0, 2.0, 1.0]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_plots_leave_global_state_unchanged(name):
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30.0}):
        before = dict(matplotlib.rcParams)
        figure = draw(PICTURES[name]())
        assert dict(matplotlib.rcParams) == before
    assert isinstance(figure, matplotlib.figure.Figure)
    assert matplotlib.pyplot.get_fignums() == []
    assert {axes.get_facecolor() for axes in figure.axes} == {(1.0, 1.0, 1.0, 1.0)}  # our style, not the caller's


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'needs matplotlib.*pip install "pushforward\[report\]"'):
        training_curve(history())


def test_arguments_are_not_modified():
    data, samples = normal(100, 2) + 1e9, normal(100, 2) + 1e9
    before = data.copy()
    corner(data, samples)
    np.testing.assert_array_equal(data, before)


def test_regions_contain_their_shares():
    rows = normal(200_000, 2)
    grid, x, y, levels = regions(rows, np.linspace(-5, 5, 101), np.linspace(-5, 5, 101))
    assert len(levels) == 4
    # A normal's region of probability p is the disc of squared radius -2 log(1 - p); smoothing widens it a little.
    for level, share in zip(levels, (0.95, 0.75, 0.5, 0.25), strict=True):
        across = x[np.flatnonzero(grid[len(y) // 2] > level)]
        assert 0.5 * (across[-1] - across[0]) == pytest.approx(np.sqrt(-2.0 * np.log(1.0 - share)), abs=0.15)


def test_rows_off_the_axes_still_count():
    rows = np.concatenate([normal(900, 2), np.full((100, 2), 1e6)])  # a tenth is outside the picture
    _, _, _, levels = regions(rows, np.linspace(-4, 4, 41), np.linspace(-4, 4, 41))
    assert len(levels) == 3  # the region of 95 % does not fit


def test_axis_limits_are_bounded_by_the_data():
    axes = corner(normal(1000, 1), 1e9 * normal(1000, 1, 1)).axes[0]
    low, high = limits(normal(1000, 1))
    assert axes.get_xlim() == pytest.approx((1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low))


def test_large_offset_is_subtracted_and_labelled():
    axes = corner(1e9 + normal(1000, 1), 1e9 + normal(1000, 1, 1), ["t"]).axes[0]
    assert max(np.abs(axes.get_xlim())) < 10.0
    assert axes.get_xlabel().startswith("t\n\N{MINUS SIGN} 1,000,000,00") or "999,999" in axes.get_xlabel()


def test_more_than_eight_columns_are_announced():
    figure = corner(normal(50, 11), normal(50, 11), title="POWER")
    assert len(figure.axes) == 8 * 9 // 2
    assert any(text.get_text() == "POWER: the first 8 of 11 columns" for text in figure.texts)


def test_training_and_validation_colours():
    lines = {line.get_label(): line for line in training_curve(history()).axes[0].lines}
    assert lines["training rows"].get_color() == DATA
    assert lines["validation rows"].get_color() == MODEL


def test_baseline_is_a_line_near_the_curves_and_text_far_below():
    near, far = training_curve(history()).axes[0], training_curve(history(gaussian=-50.0)).axes[0]
    assert any("Gaussian" in str(line.get_label()) for line in near.lines)
    assert not any("Gaussian" in str(line.get_label()) for line in far.lines)
    assert [text.get_text() for text in far.texts] == ["Gaussian: \N{MINUS SIGN}50.000 nats, below this picture"]
    assert far.get_ylim()[0] > -5.0


def test_the_best_epoch_is_counted_from_one():
    lines = training_curve(history(best_epoch=4)).axes[0].lines
    (dot,) = [line for line in lines if str(line.get_label()).startswith("best: epoch 5,")]
    assert list(dot.get_xdata()) == [5]
    assert list(dot.get_ydata()) == [history().validation[4]]


def test_wall_time_axis_matches_the_epochs():
    axes = training_curve(history(4, seconds=[6.0, 7.0, 8.0, 10.0])).axes[0]
    clock = axes.child_axes[0].xaxis
    labels = clock.get_major_formatter().seq
    positions = dict(zip(labels, clock.get_major_locator().locs, strict=True))
    assert positions["8"] == pytest.approx(3.0)
    assert positions["10"] == pytest.approx(4.0)


def test_image_grid_layout():
    x = np.arange(3 * 4).reshape(3, 2, 2, 1)
    (picture,) = image_grid(x, levels=12, columns=2).axes[0].images
    sheet = np.asarray(picture.get_array())
    assert sheet.shape == (5, 5, 4)
    np.testing.assert_array_equal(sheet[:2, 3:, 0], np.round(255 * x[1, ..., 0] / 11))
    np.testing.assert_array_equal(sheet[3:, :2, 2], np.round(255 * x[2, ..., 0] / 11))
    assert (sheet[..., 3] == 0).sum() == 25 - 3 * 4


def test_calibration_names_the_column_that_leaves_the_band():
    pit = np.random.default_rng(0).uniform(size=(2000, 3))
    pit[:, 1] **= 1.5
    axes = calibration(pit, columns=["a", "b", "c"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["b"]


def test_the_band_has_the_level_it_states():
    """Of 10,000 calibrated pairs of columns at level 0.9, 975 +- 30 leave the band; 5 standard errors: below 1e-6."""
    count, trials = 40, 10_000
    ordered = np.sort(np.random.default_rng(0).uniform(size=(trials, 2, count)), axis=-1)
    steps = np.arange(count + 1) / count
    largest = np.maximum(steps[1:] - ordered, ordered - steps[:-1]).max(axis=(1, 2))
    n_outside = int((largest > kolmogorov_band(count, 2, 0.9)).sum())
    assert n_outside == pytest.approx(0.0975 * trials, abs=150)


def test_two_samples_of_one_distribution_stay_in_their_band():
    """Of 4,000 pairs at level 0.9, 400 +- 19 leave the band; 5 standard errors and 8 % of asymptotics: below 1e-6."""
    count, references, trials = 300, 200, 4000
    rows, samples = np.random.default_rng(0).uniform(size=(2, trials, count))
    samples = np.sort(samples[:, :references], axis=1)
    distances = [
        distance(np.sort(np.searchsorted(reference, x) / references))[0]
        for reference, x in zip(samples, rows, strict=True)
    ]
    n_outside = int((np.array(distances) > kolmogorov_band(effective_count(count, references), 1, 0.9)).sum())
    assert n_outside == pytest.approx(400, abs=95 + 0.08 * 400)
    # the band of one sample is too narrow
    assert int((np.array(distances) > kolmogorov_band(count, 1, 0.9)).sum()) > 800


def test_projections_are_not_named():
    pit = np.random.default_rng(0).uniform(size=(2000, 3))
    pit[:, [0, 2]] **= 1.5
    axes = calibration(pit, columns=["a", "b", "c"], n_projections=1).axes[0]
    assert [text.get_text() for text in axes.texts] == ["a"]


def test_curves_of_largest_deviation_are_drawn():
    pit = np.tile(((np.arange(200) + 0.5) / 200)[:, None], (1, 90))
    pit[:, 77] **= 2.0
    axes = calibration(pit).axes[0]
    assert [text.get_text() for text in axes.texts] == ["u78"]
    assert len(axes.lines) <= 52


def test_contours_enclose_their_shares():
    axes = density(standard, (-4, 4, -4, 4), resolution=200, contours=True).axes[0]
    (lines,) = [part for part in axes.collections if len(part.get_paths()) == 4]
    # A normal's region of probability p is the disc of squared radius -2 log(1 - p).
    radii = [np.sqrt((path.vertices**2).sum(axis=1)).mean() for path in lines.get_paths()]
    assert radii == pytest.approx([np.sqrt(-2.0 * np.log(1.0 - p)) for p in (0.95, 0.75, 0.5, 0.25)], abs=0.04)
    assert all(dashes is None for _, dashes in lines.get_linestyle())  # matplotlib dashes negative levels by default


def test_contours_use_the_total_mass():
    half = density(standard, (0, 4, -4, 4), resolution=100, contours=True).axes[0]  # contains half of the mass
    (lines,) = [part for part in half.collections if type(part).__name__ == "QuadContourSet"]
    assert len(lines.get_paths()) == 1


def test_veiled_density_is_transparent_at_zero():
    image = density(standard, (-9, 9, -9, 9), resolution=32, veiled=True).axes[0].images[0]
    colours = image.to_rgba(image.get_array())
    assert colours[0, 0, 3] == 0.0
    assert colours[..., 3].max() == 1.0


def test_warp_layers_composes_the_layers():
    figure = warp_layers([lambda z: z + np.array([5.0, 0.0]), lambda z: -2.0 * z], (0, 1, 0, 1), n_lines=3)
    spans = [(axes.get_xlim(), axes.get_title(loc="left")) for axes in figure.axes]
    assert [title for _, title in spans] == ["base", "1", "2"]
    for (span, _), middle in zip(spans, (0.5, 5.5, -11.0), strict=True):
        assert sum(span) / 2 == pytest.approx(middle, abs=0.05)


def test_log_densities_count_rows_beyond_the_axis():
    scores = np.concatenate([np.linspace(-1.0, 0.0, 1000), [-1e6, -np.inf, -np.inf]])
    axes = log_densities(scores).axes[0]
    assert axes.get_xlim()[0] > -4.0
    assert [text.get_text() for text in axes.texts] == ["\N{LEFTWARDS ARROW} 3 rows further left"]
    assert sum(axes.patches[0].get_data().values) == pytest.approx(1000 / 1003)
    edge = next(line for line in axes.lines if str(line.get_label()).startswith("1 % of the rows"))
    assert edge.get_xdata()[0] == pytest.approx(np.sort(scores)[10])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: corner(np.zeros(5), np.zeros((5, 1))), ShapeError, r"data: expected .*np.asarray\(x\)\[:, None\]"),
        (lambda: corner(np.zeros((5, 2)), np.zeros((5, 3))), ShapeError, r"samples: expected .*\(n, 2\).*\(5, 3\)"),
        (lambda: corner(np.zeros((0, 2)), np.zeros((5, 2))), ShapeError, "data: expected"),
        (lambda: corner(np.eye(2), [[0.0, np.nan]]), DataError, "samples: 1 of 1 rows .* the first is row 0"),
        (lambda: corner(np.eye(2), np.eye(2), ["a"]), ValueError, "columns: expected 2 names"),
        (lambda: density(standard, (1, 0, 0, 1)), ValueError, "bounds: expected four"),
        (lambda: density(standard, (0, 1, 0, 1), resolution=1), ValueError, "resolution: expected at least 2"),
        (lambda: density(lambda x: x, (0, 1, 0, 1), resolution=4), ShapeError, r"log_prob: expected shape \(16,\)"),
        (lambda: density(lambda x: x[:, 0] * np.nan, (0, 1, 0, 1)), NumericError, "log_prob: 65536 of 65536"),
        (lambda: density(standard, (0, 1, 0, 1), columns=["a"]), ValueError, "columns: expected two"),
        (lambda: image_grid(np.zeros((2, 4, 4))), ShapeError, r"images: expected shape \(n, H, W, C\).*\(2, 4, 4\)"),
        (lambda: image_grid(np.full((1, 2, 2, 1), 256)), DataError, "images: expected numbers from 0 to 255, got 256"),
        (lambda: warp(lambda z: z[:3]), ShapeError, "forward: expected shape"),
        (lambda: warp(lambda z: z, n_lines=1), ValueError, "n_lines: expected at least 2"),
        (lambda: warp(lambda z: z, (0, 1, 0, np.inf)), ValueError, "extent: expected four"),
        (lambda: warp(lambda z: z, titles=["a"]), ValueError, "titles: expected two"),
        (lambda: training_curve(history(0)), ValueError, "history.train: expected at least one epoch"),
        (lambda: training_curve(history(seconds=[1.0])), ValueError, "history.seconds: expected 30 numbers"),
        (lambda: training_curve(history(best_epoch=30)), ValueError, "history.best_epoch: expected an index"),
        (lambda: training_curve(history(2, train=[np.nan] * 2, validation=[])), ValueError, "some finite"),
        (lambda: calibration([0.5, 1.5]), ValueError, "pit: expected values from 0 to 1"),
        (lambda: calibration([0.5], references=0), ValueError, "references: expected at least one sample"),
        (lambda: calibration([0.5], n_projections=1), ValueError, "n_projections: expected a number from 0 to 0"),
        (lambda: log_densities(np.zeros((3, 1))), ShapeError, r"scores: expected shape \(n,\) .* got \(3, 1\)"),
        (lambda: log_densities([]), ShapeError, "scores: expected shape"),
        (lambda: log_densities([0.0], [np.nan]), NumericError, "sample_scores: 1 of 1 are NaN"),
        (lambda: log_densities([0.0, np.inf]), NumericError, "scores: 1 of 2 .* number 1"),
        (lambda: warp_layers([lambda z: z[:3]]), ShapeError, r"layers\[0\]: expected shape"),
        (lambda: warp_layers([lambda z: z, lambda z: z * np.nan]), DataError, r"layers\[1\]"),
        (lambda: warp_layers([], n_lines=1), ValueError, "n_lines: expected at least 2, got 1"),
        (lambda: warp_layers([], titles=[]), ValueError, "titles: expected 1 headings"),
        (lambda: warp_layers([], shown=[1]), ValueError, "shown: expected numbers of panels from 0 to 0"),
        (lambda: calibration([0.5], level=1.0), ValueError, "level: expected a probability"),
        (lambda: calibration([0.5], columns=["a", "b"]), ValueError, "columns: expected 1 names"),
    ],
)
def test_bad_input_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()
