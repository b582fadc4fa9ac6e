"""Split into training and validation rows, by row, by group or by time; copies of training rows; repeated values."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fitting import data, fit, flow_2d

import pushforward as pf
from pushforward.errors import DataError, ShapeError
from pushforward.tabular.schema import fit_columns, infer_schema
from pushforward.train.data import Rows
from pushforward.train.repeats import lattice_step, repeated_steps
from pushforward.train.split import (
    folds,
    group_numbers,
    has_equal_row,
    hold_out,
    latest_rows,
    split,
    time_numbers,
)

REPEATING = {
    **{f"normal rounded to {d}": lambda random, d=d: np.round(random.normal(size=4000), d) for d in range(4)},
    "steps of a twentieth": lambda random: np.round(random.gamma(9.0, 0.25, 4000) / 0.05) * 0.05,
    "Poisson counts": lambda random: random.poisson(4.0, 4000),
    "categories": lambda random: random.choice(5, 4000, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
    "one value in half the rows": lambda random: random.normal(size=4000) * (random.random(4000) < 0.5),
    "every row twenty times": lambda random: np.repeat(random.normal(size=200), 20),
}
IGNORE_REPEATS = pytest.mark.filterwarnings("ignore:fit. values repeat:UserWarning")


@pytest.mark.parametrize("name", REPEATING)
def test_the_share_of_validation_rows_is_exact_with_repeated_values(name):
    x = REPEATING[name](np.random.default_rng(0)).astype(float)[:, None]
    order = Rows(x, None, np.arange(4000.0))
    train, validation = split(order, 0.1, np.random.default_rng(1))
    assert (len(train), len(validation)) == (3600, 400)
    assert sorted([*train.weights, *validation.weights]) == list(range(4000))
    # both parts are distributed as the data: their empirical distributions differ by no more than chance
    grid = np.unique(x)
    gap = np.abs([(train.x <= value).mean() - (validation.x <= value).mean() for value in grid]).max()
    assert gap < 2.5 * np.sqrt(1 / 400 + 1 / 3600)  # Kolmogorov and Smirnov, one in 10^5


def test_every_row_is_equally_likely_to_validate():
    """A row with 50 copies has the same chance as a row without copies; it was 1 - 0.9^50 for the former."""
    x = np.concatenate([np.zeros(50), np.arange(1.0, 51.0)])[:, None]
    counts = np.zeros(2)
    for seed in range(200):
        validation = split(Rows(x, None, None), 0.1, np.random.default_rng(seed))[1].x
        counts += [(validation == 0).sum(), (validation != 0).sum()]
    np.testing.assert_allclose(counts / (200 * 50), 0.1, atol=5 * 0.3 / np.sqrt(200 * 50))


@IGNORE_REPEATS
def test_fit_of_rounded_rows_validates_a_tenth_and_samples_their_spread():
    x = np.round(np.random.default_rng(0).normal(size=(4000, 1)), 2)
    flow, history = pf.fit(pf.linear_flow(dim=1, key=0), x, key=0, max_epochs=1, progress=False)
    assert (history.n_train, history.n_validation) == (3600, 400)
    assert np.asarray(flow.sample(20_000, key=1)).std() == pytest.approx(x.std(), rel=0.05)


# Groups


def parts(groups, count, seed=0):
    return hold_out(len(groups), count, np.random.default_rng(seed), groups)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_undivided_and_the_share_of_rows_is_close(seed):
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), random.integers(1, 40, 60))
    random.shuffle(groups)
    train, validation = parts(groups, len(groups) // 10, seed)
    assert sorted([*train, *validation]) == list(range(len(groups)))
    assert not set(groups[train]) & set(groups[validation])
    assert len(validation) == pytest.approx(len(groups) / 10, abs=20)


def test_every_group_validates_in_some_draw():
    groups = np.repeat(np.arange(20), 5)
    groups_drawn = {group for seed in range(100) for group in groups[parts(groups, 10, seed)[1]]}
    assert len(groups_drawn) == 20


def test_one_huge_group_is_used_for_training():
    groups = np.array([0] * 900 + list(range(1, 101)))
    validation = parts(groups, 100)[1]
    assert (len(validation), 0 in groups[validation]) == (100, False)


def test_groups_too_large_for_the_share_raise_a_warning():
    with pytest.warns(UserWarning, match="33 of 100 rows are held out where 10 were asked for: the 3 groups"):
        validation = parts(np.repeat([0, 1, 2], [34, 33, 33]), 10)[1]
    assert len(validation) == 33


@pytest.mark.parametrize(
    "groups",
    [
        np.repeat(np.arange(40), 10),
        [f"p{i % 40}" for i in range(400)],
        [("a", i % 40) for i in range(400)],
        pd.Series([i % 40 for i in range(400)], dtype="Int64"),
        pl.Series([f"p{i % 40}" for i in range(400)]),
        pl.DataFrame({"patient": [i % 40 for i in range(400)]}),
        np.array("2024-01-01", "M8[D]") + np.arange(400) % 40,
    ],
    ids=["whole numbers", "text", "tuples", "pandas", "polars", "frame", "dates"],
)
def test_group_numbers_of_any_label_type(groups):
    numbers = group_numbers(groups, 400)
    assert len(np.unique(numbers)) == 40
    assert (np.bincount(numbers) == 10).all()


def test_labels_of_different_types_differ():
    assert len(set(group_numbers([1, "1", 2, 1.0], 4).tolist())) == 3  # 1 and 1.0 are equal, as in a dictionary


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (np.zeros(399), ShapeError, r"groups: expected 400 labels, one for each row, got shape \(399,\)"),
        (np.zeros((400, 2)), ShapeError, r"got shape \(400, 2\)"),
        ("patient", ShapeError, r"got shape \(\)"),
        (np.where(np.arange(400) == 7, np.nan, 1.0), DataError, r"got none at row 7 \(1 of 400"),
        ([None if i == 3 else "a" for i in range(400)], DataError, "got none at row 3"),
        ([pd.NA if i == 3 else "a" for i in range(400)], DataError, "got none at row 3"),
        ([[i] for i in range(400)], DataError, "labels that can be hashed"),
        (np.zeros(400), DataError, "at least 2 groups to hold one out, got 1 of 400 rows"),
    ],
    ids=["few", "two columns", "one text", "NaN", "None", "NA", "lists", "one group"],
)
def test_invalid_labels_are_refused(groups, error, message):
    with pytest.raises(error, match=message):
        fit(data(), groups=groups, validation=0.1)


def test_groups_are_refused_with_callers_validation_rows():
    with pytest.raises(DataError, match="groups: expected none where validation rows are given"):
        fit(data(), groups=np.arange(400))


def test_fit_does_not_divide_groups_of_weighted_rows():
    """Every group has one value of x; the label of a row of weight zero is dropped with the row."""
    x = np.random.default_rng(0).normal(size=(40, 2)).repeat(10, axis=0)
    weights = np.where(np.arange(400) % 10 < 2, 0.0, 1.0)
    groups = [f"p{i // 10}" for i in range(400)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fit: values repeat")
        _, history = fit(x, groups=groups, weights=weights, validation=0.1)
    assert (history.n_train, history.n_validation, history.n_validation_copies) == (288, 32, 0)


def test_estimators_do_not_divide_groups():
    random = np.random.default_rng(0)
    x = np.round(random.normal(size=(40, 1)), 3).repeat(10, axis=0)
    groups = np.repeat(np.arange(40), 10)
    tiny = {"n_layers": 1, "width": 4, "max_epochs": 1, "batch_size": 100}
    for columns in (None, {0: "rounded:0.001"}):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fit: values repeat")
            history = pf.FlowDensity("maf", columns=columns, random_state=0, **tiny).fit(x, groups=groups).history_
        assert (history.n_train, history.n_validation, history.n_validation_copies) == (360, 40, 0)
    with pytest.raises(ShapeError, match=r"^groups: expected 400 labels"):
        pf.ConditionalFlowDensity("maf", columns={0: "rounded:0.001"}, **tiny).fit(x, x[:, 0], groups=groups[:7])


# Time


def test_latest_rows_keep_ties_together():
    times = np.repeat([3, 1, 2], [30, 60, 10])
    earlier, latest = latest_rows(times, 33)
    assert set(times[latest]) == {3}
    assert set(latest_rows(times, 38)[1]) == set(np.flatnonzero(times >= 2))
    assert sorted([*earlier, *latest]) == list(range(100))
    with pytest.raises(DataError, match="at least two different times"):
        latest_rows(np.ones(5), 1)


@pytest.mark.parametrize(
    "times",
    [
        ["10", "9.5", "11"],
        ["2024-03-01", "2023-12-31T23:59:59.5", "2024-03-01T00:00:01"],
        ["2024-03-01T00:00Z", "2024-03-01T00:30+01:00", "2024-03-01T02:00+01:00"],
        [datetime.date(2024, 3, 1), datetime.date(2023, 1, 1), datetime.date(2025, 1, 1)],
        np.array(["2024-03-01", "2023-01-01", "2025-01-01"], "M8[D]"),
        pd.Series(pd.to_datetime(["2024-03-01", "2023-01-01", "2025-01-01"])),
        np.array([2**60 + 1, 2**60, 2**60 + 2]),
    ],
    ids=["numbers as text", "ISO dates", "time zones", "dates", "NumPy", "pandas", "large numbers"],
)
def test_time_numbers_of_any_type_are_ordered(times):
    assert time_numbers(times, 3).argsort().tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2024-03-01", "1.3.2024"], "'1.3.2024' at row 1"),
        (["2024-03-01T00:00Z", "2024-03-01"], "a time zone for all dates or for none"),
        (["1", "inf"], "finite times, got 'inf'"),
        (["1", None], "got none at row 1"),
    ],
)
def test_invalid_times_are_refused(times, message):
    with pytest.raises(DataError, match=message):
        time_numbers(times, 2)


# Folds


@pytest.mark.parametrize("is_grouped", [False, True])
def test_every_row_is_tested_once_and_no_group_is_divided(is_grouped):
    random = np.random.default_rng(0)
    groups = random.permutation(np.repeat(np.arange(50), random.integers(1, 9, 50))) if is_grouped else None
    n = 200 if groups is None else len(groups)
    splits = folds(n, 5, random, groups)
    assert sorted(np.concatenate([test for *_, test in splits])) == list(range(n))
    for train, validation, test in splits:
        assert sorted([*train, *validation, *test]) == list(range(n))
        assert len(test) == pytest.approx(n / 5, abs=4 if is_grouped else 0)
        assert len(validation) == pytest.approx(0.8 * n / 5, abs=4 if is_grouped else 0)
        if groups is not None:
            assert len(set(groups[train])) + len(set(groups[validation])) + len(set(groups[test])) == 50


def test_a_fold_by_time_tests_the_latest_rows():
    times = np.random.default_rng(0).permutation(100)
    ((train, validation, test),) = folds(100, 1, np.random.default_rng(0), times=times)
    assert times[train].max() < times[validation].min() == 64
    assert times[validation].max() < times[test].min() == 80
    with pytest.raises(DataError, match="expected 1 with times"):
        folds(100, 5, np.random.default_rng(0), times=times)
    with pytest.raises(DataError, match="at least 5 groups for 5 folds"):
        folds(100, 5, np.random.default_rng(0), groups=times % 4)
    for sizes, k in (((10, 10, 80), 1), ((30, 30, 40), 1), ((1, 1, 1, 100), 1)):
        groups = np.repeat(np.arange(len(sizes)), sizes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about coarse groups
            group_sets = [set(groups[part]) for part in folds(len(groups), k, np.random.default_rng(0), groups)[0]]
        assert all(group_sets)
        assert sum(map(len, group_sets)) == len(set.union(*group_sets)) == len(sizes)
    with pytest.raises(DataError, match="without fold 2 of 2 one group of 100 rows"):
        folds(103, 2, np.random.default_rng(0), np.repeat(np.arange(4), (1, 1, 1, 100)))
    ((train, validation, test),) = folds(100, 1, np.random.default_rng(0), groups=times % 10)
    assert len(test) == 20


# Copies of training rows


def test_has_equal_row_compares_contexts_too():
    x, context = np.array([[0.0], [1.0], [2.0]]), np.array([[5.0], [6.0], [7.0]])
    assert has_equal_row(Rows(x, None, None), Rows(-x[:1], None, None)).tolist() == [True, False, False]
    others = Rows(x, context[[0, 2, 2]], None)
    assert has_equal_row(Rows(x, context, None), others).tolist() == [True, False, True]


def test_validation_likelihood_with_and_without_copies():
    x = data()
    validation = np.concatenate([x[:30], data(20, 9)])
    flow, history = fit(x, validation=validation)
    scores = np.asarray(flow.log_prob(validation), np.float64)
    assert (history.n_validation, history.n_validation_copies) == (50, 30)
    assert history.best_validation == pytest.approx(scores.mean(), abs=1e-5)
    assert history.validation_without_copies == pytest.approx(scores[30:].mean(), abs=1e-5)
    assert abs(scores[30:].mean() - scores.mean()) > 1e-3
    _, history = fit(x, validation=validation[30:])
    assert (history.n_validation_copies, history.validation_without_copies) == (0, history.best_validation)
    _, history = fit(x, validation=validation[:30])
    assert history.n_validation_copies == 30
    assert np.isnan(history.validation_without_copies)
    _, history = fit(x, validation=0)
    assert history.n_validation_copies == 0
    assert np.isnan(history.validation_without_copies)


def test_copies_of_integer_rows_are_counted_before_noise():
    x = np.random.default_rng(0).choice(8, (200, 1), p=[0.9, *[0.1 / 7] * 7]).astype(float)
    validation = np.array([[0.0], [9.0], [8.0]])
    schema = infer_schema(x, ["a"], declarations={"a": "whole"}, others=validation)
    model, history = fit_columns(
        schema, lambda dim: pf.maf(dim, n_layers=1, width=4, key=0), x, key=0, validation=(validation, None),
        max_epochs=1, progress=False,
    )  # fmt: skip
    assert (history.n_validation, history.n_validation_copies) == (3, 1)
    scores = np.asarray(model.log_prob(validation))
    assert history.validation_without_copies == pytest.approx(scores[1:].mean(), abs=0.3)
    assert history.validation_without_copies < history.best_validation - 1


# Values that repeat


def messages(x, columns=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        repeated_steps(x, columns)
    return [str(warning.message) for warning in caught]


def test_one_warning_names_the_columns_whose_values_repeat():
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=2000), np.round(random.normal(size=2000), 2), random.integers(0, 2, 2000)])
    (message,) = messages(x, ["length", "price", "flag"])
    assert "in columns 'price' (" in message
    assert "'flag' (100% of rows repeat a value; " in message
    assert "length" not in message
    (message,) = messages(x[:, :2])
    assert "in column 1 (" in message


@pytest.mark.parametrize("name", [name for name in REPEATING if name != "normal rounded to 3"])
def test_repeated_values_raise_a_warning(name):
    assert len(messages(REPEATING[name](np.random.default_rng(0)).astype(float)[:, None])) == 1


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=4000),
        np.random.default_rng(0).normal(size=300_000).astype(np.float32).astype(float),  # a grid too fine to matter
        np.random.default_rng(0).integers(0, 10_000, 50_000).astype(float),
        np.concatenate([np.arange(20.0), [1.0, 2.0, 3.0]]),  # three copies by accident
    ],
    ids=["float64", "float32", "fine grid", "three copies"],
)
def test_accidental_or_fine_repeats_raise_no_warning(x):
    assert messages(x[:, None]) == []


def test_fit_warns_by_column_name_except_for_declared_integers():
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"length": random.normal(size=200), "doses": random.integers(0, 5, 200)})
    with pytest.warns(UserWarning, match="fit: values repeat in column 'doses'"):
        fit(frame)
    schema = infer_schema(frame.to_numpy(), frame.columns, declarations={"doses": "whole"}, detect=False)
    fit_columns(schema, lambda _: flow_2d(), frame.to_numpy(), key=0, max_epochs=1, progress=False)  # 16 noisy copies
    schema = infer_schema(frame.to_numpy(), frame.columns, detect=False)
    with pytest.warns(UserWarning, match="fit: values repeat in column 'doses'"):
        fit_columns(schema, lambda _: flow_2d(), frame.to_numpy(), key=0, max_epochs=1, progress=False)


# Noise over the steps of a lattice


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.arange(7.0), 1.0),
        (np.round(np.random.default_rng(0).normal(size=500), 2), 0.01),
        (np.array([10.0, 25.0, 50.0]), 5.0),
        (np.array([0.3, 0.1 + 0.2, 0.6]), 0.3),  # two of them differ by a rounding error
        (np.float32([1000.1, 1000.2, 1000.5]).astype(float), 0.1),
        (np.array([0.0, 1.0, 2.718]), 0.0),
        (np.random.default_rng(0).normal(size=50), 0.0),
        (np.array([3.0]), 0.0),
    ],
)
def test_lattice_step_of_known_lattices(values, step):
    assert lattice_step(np.unique(values)) == pytest.approx(step, rel=1e-3)


@pytest.mark.slow
@IGNORE_REPEATS
def test_samples_of_few_values_have_their_spread_plus_a_step():
    """A spline that fits single values puts the rest of its mass anywhere: samples were 40 to 60 % too wide."""
    x = np.round(np.random.default_rng(0).normal(size=(4000, 1)), 0)
    flow, history = pf.fit(pf.nsf(dim=1, n_layers=2, width=8, key=0), x, key=0, max_epochs=40, progress=False)
    assert np.asarray(flow.sample(20_000, key=1)).std() == pytest.approx(np.sqrt(x.var() + 1 / 12), rel=0.05)
    assert history.n_validation_copies == 400
    shares = np.unique(x, return_counts=True)[1] / 4000
    assert history.best_validation < (shares * np.log(shares)).sum() + 0.1  # at most the entropy of the masses


def test_no_noise_is_added_where_it_is_not_allowed():
    x = np.random.default_rng(0).integers(1, 9, (200, 2)) / 10
    steps = []
    for is_filled in (True, False):
        with pytest.warns(UserWarning, match="values repeat in columns 0 .*, 1 "):
            steps.append(repeated_steps(x, None, is_filled=is_filled))
    np.testing.assert_allclose(steps, [[0.1, 0.1], [0.0, 0.0]])


@pytest.mark.parametrize(("scale", "step"), [(1, 1.0), (5, 5.0), (2**20, 2.0**20)])
def test_large_integers_are_a_lattice(scale, step):
    values = np.unique(np.random.default_rng(0).integers(10**6, 5 * 10**6, 400) // scale * scale).astype(float)
    gaps = np.diff(values)
    expected = step if gaps.min() <= 100 * step else 0.0
    assert lattice_step(values) == expected


def test_extreme_dates_and_large_integers_are_exact():
    days = np.array(["9999-12-31", "2020-01-01", "0001-01-01"], "datetime64[D]")
    for unit in ("D", "s", "us"):
        assert time_numbers(days.astype(f"datetime64[{unit}]"), 3).argsort().tolist() == [2, 1, 0]
    nanoseconds = ["1700000000000000002", "1700000000000000001", "5"]
    assert time_numbers(nanoseconds, 3).argsort().tolist() == [2, 1, 0]
    assert time_numbers(pl.Series(days.astype("datetime64[us]")), 3).argsort().tolist() == [2, 1, 0]
    large = np.array([2**60 + 1, 2**60 + 3, 2**60 + 1], object)
    integers = large.astype(np.int64)
    for labels in (large, large[:, None], pd.Series(large), pd.Series(integers), pl.Series(integers), integers):
        assert group_numbers(labels, 3).tolist() == [0, 1, 0]


def test_a_small_share_validates_at_least_one_row():
    _, history = fit(data()[:40], validation=0.01)
    assert history.n_validation == 1
