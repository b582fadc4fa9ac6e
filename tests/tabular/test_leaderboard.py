"""Comparisons: every row is tested once, nothing is chosen by a test row, and the figures are the models' own."""

import json

import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.core.float64 import log_prob_float64
from pushforward.errors import DataError, ShapeError
from pushforward.tabular.comparison import compare
from pushforward.tabular.comparison import fold as contest
from pushforward.tabular.comparison.fold import Contest, Outcome, Split
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


def test_all_models_are_there_best_first(board):
    names = {entry.name for entry in board.entries}
    assert names == {"nice", "nice+mixture", "Gaussian", "Gaussian mixture", "Kernel density"}
    nats = [entry.test_log_likelihood for entry in board.entries]
    assert nats == sorted(nats, reverse=True)
    assert all(
        len(entry.folds) == 2 and np.isclose(entry.test_log_likelihood, np.mean(entry.folds)) for entry in board.entries
    )


def test_a_mixture_beats_a_normal_law_on_two_clusters(board):
    assert board.entry("Gaussian mixture").test_log_likelihood > board.entry("Gaussian").test_log_likelihood + 0.5
    assert board.entry("nice+mixture").test_log_likelihood > board.entry("Gaussian").test_log_likelihood + 0.5
    assert board.chosen == "nice+mixture"
    assert board.margin == pytest.approx(
        board.chosen_log_likelihood - board.entry("Gaussian mixture").test_log_likelihood
    )
    # `fit` starts plain flows from a mixture too where they need it: each fold's pick is one of two nearly equal flows
    assert board.chosen_log_likelihood == pytest.approx(board.entry("nice+mixture").test_log_likelihood, abs=0.01)


def test_few_values_are_scored_by_their_masses_in_all_models(board):
    """The column of five equally likely values costs log 5 nats in every model, about; a density of it has no bound."""
    assert board.is_bound
    assert board.plan.columns[2].step == 1.0
    without = compare(rows()[:, :2], flows=["nice+mixture"], folds=2, **TINY)
    for name in ("Gaussian", "Gaussian mixture", "nice+mixture"):
        assert board.entry(name).test_log_likelihood - without.entry(name).test_log_likelihood == pytest.approx(
            -np.log(5), abs=0.5
        )


