"""The start of `fit`: never below a Gaussian or a mixture of normals, whose closed forms are the reference."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import pushforward as pf
from pushforward.bases.expectation_maximisation import fit_normal_mixture
from pushforward.bijections import TRANSFORMERS, LinearRegression, Whiten, transformer_named
from pushforward.core.scalar import boxed_parts
from pushforward.errors import DataError, TrainingDiverged
from pushforward.train import comparison, likelihood, prepare, start
from pushforward.train.data import Rows, gaussian_log_likelihood, warn_of_share_outside
from pushforward.train.start import whitened_start
from pushforward.train.units import initialise_flow, outer_standardise

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


WITH_BOX = [name for name in TRANSFORMERS if boxed_parts(transformer_named(name))]


def test_piecewise_and_polynomial_transformers_have_a_box():
    splines = {"linear", "quadratic", "cubic", "linear_rational", "rational_quadratic"}
    assert set(WITH_BOX) == splines | {"bernstein", "sum_of_squares", "monotone_integral"}


@pytest.mark.parametrize("name", WITH_BOX)
def test_columns_are_scaled_into_a_box_outside_which_layers_are_the_identity(name):
    x = np.random.default_rng(0).standard_t(2, size=(2000, 2))
    flow = initialise_flow(pf.elementwise_flow(2, key=0, transformer=name), Rows(x, None, None))
    outer, transformer = outer_standardise(flow), transformer_named(name)
    z, bound = (x - outer.mean) / outer.scale, transformer.bound
    farthest = np.quantile(np.abs(z), 0.999, axis=0)
    if transformer.identity_outside:
        np.testing.assert_allclose(farthest, 0.9 * bound, rtol=0.05)
    else:
        assert (farthest > 1.2 * bound).all()
    with pytest.warns(UserWarning, match=f"lie outside the transformers' box of .-{bound:g}"):
        warn_of_share_outside(flow, 10 * z, stacklevel=1)


@pytest.mark.parametrize(("recipe", "noise"), [(pf.nsf, 1e-4), pytest.param(pf.maf, 1e-2, marks=pytest.mark.slow)])
def test_nearly_equal_columns_start_at_the_gaussian(recipe, noise):
    x = near_duplicates(noise=noise)
    flow, history = pf.fit(recipe(2, **SMALL), x, **SHORT)
    expected = -2 * 0.5 * np.log(2 * np.pi * np.e) - np.log(noise)
    assert history.start_from != "columns"
    assert any(isinstance(layer, Whiten) for layer in flow.bijection.bijections)
    assert history.best_validation > expected - 0.3
    samples = np.asarray(flow.sample(500, key=1), np.float64)
    assert abs((samples[:, 1] - 1.8 * samples[:, 0] - 32).std() / noise - 1) < 0.5


@pytest.mark.slow
def test_a_narrow_posterior_starts_at_the_regression_on_the_context():
    random = np.random.default_rng(0)
    theta = random.normal(size=(1500, 2))
    context = theta @ np.array([[1.0, 1.0], [1.0, -1.0]]) + 0.05 * random.normal(size=theta.shape)
    flow, history = pf.fit(pf.nsf(2, context_dim=2, **SMALL), theta, context=context, **SHORT)
    spread = 0.05 / np.sqrt(2)
    expected = -2 * np.log(spread) - np.log(2 * np.pi * np.e)
    assert history.start_from != "columns"
    assert any(isinstance(layer, LinearRegression) for layer in flow.bijection.bijections)
    assert history.best_validation > expected - 0.2
    draws = np.asarray(flow.sample(20, key=1, context=context[:50]))
    off = (draws - context[:50] @ np.array([[1.0, 1.0], [1.0, -1.0]]) / 2) / spread
    assert np.abs(off).max() < 6.5
    again = np.asarray(flow.log_prob(theta, context=context), np.float64).mean()
    assert abs(again - history.best_validation) < 0.2


@pytest.mark.parametrize(("distance", "dim"), [(1e3, 1), pytest.param(1e5, 2, marks=pytest.mark.slow)])
def test_distant_clusters_are_trained_again_from_a_mixture(distance, dim):
    flow, history = pf.fit(pf.nsf(dim, **SMALL), clusters(1500, distance, dim), **SHORT)
    expected = -np.log(2) - dim * 0.5 * np.log(2 * np.pi * np.e)
    assert history.start_from == "baseline"
    first = history.earlier
    assert first is not None
    assert first.start_from in ("columns", "gaussian")
    assert first.seconds[-1] < history.seconds[0]
    assert first.best_validation == max(first.validation)
    assert np.asarray(flow.log_prob(clusters(1000, distance, dim, seed=1))).mean() > expected - 0.1
    first = np.asarray(flow.sample(2000, key=1))[:, 0]
    assert not ((first > 8) & (first < distance - 8)).any()


def test_fit_is_not_below_its_baselines():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 4)) @ random.normal(size=(4, 4))
    _, history = pf.fit(pf.maf(4, **SMALL), x, **SHORT)
    assert history.best_validation > max(history.gaussian, history.mixture) - 0.05


def test_independent_columns_get_no_whiten_layer():
    flow, _ = pf.fit(pf.nsf(2, **SMALL), np.random.default_rng(0).normal(size=(600, 2)), **SHORT)
    assert not any(isinstance(layer, Whiten) for layer in flow.bijection.bijections)


def test_whitened_start_uses_weighted_rows():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=(4000, 2))
    weights = np.exp(-20 * np.square(x).sum(1))  # near the origin the columns are independent, and narrower
    rows = Rows(x, None, weights / weights.mean())
    flow = initialise_flow(pf.nsf(2, **SMALL), rows)
    assert whitened_start(flow, rows, None) is flow


def test_standard_error_with_weights_groups_and_replicates():
    random = np.random.default_rng(0)
    scores, weights = random.normal(size=100), random.uniform(0.1, 3.0, 100)
    plain = Rows(scores[:, None], None, None)
    expected = scores.std(ddof=1) / 10
    assert start._standard_error(scores, plain) == pytest.approx(expected)
    twelve = Rows(np.repeat(scores, 12)[:, None], None, None, np.arange(1200) // 12)
    assert start._standard_error(np.repeat(scores, 12), twelve) == pytest.approx(expected)
    draws = random.normal(size=(4000, 100))
    truth = np.average(draws, axis=1, weights=weights).std()
    weighted = Rows(scores[:, None], None, weights)
    assert start._standard_error(scores, weighted) == pytest.approx(truth, rel=0.25)
    assert start._standard_error(scores[:1], Rows(scores[:1, None], None, None)) == np.inf
    impossible = np.where(np.arange(100) == 3, -np.inf, scores)  # a row without density under one of the two
    assert start.is_likelier(scores, impossible, plain)
    assert not start.is_likelier(impossible, scores, plain)
    two = Rows(scores[:, None], None, None, np.arange(100) % 2)  # too few groups to tell how they differ
    assert start._standard_error(scores, two) == pytest.approx(expected)


def test_bic_counts_replicates_once():
    random = np.random.default_rng(3)
    x = random.normal(size=(40, 2)).round(1)
    noisy = np.repeat(x, 16, axis=0) + 0.1 * (random.uniform(size=(640, 2)) - 0.5)
    assert len(fit_normal_mixture(noisy, replicates=16).weights) == 1
    assert len(fit_normal_mixture(noisy).weights) > 1


@pytest.mark.slow
def test_likelihood_without_copies_is_of_the_baseline_before_its_refit(monkeypatch):
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 3)) @ random.normal(size=(3, 3))
    monkeypatch.setattr(prepare, "has_equal_row", lambda validation, train: np.arange(len(validation)) < 1)
    calls, log_probs_in_units = [], comparison.log_probs_in_units

    def recorded(flow, rows):
        calls.append(log_probs_in_units(flow, rows))
        return calls[-1]

    monkeypatch.setattr(comparison, "log_probs_in_units", recorded)
    _, history = pf.fit(pf.nsf(3, **SMALL), x, **SHORT)
    assert history.best_epoch == -1
    assert len(calls[-1]) == 12
    assert history.best_validation == pytest.approx(calls[-1].mean())
    assert history.validation_without_copies == pytest.approx(calls[-1][1:].mean())


def test_an_interrupt_between_trainings_returns_the_first_flow(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "baselines", interrupted)
    flow, history = pf.fit(pf.nsf(1, **SMALL), clusters(300, 10.0), **SHORT)
    assert history.stop_reason == "interrupted"
    assert np.isfinite(np.asarray(flow.log_prob(clusters(10, 10.0)))).all()


def test_an_interrupt_at_the_start_of_the_second_training_returns_the_first(monkeypatch):
    train, calls = likelihood.train_on_rows, []

    def interrupted(*arguments, **options):
        calls.append(options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(likelihood, "train_on_rows", interrupted)
    _, history = pf.fit(pf.nsf(1, **SMALL), clusters(300, 1e3), **SHORT)
    assert (len(calls), history.stop_reason) == (2, "interrupted")
    assert len(history.train) == len(history.validation) == 2


def test_validation_rows_outside_the_support_are_refused():
    flow = pf.Flow(pf.bases.Normal((1,)), pf.bijections.Elementwise(pf.bijections.Exp(), (1,)))
    x = np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    with pytest.raises(DataError, match=r"validation: 1 of 3 rows lie outside the support .* one of them at \(0\)"):
        pf.fit(flow, x, validation=np.array([[1.0], [0.0], [2.0]]), **SHORT)
    x[::3] = -np.arange(1.0, 35.0)[:, None]
    with pytest.raises(DataError, match=r"x: 34 of 100 rows lie outside the support .* one of them at \(-\d+\)"):
        pf.fit(flow, x, validation=0, **SHORT)


def test_start_given_and_trainable_leave_the_layers_unchanged():
    x = near_duplicates(300)
    original = pf.nsf(2, **SMALL)
    for options in ({"start": "given"}, {"trainable": pf.trainable(original)}):
        flow, history = pf.fit(original, x, **SHORT, **options)
        assert history.start_from == "given"
        assert [type(layer) for layer in flow.bijection.bijections] == [
            type(layer) for layer in original.bijection.bijections
        ]
    for flow in (pf.nsf(2, whiten=False, **SMALL), pf.nsf(2, base=pf.bases.StudentT((2,)), **SMALL)):
        assert pf.fit(flow, x, **SHORT)[1].start_from == "given"
    with pytest.raises(ValueError, match=r"start: expected 'auto' or 'given', got 'mixture'"):
        pf.fit(original, x, start="mixture", **SHORT)


def test_a_second_fit_keeps_the_layers_of_the_first():
    x = near_duplicates(600)
    first, _ = pf.fit(pf.nsf(2, **SMALL), x, **SHORT)
    second, history = pf.fit(first, x, **SHORT)
    assert [type(layer) for layer in second.bijection.bijections] == [
        type(layer) for layer in first.bijection.bijections
    ]
    assert history.start > -2 * 0.5 * np.log(2 * np.pi * np.e) + np.log(1e4) - 0.4


def test_a_flow_not_better_than_the_gaussian_gives_the_gaussian_of_all_rows():
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 3)) @ random.normal(size=(3, 3)) + 5.0
    flow, history = pf.fit(pf.nsf(3, **SMALL), x, **SHORT)
    assert (history.start_from, history.best_epoch) == ("baseline", -1)
    expected = stats.multivariate_normal(x.mean(0), np.cov(x, rowvar=False, bias=True)).logpdf(x)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x)), expected, atol=1e-4)
    # a caller's validation rows are not used for the fit
    flow, _ = pf.fit(pf.nsf(3, **SMALL), x[12:], validation=x[:12], **SHORT)
    expected = stats.multivariate_normal(x[12:].mean(0), np.cov(x[12:], rowvar=False, bias=True)).logpdf(x)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x)), expected, atol=1e-4)


@pytest.mark.parametrize(("n_clusters", "baseline"), [(1, "a Gaussian"), (2, "a mixture of 2 normals")])
def test_progress_ends_with_the_baseline_that_is_returned(capsys, n_clusters, baseline):
    random = np.random.default_rng(1)
    x = random.normal(size=(400, 2)) + 1e3 * random.integers(n_clusters, size=(400, 1))
    _, history = pf.fit(pf.nsf(2, **SMALL), x, batch_size=256, **SHORT | {"progress": True})
    assert history.returned == "baseline"
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"fit: the returned flow is {baseline}, because the trained flow was not clearly likelier")
    for part in (f"{history.start:.3f} nats a row", f"the trained flow had {max(history.validation):.3f}", "start="):
        assert part in line
    pf.fit(pf.nsf(2, **SMALL), x, **SHORT)
    assert not capsys.readouterr().err
    # rows of `fit_columns`: the commands say it themselves
    _, history = pf.fit(
        pf.nsf(2, **SMALL), prepare.PreparedRows(x, is_drawn=True), batch_size=256, **SHORT | {"progress": True}
    )
    assert history.returned == "baseline"
    assert "the returned flow is" not in capsys.readouterr().err


def test_a_trained_flow_is_no_baseline_in_the_progress(capsys):
    x = np.random.default_rng(1).normal(size=(400, 2))
    _, history = pf.fit(pf.nsf(2, **SMALL), x, **SHORT | {"progress": True, "start": "given"})
    assert history.returned != "baseline"
    assert "the returned flow is" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_conditional_flow_not_better_than_the_gaussian_gives_least_squares_of_all_rows():
    random = np.random.default_rng(0)
    context = random.normal(size=(150, 2))
    x = context @ np.array([[1.0, 0.5], [-0.5, 1.0]]) + random.normal(size=(150, 2))
    flow, history = pf.fit(pf.nsf(2, context_dim=2, **SMALL), x, context=context, **SHORT)
    assert (history.start_from, history.best_epoch) == ("baseline", -1)
    design = np.hstack([np.ones((150, 1)), context])
    residuals = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    expected = stats.multivariate_normal(np.zeros(2), residuals.T @ residuals / 150).logpdf(residuals)
    np.testing.assert_allclose(np.asarray(flow.log_prob(x, context=context)), expected, atol=1e-4)


def test_a_flow_below_a_baseline_raises_a_warning(monkeypatch):
    x = clusters(800, 1e3)
    monkeypatch.setattr("pushforward.train.comparison.baseline_start", lambda flow, train, fitted_baselines: flow)
    with pytest.warns(UserWarning, match=r"a Gaussian or a mixture of normals -1\.98.*FlowDensity\(base='mixture'\)"):
        pf.fit(pf.nsf(1, **SMALL), x, **SHORT)


def test_a_failed_second_training_returns_a_baseline_or_the_first_flow(monkeypatch, capsys):
    x, calls = clusters(800, 1e3), []
    train = likelihood.train_on_rows

    def second_fails(flow, history, **options):
        calls.append(flow)
        fitted, history = train(flow, history, **options)
        if len(calls) == 2:
            raise TrainingDiverged("diverged, for the test")
        if len(calls) == 4:
            history.stop_reason = "interrupted"
        return fitted, history

    monkeypatch.setattr(likelihood, "train_on_rows", second_fails)
    _, history = pf.fit(pf.nsf(1, **SMALL), x, **SHORT)
    assert (history.stop_reason, history.best_epoch) == ("diverged", -1)
    assert history.best_validation > -2.3
    assert pf.fit(pf.nsf(1, **SMALL), x, **SHORT | {"progress": True})[1].stop_reason == "interrupted"
    assert "again from a mixture of normals: epoch 2/2" in " ".join(capsys.readouterr().err.split())


# The mixture


@pytest.mark.parametrize("distance", [5.0, 1e3, 1e6])
def test_expectation_maximisation_finds_both_clusters(distance):
    x = clusters(2000, distance, 2)
    mixture = fit_normal_mixture(x)
    assert mixture.means.shape == (2, 2)
    expected = np.logaddexp(*(stats.norm.logpdf(x[:, 0] - shift) for shift in (0, distance))) - np.log(2)
    expected = expected + stats.norm.logpdf(x[:, 1])
    assert abs(mixture.log_prob(x).mean() - expected.mean()) < 0.01
    np.testing.assert_allclose(mixture.weights, [0.5, 0.5], atol=0.05)


def test_a_normal_sample_gives_one_component_and_weights_count_rows():
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


@pytest.mark.slow
@pytest.mark.parametrize("code", [(-999.0, -999.0), pytest.param((20.3, None), marks=pytest.mark.slow)])
def test_repeated_rows_get_no_separate_component(code):
    x = np.random.default_rng(0).normal(size=(600, 2))
    for column, value in enumerate(code):
        if value is not None:
            x[:24, column] = value
    assert len(fit_normal_mixture(x).weights) == 1
    x = x[np.random.default_rng(1).permutation(600)]
    flow, history = pf.fit(pf.nsf(2, **SMALL), x[:500], validation=x[500:], **SHORT)
    scores = np.asarray(flow.log_prob(x[500:]), np.float64)
    assert scores.mean() == pytest.approx(history.best_validation, abs=0.02)
    assert scores.max() < 5


@pytest.mark.slow
def test_the_regression_is_robust_to_extreme_contexts():
    random = np.random.default_rng(0)
    context = random.normal(size=(400, 1))
    x = 2 * context + 0.1 * random.normal(size=(400, 1))
    expected = -np.log(0.1) - 0.5 * np.log(2 * np.pi * np.e)
    for rows, value in ((1, 1e12), (8, -9999.0)):
        spoiled = context.copy()
        spoiled[94 : 94 + rows] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about extreme values, and about rows far from the regression
            options = {"context": spoiled, "validation": (x, context), **SHORT}
            flow, history = pf.fit(pf.nsf(1, context_dim=1, **SMALL), x, **options)
        assert np.asarray(flow.log_prob(x, context=context)).mean() > expected - 0.1
        assert history.gaussian > expected - 0.1


@pytest.mark.parametrize(("offset", "scale"), [(1e9, 1.0), (0.0, 1e-6), (-1e7, 1e3)])
def test_conditional_gaussian_baseline_does_not_depend_on_context_units(offset, scale):
    random = np.random.default_rng(0)
    context = random.normal(size=(400, 2))
    x = context @ np.ones((2, 1)) + 0.1 * random.normal(size=(400, 1))
    plain = gaussian_log_likelihood(Rows(x, context, None), Rows(x, context, None))
    moved = offset + scale * context
    assert gaussian_log_likelihood(Rows(x, moved, None), Rows(x, moved, None)) == pytest.approx(plain, abs=1e-3)


def test_mixture_likelihood_matches_scikit_learn_or_better():
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 2000)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * random.normal(size=(2000, 2))
    reference = max(GaussianMixture(8, random_state=seed).fit(x).score(x) for seed in range(2))
    assert fit_normal_mixture(x, sizes=(8,)).log_prob(x).mean() > reference - 0.02


@pytest.mark.parametrize("x", [np.ones((30, 2)), np.ones((1, 2)), np.repeat([[0.0], [1.0]], 50, axis=0)])
def test_repeated_rows_leave_the_mixture_finite(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(fit_normal_mixture(x).log_prob(x)).all()
