"""Comparisons: every row is tested once, nothing is chosen by a test row, and the figures are the models' own."""

import json

import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.core.float64 import log_prob_float64
from pushforward.errors import DataError, ShapeError
from pushforward.tabular.comparison import compare
from pushforward.tabular.comparison import fold as fold_module
from pushforward.tabular.comparison.fold import Fold, Outcome, Split
from pushforward.tabular.schema import infer_schema
from pushforward.train.history import History

TINY = {"settings": {"n_layers": 2, "width": 8}, "training": {"max_epochs": 1}}


def rows(n=200, seed=0):
    """Two clusters, and a column of five values."""
    random = np.random.default_rng(seed)
    side = random.choice([-4.0, 4.0], n)
    return np.stack([side + random.normal(size=n), random.normal(size=n) - side, random.integers(0, 5, n)], 1)


@pytest.fixture(scope="module")
def board():
    return compare(rows(), names=["a", "b", "c"], flows=["nice", "nice+mixture"], folds=2, **TINY)


def test_entries_of_all_models_are_sorted(board):
    names = {entry.name for entry in board.entries}
    assert names == {"nice", "nice+mixture", "Gaussian", "Gaussian mixture", "Kernel density"}
    log_likelihoods = [entry.test_log_likelihood for entry in board.entries]
    assert log_likelihoods == sorted(log_likelihoods, reverse=True)
    assert all(
        len(entry.folds) == 2 and np.isclose(entry.test_log_likelihood, np.mean(entry.folds)) for entry in board.entries
    )


def test_mixture_beats_gaussian_on_two_clusters(board):
    assert board.entry("Gaussian mixture").test_log_likelihood > board.entry("Gaussian").test_log_likelihood + 0.5
    assert board.entry("nice+mixture").test_log_likelihood > board.entry("Gaussian").test_log_likelihood + 0.5
    assert board.chosen == "nice+mixture"
    assert board.margin == pytest.approx(
        board.chosen_log_likelihood - board.entry("Gaussian mixture").test_log_likelihood
    )
    # `fit` starts plain flows from a mixture too where they need it: each fold's pick is one of two nearly equal flows
    assert board.chosen_log_likelihood == pytest.approx(board.entry("nice+mixture").test_log_likelihood, abs=0.01)


def test_discrete_columns_have_masses_in_all_models(board):
    """Five equally likely values lower every log-likelihood by about log 5; their density would have no bound."""
    assert board.is_bound
    assert board.schema.columns[2].step == 1.0
    without = compare(rows()[:, :2], flows=["nice+mixture"], folds=2, **TINY)
    for name in ("Gaussian", "Gaussian mixture", "nice+mixture"):
        assert board.entry(name).test_log_likelihood - without.entry(name).test_log_likelihood == pytest.approx(
            -np.log(5), abs=0.5
        )