def test_the_gaussian_of_the_board_is_scipys():
    x = rows()[:, :2]
    found = compare(x, flows=["nice"], folds=1, detect=False, **TINY)
    order = np.random.default_rng(0).permutation(len(x))
    test, rest = np.array_split(order, 5)[0], order[40:]
    train = x[rest[len(rest) // 5 :]]
    law = stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    assert found.entry("Gaussian").test_log_likelihood == pytest.approx(law.logpdf(x[test]).mean(), rel=1e-6)


def test_the_choice_never_sees_a_test_row(monkeypatch):
    """The flow that is best on the test rows is not chosen where another is best on the validation rows."""
    figures = {"nice": (-1.0, -9.0), "maf": (-2.0, 3.0)}

    def run(self, name):
        validation, test = figures.get(name, (None, -5.0))
        return Outcome(np.array([test]), 0.1, 1.0, 1.0, validation_log_likelihood=validation)

    monkeypatch.setattr(Contest, "run", run)
    found = compare(rows(), flows=["nice", "maf"], folds=2)
    assert found.chosen == "nice"
    assert found.margin == pytest.approx(-4.0)


def test_every_row_is_tested_once_and_trains_no_model_of_its_fold(monkeypatch):
    tested = []

    def run(self, name):
        split = self.split
        parts = [split.train, split.held, split.test]
        assert sorted(np.concatenate(parts)) == list(range(200))
        tested.extend(split.test if name == "nice" else [])
        nats = 0.0 if name == "nice" else None
        return Outcome(np.zeros(len(self.split.test)), 0.1, 1.0, 1.0, validation_log_likelihood=nats)

    monkeypatch.setattr(Contest, "run", run)
    compare(rows(), flows=["nice"], folds=4)
    assert sorted(tested) == list(range(200))


def test_given_a_context():
    x = rows()
    found = compare(x[:, :1], flows=["nice"], context=x[:, 1:2], folds=1, **TINY)
    assert {entry.name for entry in found.entries} == {"nice", "Gaussian", "Gaussian mixture", "Kernel density"}


def test_a_board_is_plain_json(board):
    values = json.loads(json.dumps(board.to_dict(), allow_nan=False))
    assert values["chosen"] == "nice+mixture"
    assert {entry["name"] for entry in values["entries"]} >= {"Gaussian"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flows": ["nfs"]}, ("nsf", "'nfs'")),
        ({"flows": []}, ("at least one",)),
        ({"flows": ["nsf", "nsf"]}, ("each once",)),
        ({"folds": 0}, ("folds", "got 0")),
        ({"folds": 41}, ("folds", "200 rows", "got 41")),
        ({"columns": {"z": "positive"}}, ("'z'", "'x0'")),
    ],
)
def test_what_cannot_be_compared(options, words):
    with pytest.raises(DataError) as error:
        pf.compare(rows(), **options)
    for word in words:
        assert word in str(error.value)


def test_a_fold_is_chosen_by_its_own_validation_rows_alone(monkeypatch):
    """maf is best on the validation rows of all folds together, but the first fold's own choose nice."""
    figures = {"nice": [(-1.0, -9.0), (-5.0, -7.0)], "maf": [(-2.0, 3.0), (4.0, 1.0)]}
    run_so_far = dict.fromkeys(figures, 0)

    def run(self, name):
        if name not in figures:
            return Outcome(np.array([-5.0]), 0.1, 1.0, 1.0)
        validation, test = figures[name][run_so_far[name]]
        run_so_far[name] += 1
        return Outcome(np.array([test]), 0.1, 1.0, 1.0, validation_log_likelihood=validation)

    monkeypatch.setattr(Contest, "run", run)
    found = compare(rows(), flows=["nice", "maf"], folds=2)
    assert found.chosen == "maf"
    assert found.picks == ("nice", "maf")
    assert found.chosen_log_likelihood == pytest.approx((-9.0 + 1.0) / 2)
    assert found.margin == pytest.approx(-4.0 + 5.0)


def test_folds_are_validated_on_rows_of_their_own(monkeypatch):
    held = []

    def run(self, name):
        held.append(frozenset(self.split.held))
        nats = 0.0 if name == "nice" else None
        return Outcome(np.zeros(len(self.split.test)), 0.1, 1.0, 1.0, validation_log_likelihood=nats)

    monkeypatch.setattr(Contest, "run", run)
    compare(rows(), flows=["nice"], folds=4)
    assert len(set(held)) == 4
    assert not set.intersection(*map(set, held))


def test_a_rounded_gaussian_is_scored_as_a_flow_that_is_one_would_be():
    """The same normal law as baseline and inside `Discretised`: equal scores, to the error of the few rows' fit."""
    random = np.random.default_rng(3)
    x = np.round(random.normal(size=(500, 3)))
    names = ["a", "b", "c"]
    plan = infer_schema(x, names)
    split = Split(x, None, np.arange(300), np.arange(300, 400), np.arange(400, 500))
    found = Contest(split, plan, 0, {}, {}).baseline("Gaussian")
    noisy = plan.dequantise(np.tile(x[:300], (14, 1)), np.random.default_rng(9))
    law = pf.bases.MultivariateNormal(3, loc=noisy.mean(0), covariance=np.cov(noisy.T, bias=True))
    expected = log_prob_float64(pf.Discretised(law, np.ones(3)), x[400:]).mean()
    assert found.scores.mean() == pytest.approx(expected, abs=0.01)


def test_a_code_that_only_test_rows_have_keeps_a_density():
    x = rows()
    x[:, 2] = 0.0
    x[::7, 2] = 1.0
    x[np.random.default_rng(0).permutation(200)[:3], 2] = 2.0  # all in the first test part
    found = compare(x, names=["a", "b", "c"], columns={"c": "category"}, flows=["nice"], folds=1, **TINY)
    assert all(np.isfinite([entry.test_log_likelihood, entry.standard_error]).all() for entry in found.entries)


def test_an_interrupt_ends_the_comparison(monkeypatch):
    def fitted(plan, build, x, **options):
        return build(len(plan.modelled)), History(stop_reason="interrupted")

    monkeypatch.setattr(contest, "fit_columns", fitted)
    with pytest.raises(KeyboardInterrupt):
        compare(rows(), flows=["nice"], folds=1, **TINY)


def test_a_frame_is_compared_by_its_names():
    polars = pytest.importorskip("polars")
    with pytest.warns(UserWarning, match="values repeat in column 'w'"):
        found = compare(polars.DataFrame(rows(60), schema=["u", "v", "w"]), flows=["nice"], folds=1, **TINY)
    assert found.plan.names == ("u", "v", "w")


@pytest.mark.parametrize(
    ("x", "options", "error", "words"),
    [
        (rows()[:, 0], {}, ShapeError, r"x: expected rows .* got shape \(200,\)"),
        (rows(), {"context": rows()[:, 0]}, ShapeError, r"context: expected rows .* got shape \(200,\)"),
        (rows(), {"context": rows(300)}, ShapeError, "got 200 rows and 300 rows"),
        (rows(), {"names": ["a"]}, ShapeError, "names: expected one for each of 3 columns, got 1"),
        (rows() + np.eye(200, 3) * np.nan, {}, DataError, "got nan in column 0 at row 0"),
    ],
)
def test_rows_that_cannot_be_compared(x, options, error, words):
    with pytest.raises(error, match=words):
        compare(x, flows=["nice"], **options, **TINY)


def test_folds_of_groups_and_scores_without_copies():
    """By row, copies of a row are on both sides of a fold; by group, none is."""
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
