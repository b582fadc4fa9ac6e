"""NumPyro: flows as distributions, as guides, and as maps for neural transport."""

import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from numpyro.infer.reparam import NeuTraReparam

import pushforward as pf
from pushforward.bijections import Affine, Elementwise
from pushforward.errors import MissingExtra, ShapeError
from pushforward.numpyro import AutoPushforward, FlowDistribution, FlowTransform

KEY = jax.random.key(0)
SMALL = {"n_layers": 2, "width": 8, "depth": 1}


@pytest.fixture(autouse=True)
def ranks_of_numpyro():
    """Allow rank promotion, which NumPyro uses."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def flow():
    """A flow that is not the identity."""
    flow = pf.iaf(2, key=0, **SMALL)
    noise = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf, trained: leaf + 0.2 * noise.normal(size=leaf.shape).astype(leaf.dtype) if trained else leaf,
        flow,
        pf.trainable(flow),
    )


def line(slope):
    """A conditional normal of unit variance, its mean `slope` times the context."""
    from pushforward.bijections import Conditional

    layer = Elementwise(Affine(), (1,))
    network = lambda context: jnp.array([slope * context[0], 0.0])  # noqa: E731
    return pf.Flow(pf.bases.Normal((1,)), Conditional(layer, network, (1,)), standardise_context=False)


def several_sites(y):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    with numpyro.plate("groups", 2):
        mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    numpyro.deterministic("sum", mean.sum())
    numpyro.sample("y", dist.Normal(mean[0] + weights[0], scale), obs=y)


def one_number(y):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("y", dist.Poisson(rate), obs=y)


def train(model, guide, data, steps, rate=0.01, particles=8):
    """Parameters and losses of SVI, compiled as one program: eager JAX compiles every operation separately."""
    svi = SVI(model, guide, numpyro.optim.Adam(rate), Trace_ELBO(particles))

    if steps == 0:
        return jax.jit(lambda data: svi.get_params(svi.init(KEY, data)))(data), None

    @jax.jit
    def run(data):
        state, losses = jax.lax.scan(lambda state, _: svi.update(state, data), svi.init(KEY, data), length=steps)
        return svi.get_params(state), losses

    return run(data)


# ---- FlowDistribution


def test_flow_distribution_matches_its_flow(flow):
    prior = FlowDistribution(flow)
    assert (prior.batch_shape, prior.event_shape, prior.event_dim) == ((), (2,), 1)
    assert prior.support == dist.constraints.real_vector
    x = prior.sample(KEY, (5, 3))
    assert x.shape == prior.shape((5, 3))
    np.testing.assert_allclose(prior.log_prob(x), flow.log_prob(x), rtol=1e-6)
    log_prob_one = lambda v: flow.log_prob_one(v, None, None)  # noqa: E731
    sample, single, mapped, gradient, expected = jax.jit(
        lambda key, x: (
            prior.sample(key),
            prior.log_prob(x[0, 0]),
            jax.vmap(prior.log_prob)(x[0]),
            jax.grad(prior.log_prob)(x[0, 0]),
            jax.grad(log_prob_one)(x[0, 0]),
        )
    )(KEY, x)
    np.testing.assert_allclose(sample, prior.sample(KEY), rtol=1e-5)
    np.testing.assert_allclose(single, flow.log_prob(x[0, 0]), rtol=1e-5)
    np.testing.assert_allclose(mapped, flow.log_prob(x[0]), rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_intermediates_match_log_prob(flow):
    prior = FlowDistribution(flow)
    for draw in (prior, prior.expand((4,)), prior.expand_by((3,)), prior.to_event(0)):
        x, intermediates = draw.sample_with_intermediates(KEY, (2,))
        np.testing.assert_allclose(draw.log_prob(x, intermediates), draw.log_prob(x), rtol=1e-4, atol=1e-5)
    marked = prior.log_prob(jnp.zeros(2), [jnp.array(7.0)])
    assert marked == 7.0, "log_prob must return the intermediates"


def test_path_gradient_does_not_change_values(flow):
    x, intermediates = FlowDistribution(flow).sample_with_intermediates(KEY, (5,))
    path_x, path_intermediates = FlowDistribution(flow, path_gradient=True).sample_with_intermediates(KEY, (5,))
    np.testing.assert_array_equal(x, path_x)
    np.testing.assert_array_equal(
        intermediates[0], path_intermediates[0], "the density must be that of the sampling pass"
    )


def test_leading_axes_of_the_context_are_the_batch_shape():
    prior = FlowDistribution(line(2.0), context=jnp.array([[[0.0]], [[1.0]], [[2.0]]]))
    assert (prior.batch_shape, prior.event_shape) == ((3, 1), (1,))
    wide = prior.expand((3, 4))
    x, intermediates = wide.sample_with_intermediates(KEY, (5,))
    assert x.shape == (5, 3, 4, 1)
    expected = dist.Normal(jnp.array([0.0, 2.0, 4.0])[:, None, None], 1.0).to_event(1).log_prob(x)
    np.testing.assert_allclose(wide.log_prob(x), expected, rtol=1e-5)
    np.testing.assert_allclose(wide.log_prob(x, intermediates), expected, rtol=1e-5)


def test_flow_distribution_is_a_pytree(flow):
    prior = FlowDistribution(line(1.0), context=jnp.ones((2, 1), jnp.float32))
    for one in (FlowDistribution(flow, path_gradient=True), prior):
        leaves, structure = jax.tree.flatten(one)
        assert leaves
        again = jax.tree.unflatten(structure, leaves)
        x = one.sample(KEY)
        np.testing.assert_allclose(again.log_prob(x), one.log_prob(x), rtol=1e-5)
        assert (again.batch_shape, again._path_gradient) == (one.batch_shape, one._path_gradient)
        np.testing.assert_allclose(jax.jit(lambda d, x: d.log_prob(x))(one, x), one.log_prob(x), rtol=1e-5)
        assert jax.tree.structure(jax.tree.map(lambda leaf: None, one)) is not None


def test_path_gradient_is_zero_where_guide_equals_target(flow):
    def largest(path):
        def bound(params):
            guide = FlowDistribution(eqx.combine(params, frozen), path_gradient=path)
            x, intermediates = guide.sample_with_intermediates(KEY)
            return guide.log_prob(x, intermediates) - flow.log_prob_one(x, None, None)

        return jnp.max(jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(jax.grad(bound)(params))]))

    params, frozen = eqx.partition(flow, pf.trainable(flow))
    path_gradient, total_gradient = jax.jit(lambda: (largest(True), largest(False)))()
    assert path_gradient < 1e-4
    assert total_gradient > 1e-2


@pytest.mark.slow
def test_nuts_with_a_flow_as_prior():
    """x from a flow that is N(1, 1), y from N(x, 1) at y = 3: x given y is N(2, 1/2). Five standard errors."""
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(shift=1.0), (1,)))

    def model():
        x = numpyro.sample("x", FlowDistribution(flow))
        numpyro.sample("y", dist.Normal(x[0], 1.0), obs=3.0)

    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=1000, progress_bar=False)
    mcmc.run(KEY)
    x = mcmc.get_samples()["x"][:, 0]
    error = np.sqrt(0.5 / numpyro.diagnostics.effective_sample_size(np.asarray(x)[None]))
    assert abs(float(x.mean()) - 2.0) < 5 * error
    assert 0.6 < float(x.std()) / np.sqrt(0.5) < 1.4


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: FlowDistribution("nsf"), TypeError, "flow: expected a distribution of pushforward"),
        (lambda: FlowDistribution(line(1.0)), ShapeError, r"conditional, expected shape \(..., 1\), got none"),
        (lambda: FlowDistribution(line(1.0), jnp.ones(2)), ShapeError, r"expected shape \(..., 1\), got \(2,\)"),
        (lambda: FlowDistribution(pf.bases.Normal((2,)), jnp.ones(2)), ShapeError, "unconditional"),
        (lambda: FlowDistribution(pf.bases.Normal((2,))).log_prob(jnp.ones(3)), ShapeError, r"x: .*got \(3,\)"),
        (lambda: FlowTransform("nsf"), TypeError, "bijection: expected a bijection"),
        (lambda: FlowTransform(line(1.0).bijection), ShapeError, "takes a context"),
        (lambda: FlowTransform(Elementwise(Affine(), (2,)))(jnp.ones(3)), ShapeError, r"values .*got \(3,\)"),
        (lambda: AutoPushforward(one_number, "nosuch"), ValueError, "flow: expected one of .*, got 'nosuch'"),
        (lambda: AutoPushforward(one_number, 3), TypeError, "flow: expected a recipe's name"),
        (lambda: AutoPushforward(one_number, pf.iaf, width=3), ValueError, "width: options are for recipes by name"),
        (lambda: AutoPushforward(one_number, init_scale=0.0), ValueError, "init_scale: expected a positive number"),
        (
            lambda: run_guide(pf.linear_flow(2, key=0)),
            ShapeError,
            r"1 latent numbers, expected shape \(1,\), got \(2,\)",
        ),
        (lambda: run_guide(line(1.0)), ShapeError, "unconditional flow"),
        (lambda: run_guide(lambda dim: dim), TypeError, "expected the function to return a flow, got 1"),
        (lambda: run_guide("iaf", wide=3), TypeError, "wide"),
        (lambda: run_guide(pf.cast(pf.linear_flow(1, key=0), "float16")), ValueError, "flow: expected .* got float16"),
    ],
)
def test_wrong_use_raises_a_clear_error(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def run_guide(flow, **options):
    with numpyro.handlers.seed(rng_seed=0):
        return AutoPushforward(one_number, flow, **options)(jnp.array([3.0]))


def test_import_without_numpyro_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pushforward.numpyro")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(MissingExtra, match=r'pip install "pushforward\[numpyro\]"'):
        import pushforward.numpyro  # noqa: F401


# ---- AutoPushforward


@pytest.mark.parametrize("path_gradient", [pytest.param(False, marks=pytest.mark.slow), True])
def test_guide_of_one_latent_number_matches_the_exact_posterior(path_gradient):
    """Gamma(2, 1) and ten Poisson counts of sum 30: the rate is Gamma(32, 11), known with its evidence."""
    counts = jnp.array([3.0] * 10)
    guide = AutoPushforward(one_number, "iaf", path_gradient=path_gradient, **SMALL)
    params, losses = train(one_number, guide, counts, 400)
    low, median, high = jax.jit(lambda: guide.quantiles(params, [0.1587, 0.5, 0.8413])["rate"])()
    exact = dist.Gamma(32.0, 11.0)
    np.testing.assert_allclose(median, (32 - 1 / 3) / 11, rtol=0.06)  # approximate median of a gamma distribution
    assert 0.85 < float(high - low) / (2 * np.sqrt(32) / 11) < 1.15
    rate = 2.0
    evidence = dist.Gamma(2.0, 1.0).log_prob(rate) + dist.Poisson(rate).log_prob(counts).sum() - exact.log_prob(rate)
    assert abs(float(-losses[-50:].mean() - evidence)) < 0.1


@pytest.mark.slow
def test_guide_of_several_sites_and_constraints():
    y = jnp.array([0.5, 1.0, 1.5])
    guide = AutoPushforward(several_sites, "planar_flow", prefix="g", n_layers=4)
    params, losses = train(several_sites, guide, y, 300)
    assert losses[-50:].mean() < losses[:20].mean()
    assert set(params) == {"g_flow"}
    samples = jax.jit(lambda: guide.sample_posterior(KEY, params, y, sample_shape=(50,)))()
    assert {name: value.shape for name, value in samples.items()} == {
        "weights": (50, 3), "scale": (50,), "mean": (50, 2), "sum": (50,),
    }  # fmt: skip
    np.testing.assert_allclose(samples["weights"].sum(1), 1.0, rtol=1e-5)
    assert samples["scale"].min() > 0
    posterior, transform = guide.get_posterior(params), guide.get_transform(params)
    z, expected, log_probs, z_again = jax.jit(lambda: transport(guide.get_base_dist(), transform, posterior))()
    np.testing.assert_allclose(log_probs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(z_again, z, atol=1e-3)


def transport(base, transform, posterior):
    z = base.sample(KEY, (7,))
    x = transform(z)
    return z, base.log_prob(z) - transform.log_abs_det_jacobian(z, x), posterior.log_prob(x), transform.inv(x)


@pytest.mark.slow
def test_predictive_with_a_guide():
    guide = AutoPushforward(one_number, "iaf", **SMALL)
    params, _ = train(one_number, guide, jnp.array([3.0] * 10), 400)
    predicted = Predictive(one_number, guide=guide, params=params, num_samples=600)(KEY, None)
    assert predicted["y"].shape == (600,)
    np.testing.assert_allclose(guide.median(params)["rate"], guide.quantiles(params, [0.5])["rate"][0])
    assert abs(float(predicted["y"].mean()) - 32 / 11) < 5 * np.sqrt((32 / 11 + 32 / 121) / 600)


def test_guide_starts_at_the_initial_location():
    start = numpyro.infer.init_to_value(values={"rate": 5.0})
    guide = AutoPushforward(one_number, "iaf", init_scale=0.01, init_loc_fn=start)
    params, _ = train(one_number, guide, jnp.array([3.0]), 0)
    samples = guide.get_flow(params).sample(100, key=0)
    np.testing.assert_allclose(samples, np.log(5.0), atol=0.06)


def test_a_flow_as_argument_is_used_unchanged():
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(shift=3.0, scale=0.5), (1,)))
    guide = AutoPushforward(one_number, flow)
    params, _ = train(one_number, guide, jnp.array([3.0]), 0)
    trained_flow = guide.get_flow(params)
    np.testing.assert_allclose(trained_flow.log_prob([[1.0]]), flow.log_prob([[1.0]]), rtol=1e-6)


@pytest.mark.slow
def test_neural_transport():
    """NUTS on a funnel, through a guide of random weights: v stays N(0, 3). Five standard errors."""

    def funnel(data=None):
        v = numpyro.sample("v", dist.Normal(0, 3))
        numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)))

    guide = AutoPushforward(funnel, "iaf", n_layers=2, width=16, depth=1)
    params, _ = train(funnel, guide, None, 0)
    noise = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * noise.normal(size=leaf.shape).astype(leaf.dtype), params)
    neutra = NeuTraReparam(guide, params)
    mcmc = MCMC(
        NUTS(neutra.reparam(funnel)), num_warmup=200, num_samples=300, num_chains=2, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mcmc.run(KEY)
    draws = jax.jit(neutra.transform_sample)(mcmc.get_samples(group_by_chain=True)["auto_shared_latent"])
    assert draws["v"].shape == (2, 300)
    error = 3 / np.sqrt(numpyro.diagnostics.effective_sample_size(np.asarray(draws["v"])))
    assert abs(float(draws["v"].mean())) < 5 * error
    assert 0.6 < float(draws["v"].std()) / 3 < 1.6
