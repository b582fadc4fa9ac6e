"""Pictures: drawn without a warning, true to the numbers, and without a trace in matplotlib's global state."""

import sys
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

from pushforward.errors import DataError, MissingExtra, NumericError, ShapeError
from pushforward.plots import calibration, corner, density, image_grid, training_curve, warp
from pushforward.plots.canvas import DATA, MODEL, limits
from pushforward.plots.curves import kolmogorov_band
from pushforward.plots.marginals import regions


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
    "density of nothing": lambda: density(lambda x: np.full(len(x), -np.inf), (0, 1, 0, 1), resolution=8),
    "training": lambda: training_curve(history(), title="$a_{$"),
    "one epoch": lambda: training_curve(history(1)),
    "no best epoch": lambda: training_curve(history(best_epoch=-1)),
    "hours, no validation": lambda: training_curve(history(validation=[], seconds=list(range(0, 30_000, 1000)))),
    "a first plunge, no floor": lambda: training_curve(history(train=[-1e9, np.nan, *[1.0] * 28], gaussian=None)),
    "grey images": lambda: image_grid(np.arange(48).reshape(3, 4, 4, 1), levels=48, columns=2),
    "images in colour": lambda: image_grid(np.full((9, 4, 6, 3), 255)),
    "warp": lambda: warp(lambda z: z**3 / 9.0),
    "calibration": lambda: calibration(np.random.default_rng(0).uniform(size=(200, 3)) ** [1.0, 2.0, 1.0]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_and_leaves_no_trace(name):
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30.0}):
        before = dict(matplotlib.rcParams)
        figure = draw(PICTURES[name]())
        assert dict(matplotlib.rcParams) == before
    assert isinstance(figure, matplotlib.figure.Figure)
    assert matplotlib.pyplot.get_fignums() == []
    assert {axes.get_facecolor() for axes in figure.axes} == {(1.0, 1.0, 1.0, 1.0)}  # our style, not the caller's


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'needs matplotlib.*pip install "pushforward\[cli\]"'):
        training_curve(history())


def test_the_callers_arrays_are_left_alone():
    data, samples = normal(100, 2) + 1e9, normal(100, 2) + 1e9
    kept = data.copy()
    corner(data, samples)
    np.testing.assert_array_equal(data, kept)


def test_regions_hold_the_share_they_name():
    rows = normal(200_000, 2)
    grid, x, y, levels = regions(rows, np.linspace(-5, 5, 101), np.linspace(-5, 5, 101))
    assert len(levels) == 4
    # A normal's region of probability p is the disc of squared radius -2 log(1 - p); smoothing widens it a little.
    for level, share in zip(levels, (0.95, 0.75, 0.5, 0.25), strict=True):
        across = x[np.flatnonzero(grid[len(y) // 2] > level)]
        assert 0.5 * (across[-1] - across[0]) == pytest.approx(np.sqrt(-2.0 * np.log(1.0 - share)), abs=0.15)


def test_rows_off_the_axes_still_count():
    rows = np.concatenate([normal(900, 2), np.full((100, 2), 1e6)])  # a tenth is out of the picture
    _, _, _, levels = regions(rows, np.linspace(-4, 4, 41), np.linspace(-4, 4, 41))
    assert len(levels) == 3  # the region of 95 % cannot be shown, so it is not


def test_a_wild_model_does_not_shrink_the_data():
    axes = corner(normal(1000, 1), 1e9 * normal(1000, 1, 1)).axes[0]
    low, high = limits(normal(1000, 1))
    assert axes.get_xlim() == pytest.approx((1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low))


def test_a_large_offset_is_taken_out_and_named():
    axes = corner(1e9 + normal(1000, 1), 1e9 + normal(1000, 1, 1), ["t"]).axes[0]
    assert max(np.abs(axes.get_xlim())) < 10.0
    assert axes.get_xlabel().startswith("t\n\N{MINUS SIGN} 1,000,000,00") or "999,999" in axes.get_xlabel()


def test_more_than_eight_columns_are_announced():
    figure = corner(normal(50, 11), normal(50, 11), title="POWER")
    assert len(figure.axes) == 8 * 9 // 2
    assert any(text.get_text() == "POWER: the first 8 of 11 columns" for text in figure.texts)


def test_data_and_model_keep_their_colours():
    lines = {line.get_label(): line for line in training_curve(history()).axes[0].lines}
    assert lines["training rows"].get_color() == DATA
    assert lines["validation rows"].get_color() == MODEL


def test_the_floor_is_a_line_near_the_curves_and_a_sentence_far_below():
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


def test_wall_time_stands_where_it_was_reached():
    axes = training_curve(history(4, seconds=[6.0, 7.0, 8.0, 10.0])).axes[0]
    clock = axes.child_axes[0].xaxis
    words = clock.get_major_formatter().seq
    places = dict(zip(words, clock.get_major_locator().locs, strict=True))
    assert places["8"] == pytest.approx(3.0)
    assert places["10"] == pytest.approx(4.0)


def test_images_stand_row_after_row_with_gaps_between():
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
    """Of 10,000 calibrated pairs of columns at level 0.9, 975 +- 30 leave the band; beyond 5 errors: below 1e-6."""
    count, trials = 40, 10_000
    ordered = np.sort(np.random.default_rng(0).uniform(size=(trials, 2, count)), axis=-1)
    steps = np.arange(count + 1) / count
    largest = np.maximum(steps[1:] - ordered, ordered - steps[:-1]).max(axis=(1, 2))
    left = int((largest > kolmogorov_band(count, 2, 0.9)).sum())
    assert left == pytest.approx(0.0975 * trials, abs=150)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: corner(np.zeros(5), np.zeros((5, 1))), ShapeError, r"data: expected .* got \(5,\).*x\[:, None\]"),
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
        (lambda: calibration([0.5], level=1.0), ValueError, "level: expected a probability"),
        (lambda: calibration([0.5], columns=["a", "b"]), ValueError, "columns: expected 1 names"),
    ],
)
def test_bad_input_is_a_sentence(make, error, words):
    with pytest.raises(error, match=words):
        make()
