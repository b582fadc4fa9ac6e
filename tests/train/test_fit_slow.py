"""Maximum likelihood, slow tests: robustness, over-fitting, quality against known densities, with their bounds."""

import math

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.datasets import toy, toy_log_density
from pushforward.train.data import Rows, gaussian_log_likelihood

pytestmark = pytest.mark.slow


def log_likelihood(flow, x):
    return float(np.asarray(flow.log_prob(x), np.float64).mean())


def numbers(flow):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(flow) if isinstance(leaf, jax.Array | np.ndarray)]


def test_deep_affine_couplings_stay_finite_at_a_high_learning_rate():
    """32 layers at 1e-2 on the bananas: every loss, weight and sample finite."""
    flow = pf.real_nvp(dim=2, n_layers=32, width=32, key=0)
    flow, history = pf.fit(flow, toy("two_bananas", 4000), key=0, learning_rate=1e-2, max_epochs=40, progress=False)
    assert np.isfinite(history.train).all()
    assert np.isfinite(history.validation).all()
    assert history.skipped_steps == 0
    assert all(np.isfinite(leaf).all() for leaf in numbers(flow))
    assert np.isfinite(flow.sample(2000, key=1)).all()


@pytest.mark.parametrize("recipe", ["real_nvp", "nsf"])
def test_a_wide_gaussian_reaches_its_entropy(recipe):
    """N(0, 100^2) in two dimensions, one coupling; `fit` standardises, so the width costs nothing. Bound: 0.05 nat,
    of which the standard error of the mean over 20,000 test rows is 0.007."""
    random = np.random.default_rng(0)
    flow = getattr(pf, recipe)(dim=2, n_layers=1, width=16, key=0)
    flow, _ = pf.fit(flow, 100 * random.standard_normal((8000, 2)), key=0, max_epochs=30, progress=False)
    test = 100 * random.standard_normal((20_000, 2))
    assert abs(log_likelihood(flow, test) + 1 + math.log(2 * math.pi) + 2 * math.log(100)) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_thirty_rows_in_five_dimensions_are_not_over_fitted(seed):
    """Test likelihood of the default flow at most 0.3 nat below that of the Gaussian fitted to the same 30 rows."""
    random = np.random.default_rng(seed)
    scales = np.array([1.0, 2.0, 0.1, 30.0, 5.0])
    x, test = random.standard_normal((30, 5)) * scales, random.standard_normal((5000, 5)) * scales
    flow, _ = pf.fit(pf.nsf(dim=5, key=seed), x, key=seed, progress=False)
    assert log_likelihood(flow, test) > gaussian_log_likelihood(Rows(x, None, None), Rows(test, None, None)) - 0.3


def test_log_prob_does_not_depend_on_the_batch_size():
    """Another batch size is another order of sums: 1e-5."""
    flow, _ = pf.fit(
        pf.nsf(dim=2, width=16, n_layers=2, key=0), toy("moons", 2000), key=0, max_epochs=3, progress=False
    )
    x = toy("moons", 1500, seed=1)
    batch, single = np.asarray(flow.log_prob(x)), np.asarray([float(flow.log_prob(row)) for row in x[:40]])
    assert np.abs(batch[:40] - single).max() < 1e-5


@pytest.mark.parametrize(("name", "gap"), [("moons", 0.08), ("eight_gaussians", 0.10), ("rings", 0.25)])
def test_defaults_approach_the_exact_density(name, gap):
    """Mean gap to the exact density on the same 10,000 test rows: an estimate of KL(truth, flow), so the sampling error
    of the entropy cancels."""
    x, test = toy(name, 10_000, seed=0), toy(name, 10_000, seed=1)
    flow, history = pf.fit(pf.nsf(dim=2, key=0), x, key=0, progress=False)
    kl = float(np.mean(toy_log_density(name, test))) - log_likelihood(flow, test)
    assert -0.02 < kl < gap
    assert history.best_validation > history.gaussian + 0.3


def test_likelihood_does_not_depend_on_units():
    """The same data at scale 1e-9 and 1e9: likelihoods equal up to the change of unit, to 1e-3 (float32 scores)."""
    x, test = toy("moons", 4000), toy("moons", 4000, seed=1)
    figures = []
    for scale in (1.0, 1e-9, 1e9):
        flow = pf.nsf(dim=2, n_layers=2, width=16, key=0)
        flow, _ = pf.fit(flow, scale * (x + 20), key=0, max_epochs=10, progress=False)
        figures.append(log_likelihood(flow, scale * (test + 20)) + 2 * math.log(scale))
    assert max(figures) - min(figures) < 1e-3
