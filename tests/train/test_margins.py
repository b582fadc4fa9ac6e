"""Many rows whose columns are far from normal: `fit` Gaussianizes the columns first."""

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import MarginalGaussianization
from pushforward.train import likelihood, start

OPTIONS = {"key": 0, "progress": False, "max_epochs": 2}


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    """Few rows suffice, and no baseline takes the place of a flow that two epochs have trained."""
    settings(monkeypatch)


def settings(monkeypatch):
    monkeypatch.setattr(start, "_MARGINAL_ROWS", 1000)
    monkeypatch.setattr(
        likelihood, "compare_with_baselines", lambda fitted, initial, data, history, *_: (fitted, history, None)
    )
    monkeypatch.setattr(likelihood, "report_baselines", lambda *_: None)


def rows(n, seed=0):
    """A spike with most of the mass beside a wide block, and a skewed column that depends on which it is."""
    random = np.random.default_rng(seed)
    is_spike = random.random(n) < 0.9
    first = np.where(is_spike, 5.0 + 0.02 * random.random(n), 20.0 * random.random(n))
    return np.column_stack([first, np.exp(random.standard_normal(n)) + 3.0 * is_spike])


def build(key=0):
    return pf.real_nvp(2, n_layers=2, width=8, key=key)


def layers_of(flow):
    return [type(layer).__name__ for layer in flow.bijection.bijections]


@pytest.fixture(scope="module")
def fitted():
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings(monkeypatch)
        return pf.fit(build(), rows(4000), **OPTIONS)


def test_the_layer_is_next_to_the_standardisation(fitted):
    flow, history = fitted
    assert layers_of(flow)[-2:] == ["MarginalGaussianization", "Standardise"]
    assert history.start_from == "margins"


def test_likelihoods_of_the_history_are_those_of_the_flow():
    validation = rows(500, 1)
    flow, history = pf.fit(build(), rows(4000), validation=validation, refit=False, **OPTIONS)
    scores = np.asarray(flow.log_prob(validation), np.float64)
    assert history.start_from == "margins"
    assert history.best_validation == pytest.approx(scores.mean(), abs=2e-3)


def test_start_is_the_density_of_independent_histograms():
    x = rows(4000)
    layer = MarginalGaussianization(2).initialised(x)
    z, log_dets = layer.to_normal(x)
    expected = (log_dets - 0.5 * (z**2).sum(1) - np.log(2 * np.pi)).mean()
    _, history = pf.fit(build(), x, validation=x, **OPTIONS)
    assert history.start == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (np.random.default_rng(0).standard_normal((2000, 2)), {}),
        (rows(900), {}),
        (rows(2000), {"start": "given"}),
    ],
    ids=["normal columns", "few rows", "start as given"],
)
def test_without_need_there_is_none(x, options):
    flow, _ = pf.fit(build(), x, **OPTIONS | options)
    assert "MarginalGaussianization" not in layers_of(flow)


def test_a_column_of_equal_values_keeps_its_units():
    x = rows(3000)
    values = np.random.default_rng(0).normal(size=2700)
    x[:, 1] = np.concatenate([values, values[:300]])
    flow, _ = pf.fit(build(), x, **OPTIONS)
    layer = flow.bijection.bijections[-2]
    assert isinstance(layer, MarginalGaussianization)
    slopes = np.diff(np.asarray(layer.z_knots[1])) / np.diff(np.asarray(layer.x_knots[1]))
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)


def test_a_second_fit_keeps_the_layer(fitted):
    flow, _ = fitted
    again, history = pf.fit(flow, rows(4000, 2), **OPTIONS)
    assert layers_of(again) == layers_of(flow)
    for name in ("x_knots", "z_knots"):
        np.testing.assert_array_equal(
            getattr(again.bijection.bijections[-2], name), getattr(flow.bijection.bijections[-2], name)
        )
    assert history.start > history.gaussian


def test_members_of_an_ensemble_have_it():
    flows, history = pf.fit(pf.ensemble(build, 2, key=0), rows(3000), **OPTIONS)
    assert layers_of(flows[0])[-2] == "MarginalGaussianization"
    assert np.isfinite(history.best_validation)


def test_the_flow_is_saved_checked_and_differentiated(fitted, tmp_path):
    flow, _ = fitted
    x = rows(200, 5)
    pf.save(tmp_path / "model.safetensors", flow)
    np.testing.assert_array_equal(pf.load(tmp_path / "model.safetensors").log_prob(x), flow.log_prob(x))
    assert np.isfinite(jax.vmap(jax.grad(lambda row: flow.log_prob(row)))(x.astype(np.float32))).all()
    samples = np.asarray(flow.sample(2000, key=0))
    assert 0.5 < ((samples[:, 0] > 4.95) & (samples[:, 0] < 5.07)).mean() < 1.0
