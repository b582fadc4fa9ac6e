"""Recipes beyond the battery: one dimension, and agreement of the methods of the slow direction."""

import numpy as np
import pytest
from compiling import quickly_compiled
from sampling import quick_few
from zoo import CONTEXT_DIM, RECIPES

import pushforward as pf


def small(name, dim, context):
    recipe = RECIPES[name]
    options = {key: value for key, value in {"width": 4, **recipe.options}.items() if value is not None}
    return recipe.make(dim=dim, context_dim=context, key=0, **options)


@pytest.mark.parametrize("name", quick_few([name for name in RECIPES if " " not in name], "nsf", "bnaf"))
def test_one_dimension_with_a_context(name):
    """log_prob of samples of shape (n, 1) agrees with sample_and_log_prob."""
    flow = small(name, 1, CONTEXT_DIM)
    context = np.ones(CONTEXT_DIM)
    with quickly_compiled():
        x, log_probs = flow.sample_and_log_prob(16, key=0, context=context)
        assert x.shape == (16, 1)
        np.testing.assert_allclose(flow.log_prob(x, context), log_probs, rtol=1e-4, atol=1e-4)


def test_one_dimension_without_a_context():
    flow = pf.maf(dim=1, width=4, n_layers=2, key=0)
    x, log_probs = flow.sample_and_log_prob(16, key=0)
    np.testing.assert_allclose(flow.log_prob(x), log_probs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", quick_few(("maf", "nsf_ar", "iaf"), "maf"))
def test_methods_of_the_slow_direction_agree(name):
    flows = [getattr(pf, name)(dim=5, width=16, method=m, key=0) for m in ("cached", "jacobi", "sequential")]
    x = np.random.default_rng(0).normal(size=(16, 5))
    log_probs = [np.asarray(flow.log_prob(x)) for flow in flows]
    samples = [np.asarray(flow.sample(16, key=0)) for flow in flows]
    for log_prob, sample in zip(log_probs[1:], samples[1:], strict=True):
        np.testing.assert_allclose(log_prob, log_probs[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sample, samples[0], rtol=1e-4, atol=1e-4)
