"""Where `fit` starts: never below a Gaussian or a mixture of normals, whose closed forms are the referees here."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import pushforward as pf
from pushforward.bases.expectation_maximisation import fit_normal_mixture
from pushforward.bijections import LinearRegression, Whiten
from pushforward.errors import TrainingDiverged
from pushforward.train import likelihood

SMALL = {"n_layers": 2, "width": 8, "key": 0}
SHORT = {"key": 0, "max_epochs": 2, "progress": False}


def kinds(flow):
    return [type(layer) for layer in flow.bijection.bijections]


def near_duplicates(n=1000, noise=1e-4):
    random = np.random.default_rng(0)
    first = random.normal(size=n)
    return np.stack([first, 1.8 * first + 32 + noise * random.normal(size=n)], 1)


def clusters(n, distance, dim=1, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, dim))
    x[:, 0] += distance * random.integers(0, 2, n)
    return x


@pytest.mark.parametrize("recipe", [pf.nsf, pf.maf])
@pytest.mark.parametrize("noise", [1e-2, 1e-4])
def test_nearly_equal_columns_start_at_their_gaussian(recipe, noise):
    x = near_duplicates(noise=noise)
    flow, history = pf.fit(recipe(2, **SMALL), x, **SHORT)
    right = -2 * 0.5 * np.log(2 * np.pi * np.e) - np.log(noise)
    assert history.start_from != "columns"
    assert any(isinstance(layer, Whiten) for layer in flow.bijection.bijections)
    assert history.best_validation > right - 0.3
    samples = np.asarray(flow.sample(500, key=1), np.float64)
    assert abs((samples[:, 1] - 1.8 * samples[:, 0] - 32).std() / noise - 1) < 0.5


def test_a_narrow_posterior_starts_at_the_regression_on_its_context():
    random = np.random.default_rng(0)
    theta = random.normal(size=(1500, 2))
    context = theta @ np.array([[1.0, 1.0], [1.0, -1.0]]) + 0.05 * random.normal(size=theta.shape)
    flow, history = pf.fit(pf.nsf(2, context_dim=2, **SMALL), theta, context=context, **SHORT)
    spread = 0.05 / np.sqrt(2)
    right = -2 * np.log(spread) - np.log(2 * np.pi * np.e)
    assert history.start_from != "columns"
    assert any(isinstance(layer, LinearRegression) for layer in flow.bijection.bijections)
    assert history.best_validation > right - 0.2
    draws = np.asarray(flow.sample(20, key=1, context=context[:50]))
    off = (draws - context[:50] @ np.array([[1.0, 1.0], [1.0, -1.0]]) / 2) / spread
    assert np.abs(off).max() < 6.5
    again = np.asarray(flow.log_prob(theta, context=context), np.float64).mean()
    assert abs(again - history.best_validation) < 0.2


@pytest.mark.parametrize(("distance", "dim"), [(1e3, 1), (1e5, 2)])
def test_clusters_far_apart_are_trained_again_from_a_mixture(distance, dim):
    flow, history = pf.fit(pf.nsf(dim, **SMALL), clusters(1500, distance, dim), **SHORT)
    right = -np.log(2) - dim * 0.5 * np.log(2 * np.pi * np.e)
    assert history.start_from == "baseline"
    assert np.asarray(flow.log_prob(clusters(1000, distance, dim, seed=1))).mean() > right - 0.1
    first = np.asarray(flow.sample(2000, key=1))[:, 0]
    assert not ((first > 8) & (first < distance - 8)).any()


def test_the_flow_is_never_far_below_the_baselines_of_its_history():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 4)) @ random.normal(size=(4, 4))
    _, history = pf.fit(pf.maf(4, **SMALL), x, **SHORT)
    assert history.best_validation > max(history.gaussian, history.mixture) - 0.05


def test_independent_columns_start_as_they_are():
    flow, history = pf.fit(pf.nsf(2, **SMALL), np.random.default_rng(0).normal(size=(600, 2)), **SHORT)
    assert not any(isinstance(layer, Whiten) for layer in flow.bijection.bijections)
    assert isinstance(flow.base, pf.bases.Normal) == (history.start_from == "columns")


def test_a_start_as_given_changes_no_layer_and_a_tree_of_flags_implies_it():
    x = near_duplicates(300)
    start = pf.nsf(2, **SMALL)
    for options in ({"start": "given"}, {"trainable": pf.trainable(start)}):
        flow, history = pf.fit(start, x, **SHORT, **options)
        assert history.start_from == "given"
        assert [type(layer) for layer in flow.bijection.bijections] == [
            type(layer) for layer in start.bijection.bijections
        ]
    for flow in (pf.nsf(2, whiten=False, **SMALL), pf.nsf(2, base=pf.bases.StudentT((2,)), **SMALL)):
        assert pf.fit(flow, x, **SHORT)[1].start_from == "given"
    with pytest.raises(ValueError, match=r"start: expected 'auto' or 'given', got 'mixture'"):
        pf.fit(start, x, start="mixture", **SHORT)


def test_a_second_fit_keeps_the_layers_of_the_first():
    x = near_duplicates(600)
    first, _ = pf.fit(pf.nsf(2, **SMALL), x, **SHORT)
    second, history = pf.fit(first, x, **SHORT)
    assert [type(layer) for layer in second.bijection.bijections] == [
        type(layer) for layer in first.bijection.bijections
    ]
    assert history.start > -2 * 0.5 * np.log(2 * np.pi * np.e) + np.log(1e4) - 0.4


def test_where_training_gains_nothing_the_gaussian_of_all_rows_is_returned():
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 3)) @ random.normal(size=(3, 3)) + 5.0
    flow, history = pf.fit(pf.nsf(3, **SMALL), x, **SHORT)
    assert (history.start_from, history.best_epoch) == ("baseline", -1)
    right = stats.multivariate_normal(x.mean(0), np.cov(x, rowvar=False, bias=True)).logpdf(x)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x)), right, atol=1e-4)
    held = x[:12]
    flow, _ = pf.fit(pf.nsf(3, **SMALL), x[12:], validation=held, **SHORT)  # rows of the caller's train nothing
    right = stats.multivariate_normal(x[12:].mean(0), np.cov(x[12:], rowvar=False, bias=True)).logpdf(x)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x)), right, atol=1e-4)


def test_a_linear_gaussian_posterior_that_training_does_not_improve_is_the_least_squares_of_all_rows():
    random = np.random.default_rng(0)
    context = random.normal(size=(150, 2))
    x = context @ np.array([[1.0, 0.5], [-0.5, 1.0]]) + random.normal(size=(150, 2))
    flow, history = pf.fit(pf.nsf(2, context_dim=2, **SMALL), x, context=context, **SHORT)
    assert (history.start_from, history.best_epoch) == ("baseline", -1)
    design = np.hstack([np.ones((150, 1)), context])
    left = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    right = stats.multivariate_normal(np.zeros(2), left.T @ left / 150).logpdf(left)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x, context=context)), right, atol=1e-4)


def test_a_flow_below_a_baseline_is_warned_of(monkeypatch):
    x = clusters(800, 1e3)
    monkeypatch.setattr("pushforward.train.likelihood.baseline_start", lambda flow, train, found: flow)
    with pytest.warns(UserWarning, match=r"a Gaussian or a mixture of normals -1\.98"):
        pf.fit(pf.nsf(1, **SMALL), x, **SHORT)


def test_a_second_training_that_diverges_or_is_interrupted_loses_nothing(monkeypatch):
    x, calls = clusters(800, 1e3), []
    train = likelihood.train_on_rows

    def second_fails(start, train_rows, held, options, history, *run):
        calls.append(start)
        fitted, history = train(start, train_rows, held, options, history, *run)
        if len(calls) == 2:
            raise TrainingDiverged("diverged, for the test")
        if len(calls) == 4:
            history.stop_reason = "interrupted"
        return fitted, history

    monkeypatch.setattr(likelihood, "train_on_rows", second_fails)
    _, history = pf.fit(pf.nsf(1, **SMALL), x, **SHORT)
    assert (history.stop_reason, history.best_epoch) == ("diverged", -1)
    assert history.best_validation > -2.3
    assert pf.fit(pf.nsf(1, **SMALL), x, **SHORT)[1].stop_reason == "interrupted"


# The mixture


@pytest.mark.parametrize("distance", [5.0, 1e3, 1e6])
def test_expectation_maximisation_finds_both_clusters(distance):
    x = clusters(2000, distance, 2)
    mixture = fit_normal_mixture(x)
    assert mixture.means.shape == (2, 2)
    right = np.logaddexp(*(stats.norm.logpdf(x[:, 0] - shift) for shift in (0, distance))) - np.log(2)
    right = right + stats.norm.logpdf(x[:, 1])
    assert abs(mixture.log_prob(x).mean() - right.mean()) < 0.01
    np.testing.assert_allclose(np.exp(np.log(mixture.weights)).sum(), 1.0)


def test_one_normal_law_is_one_component_and_weights_count_rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(1000, 3)) @ random.normal(size=(3, 3))
    mixture = fit_normal_mixture(x)
    assert len(mixture.weights) == 1
    np.testing.assert_allclose(mixture.covariances[0], np.cov(x, rowvar=False, bias=True), rtol=1e-9, atol=1e-12)
    counts = random.integers(1, 4, 1000)
    weighted = fit_normal_mixture(x, counts / counts.mean(), sizes=(1,))
    repeated = fit_normal_mixture(np.repeat(x, counts, axis=0), sizes=(1,))
    np.testing.assert_allclose(weighted.means, repeated.means)
    np.testing.assert_allclose(weighted.covariances, repeated.covariances, rtol=1e-6)


def test_its_likelihood_is_that_of_scikit_learn_or_better():
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 2000)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * random.normal(size=(2000, 2))
    theirs = max(GaussianMixture(8, random_state=seed).fit(x).score(x) for seed in range(2))
    assert fit_normal_mixture(x, sizes=(8,)).log_prob(x).mean() > theirs - 0.02


@pytest.mark.parametrize("x", [np.ones((30, 2)), np.ones((1, 2)), np.repeat([[0.0], [1.0]], 50, axis=0)])
def test_repeated_rows_leave_the_mixture_finite(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(fit_normal_mixture(x).log_prob(x)).all()