@pytest.mark.slow
def test_gaussian_matches_scipy():
    x = rows()[:, :2]
    board = compare(x, flows=["nice"], folds=1, detect=False, **TINY)
    order = np.random.default_rng(0).permutation(len(x))
    test, rest = np.array_split(order, 5)[0], order[40:]
    train = x[rest[len(rest) // 5 :]]
    normal = stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    assert board.entry("Gaussian").test_log_likelihood == pytest.approx(normal.logpdf(x[test]).mean(), rel=1e-6)


def test_choice_does_not_use_test_rows(monkeypatch):
    """The chosen flow is the best on the validation rows, not on the test rows."""
    figures = {"nice": (-1.0, -9.0), "maf": (-2.0, 3.0)}

    def run(self, name):
        validation, test = figures.get(name, (None, -5.0))
        return Outcome(np.array([test]), 0.1, 1.0, 1.0, validation_log_likelihood=validation)

    monkeypatch.setattr(Fold, "run", run)
    board = compare(rows(), flows=["nice", "maf"], folds=2)
    assert board.chosen == "nice"
    assert board.margin == pytest.approx(-4.0)


def test_parts_of_folds_are_disjoint_and_cover_all_rows(monkeypatch):
    tested = []

    def run(self, name):
        split = self.split
        parts = [split.train, split.validation, split.test]
        assert sorted(np.concatenate(parts)) == list(range(200))
        tested.extend(split.test if name == "nice" else [])
        log_likelihood = 0.0 if name == "nice" else None
        return Outcome(np.zeros(len(self.split.test)), 0.1, 1.0, 1.0, validation_log_likelihood=log_likelihood)

    monkeypatch.setattr(Fold, "run", run)
    compare(rows(), flows=["nice"], folds=4)
    assert sorted(tested) == list(range(200))


@pytest.mark.slow
def test_conditional_comparison():
    x = rows()
    board = compare(x[:, :1], flows=["nice"], context=x[:, 1:2], folds=1, **TINY)
    assert {entry.name for entry in board.entries} == {"nice", "Gaussian", "Gaussian mixture", "Kernel density"}


def test_leaderboard_to_dict_is_json(board):
    values = json.loads(json.dumps(board.to_dict(), allow_nan=False))
    assert values["chosen"] == "nice+mixture"
    assert {entry["name"] for entry in values["entries"]} >= {"Gaussian"}
    assert values["chosen_nats"] == board.chosen_log_likelihood
    entry = values["entries"][0]
    assert (entry["test_nats"], entry["validation_nats"]) == (
        board.entries[0].test_log_likelihood, board.entries[0].validation_log_likelihood,
    )  # fmt: skip
    assert "test_nats_without_copies" in entry


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"flows": ["nfs"]}, ("nsf", "'nfs'")),
        ({"flows": []}, ("at least one",)),
        ({"flows": ["nsf", "nsf"]}, ("each once",)),
        ({"folds": 0}, ("folds", "got 0")),
        ({"folds": 41}, ("folds", "200 rows", "got 41")),
        ({"columns": {"z": "positive"}}, ("'z'", "'x0'")),
    ],
)
def test_invalid_arguments_are_errors(options, fragments):
    with pytest.raises(DataError) as error:
        pf.compare(rows(), **options)
    for fragment in fragments:
        assert fragment in str(error.value)


def test_pick_of_a_fold_uses_its_validation_rows_only(monkeypatch):
    """maf is best on the validation rows of all folds together, nice on those of the first fold."""
    figures = {"nice": [(-1.0, -9.0), (-5.0, -7.0)], "maf": [(-2.0, 3.0), (4.0, 1.0)]}
    n_runs = dict.fromkeys(figures, 0)

    def run(self, name):
        if name not in figures:
            return Outcome(np.array([-5.0]), 0.1, 1.0, 1.0)
        validation, test = figures[name][n_runs[name]]
        n_runs[name] += 1
        return Outcome(np.array([test]), 0.1, 1.0, 1.0, validation_log_likelihood=validation)

    monkeypatch.setattr(Fold, "run", run)
    board = compare(rows(), flows=["nice", "maf"], folds=2)
    assert board.chosen == "maf"
    assert board.picks == ("nice", "maf")
    assert board.chosen_log_likelihood == pytest.approx((-9.0 + 1.0) / 2)
    assert board.margin == pytest.approx(-4.0 + 5.0)


def test_folds_have_different_validation_rows(monkeypatch):
    validation_rows = []

    def run(self, name):
        validation_rows.append(frozenset(self.split.validation))
        log_likelihood = 0.0 if name == "nice" else None
        return Outcome(np.zeros(len(self.split.test)), 0.1, 1.0, 1.0, validation_log_likelihood=log_likelihood)

    monkeypatch.setattr(Fold, "run", run)
    compare(rows(), flows=["nice"], folds=4)
    assert len(set(validation_rows)) == 4
    assert not set.intersection(*map(set, validation_rows))


