"""Recipes beyond the battery: defaults, bases, one dimension, and the methods of the slow direction."""

import equinox as eqx
import numpy as np
import pytest
from compiling import quickly_compiled
from sampling import quick_few
from zoo import CONTEXT_DIM, IMAGE_RECIPES, RECIPES

import pushforward as pf
from pushforward.errors import ShapeError

SHAPE = (4, 4, 1)


def small(name, dim, context, **more):
    recipe = RECIPES[name]
    options = {key: value for key, value in {"width": 4, **recipe.options}.items() if value is not None}
    return recipe.make(dim=dim, context_dim=context, key=0, **options, **more)


@pytest.mark.parametrize(("dim", "context"), [(1, CONTEXT_DIM), (3, None)])
@pytest.mark.parametrize(
    ("general", "named", "options"),
    [
        (pf.coupling_flow, pf.nsf, {}),
        (pf.coupling_flow, pf.nsf, {"transformer": "rational_quadratic"}),
        (pf.autoregressive_flow, pf.nsf_ar, {}),
        (pf.autoregressive_flow, pf.nsf_ar, {"transformer": "rational_quadratic"}),
        (pf.autoregressive_flow, pf.maf, {"transformer": "affine"}),
        (pf.inverse_autoregressive_flow, pf.iaf, {}),
    ],
)
def test_a_general_flow_is_the_named_recipe_of_its_transformer(general, named, options, dim, context):
    assert eqx.tree_equal(general(dim, context_dim=context, key=0, **options), named(dim, context_dim=context, key=0))


@pytest.mark.parametrize("name", [*RECIPES, *IMAGE_RECIPES, "dequantisation_flow"])
def test_base(name):
    """Every recipe takes a base; a shape that does not fit is an error."""
    if name in RECIPES:
        shape, build = (3,), lambda base: small(name, 3, None, base=base)
    else:
        recipe, options = pf.dequantisation_flow, {"levels": 4}
        if name in IMAGE_RECIPES:
            recipe, options = IMAGE_RECIPES[name].make, {"n_layers": 1, **IMAGE_RECIPES[name].options}
        shape, build = SHAPE, lambda base: recipe(SHAPE, width=4, key=0, base=base, **options)
    base = pf.bases.StudentT(shape, 4.0)
    assert eqx.tree_equal(build(base).base, base)
    with pytest.raises(ShapeError, match=r"^base: expected the shape of the bijection"):
        build(pf.bases.Normal((2,)))


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