def test_gaussian_of_rounded_columns_scores_as_the_equal_flow():
    """The same normal as baseline and in `Discretised` has equal scores, up to the error of a fit to few rows."""
    random = np.random.default_rng(3)
    x = np.round(random.normal(size=(500, 3)))
    names = ["a", "b", "c"]
    schema = infer_schema(x, names)
    split = Split(x, None, np.arange(300), np.arange(300, 400), np.arange(400, 500))
    outcome = Fold(split, schema, 0, {}, {}).baseline("Gaussian")
    noisy = schema.dequantise(np.tile(x[:300], (14, 1)), np.random.default_rng(9))
    normal = pf.bases.MultivariateNormal(3, loc=noisy.mean(0), covariance=np.cov(noisy.T, bias=True))
    expected = log_prob_float64(pf.Discretised(normal, np.ones(3)), x[400:]).mean()
    assert outcome.scores.mean() == pytest.approx(expected, abs=0.01)


def test_codes_of_test_rows_only_have_finite_scores():
    x = rows()
    x[:, 2] = 0.0
    x[::7, 2] = 1.0
    x[np.random.default_rng(0).permutation(200)[:3], 2] = 2.0  # all in the first test part
    board = compare(x, names=["a", "b", "c"], columns={"c": "category"}, flows=["nice"], folds=1, **TINY)
    assert all(np.isfinite([entry.test_log_likelihood, entry.standard_error]).all() for entry in board.entries)


def test_interrupt_raises(monkeypatch):
    def fitted(schema, build, x, **options):
        return build(len(schema.modelled_indices)), History(stop_reason="interrupted")

    monkeypatch.setattr(fold_module, "fit_columns", fitted)
    with pytest.raises(KeyboardInterrupt):
        compare(rows(), flows=["nice"], folds=1, **TINY)


def test_frame_columns_keep_their_names():
    polars = pytest.importorskip("polars")
    with pytest.warns(UserWarning, match="values repeat in column 'w'"):
        board = compare(polars.DataFrame(rows(60), schema=["u", "v", "w"]), flows=["nice"], folds=1, **TINY)
    assert board.schema.names == ("u", "v", "w")


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (rows()[:, 0], {}, ShapeError, r"x: expected rows .* got shape \(200,\)\. Pass .*np\.asarray\(x\)\[:, None\]"),
        (rows(), {"context": rows()[:, 0]}, ShapeError, r"context: expected rows .* got shape \(200,\)"),
        (rows(), {"context": rows(300)}, ShapeError, "got 200 rows and 300 rows"),
        (rows(), {"names": ["a"]}, ShapeError, "names: expected one for each of 3 columns, got 1"),
        (rows() + np.eye(200, 3) * np.nan, {}, DataError, "got nan in column 0 at row 0"),
    ],
)
def test_invalid_rows_are_errors(x, options, error, message):
    with pytest.raises(error, match=message):
        compare(x, flows=["nice"], **options, **TINY)


def test_groups_and_scores_without_copies():
    """Without groups, copies of a row are in several parts of a fold; with groups, they are in one."""
    x = np.repeat(rows(60)[:, :2], 2, axis=0)
    options = {"flows": ["nice"], "folds": 1, "detect": False, **TINY}
    with pytest.warns(UserWarning, match="values repeat in columns 'x0'"):
        by_row = compare(x, **options)
    entry = by_row.entry("Gaussian")
    assert 0 < entry.n_test_copies < 24
    assert entry.test_log_likelihood_without_copies != entry.test_log_likelihood
    assert by_row.to_dict()["entries"][0]["n_test_copies"] == entry.n_test_copies
    with pytest.warns(UserWarning, match="values repeat in columns 'x0'"):
        entry = compare(x, groups=np.repeat(np.arange(60), 2), **options).entry("nice")
    assert (entry.n_test_copies, entry.test_log_likelihood_without_copies) == (
        0,
        pytest.approx(entry.test_log_likelihood),
    )
    with pytest.raises(DataError, match="groups, time: expected one of them"):
        compare(x, groups=np.arange(120), time=np.arange(120), **options)
