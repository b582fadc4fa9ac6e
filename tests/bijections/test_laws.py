"""Scalar maps: how exactly they are inverted, far out, at knots and with wild leaves; and that no fit beats the
truth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampling import quick_few
from scipy import stats
from transformers import TRANSFORMERS, perturbed, perturbed_batch

import pushforward as pf
from pushforward.bijections import (
    HeavyTails,
)

BACKWARD = {"float32": 1e-6, "float64": 1e-14}


@pytest.mark.parametrize("dtype", quick_few(("float32", "float64"), "float32"))
@pytest.mark.parametrize("name", quick_few(TRANSFORMERS, *list(TRANSFORMERS)[::3]))
def test_inverse_errors(name, dtype):
    """Backward: the image of what was found, against what was asked; forward: against the point it came from.

    kappa is what rounding of z and of x alone can do: |z| / (dz/dx) + |x|.
    """
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(np.concatenate([np.linspace(-50, 50, 401), [5, -5, 1.25, 2.5, 0, 1e-3, 4.999999]]), dtype)

        @jax.jit
        def both(law, x):
            z, log_slope = jax.vmap(law.inverse_and_log_det)(x)
            found, _ = jax.vmap(law.forward_and_log_det)(z)
            again, _ = jax.vmap(law.inverse_and_log_det)(found)
            return z, log_slope, found, again

        run = eqx.filter_jit(both)
        for deviation in (0.0, 1.0, 10.0):
            law = perturbed(TRANSFORMERS[name](), deviation)
            z, log_slope, found, again = (np.asarray(a, np.float64) for a in run(law, x))
            assert np.isfinite([z, log_slope, found, again]).all()
            scale = np.maximum(np.abs(z), 1)
            eps = float(jnp.finfo(dtype).eps)
            kappa = np.abs(z) / np.exp(log_slope) + np.abs(np.asarray(x, np.float64))
            # one rounding of x moves z by eps |x| dz/dx: no x in this type has a smaller backward error
            least = eps * np.abs(found) * np.exp(log_slope)
            assert (np.abs(again - z) <= BACKWARD[dtype] * scale + 2 * least).all()
            assert (np.abs(found - x) <= 50 * eps * (kappa + 1)).all()


TRUTHS = {
    "normal": stats.norm(),
    "laplace": stats.laplace(),
    "uniform": stats.uniform(-1, 2),
    "gamma": stats.gamma(3.0),
    "student": stats.t(4.0),
}


# What a law cannot be: every other fit must come within 0.3 nats, or the bound above it says nothing.
CANNOT = {
    ("heavy_tails", "uniform"): "its tails are heavier than those of a normal, the truth has none",
    ("mixture_normal", "student"): "over a normal base, instead of a logistic one, its tails fall like exp(-x^4 / 8)",
}


@pytest.mark.slow
@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_no_fit_beats_the_truth(name, truth):
    """On 20,000 fresh points the mean of log q - log p is below zero by Gibbs' inequality: 5 standard errors."""
    is_possible, truth = (name, truth) not in CANNOT, TRUTHS[truth]
    x = truth.rvs(size=(4000, 1), random_state=0)
    test = truth.rvs(size=(20_000, 1), random_state=1)
    flow = pf.elementwise_flow(1, key=0, transformer=TRANSFORMERS[name](), n_layers=1)
    flow, _ = pf.fit(flow, x, key=0, max_epochs=30, progress=False)
    gain = np.asarray(flow.log_prob(test), np.float64) - truth.logpdf(test[:, 0])
    assert gain.mean() < 5 * gain.std() / np.sqrt(len(gain))
    assert (gain.mean() > -0.3) == is_possible


# How far out the grid goes: power laws have mass far out; two layers of normal tails leave float32's range at 1e10.
REACH = {"heavy_tails": 1e6, "mixture_normal": 500.0}
# Heavy tails are for one layer, as their page says: a power of a power leaves 1.2 % of the mass beyond 1e9.
ONE_LAYER = ("heavy_tails",)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "trained"])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_density_integrates_to_one(name, dim, kind):
    """To 1e-3, element-wise in one dimension and autoregressive in two, on a grid dense in the middle, wide far out."""
    recipe = pf.elementwise_flow if dim == 1 else pf.autoregressive_flow
    options = {} if dim == 1 else {"width": 16, "depth": 1}
    flow = recipe(dim, key=0, transformer=TRANSFORMERS[name](), n_layers=1 if name in ONE_LAYER else 2, **options)
    data = np.random.default_rng(0).standard_normal((2000, dim)) ** 3
    flow, _ = pf.fit(flow, data, key=0, max_epochs=1 if kind == "random" else 10, progress=False)
    if kind == "random":
        flow = perturbed(flow, 1.0 if dim == 1 else 0.08)  # as the battery's recipes
    n, reach = 400_000 if dim == 1 else 2400, np.arcsinh(REACH.get(name, 1e4))
    t = (np.arange(n) + 0.5) / n * 2 * reach - reach
    place, weight = np.sinh(t), np.cosh(t) * 2 * reach / n
    grid = np.stack(np.meshgrid(*[place] * dim, indexing="ij"), -1).reshape(-1, dim)
    density = np.exp(np.asarray(flow.log_prob(grid), np.float64)).reshape((n,) * dim)
    for _ in range(dim):
        density = np.tensordot(weight, density, 1)
    assert abs(density - 1) < 1e-3


PIECEWISE = ("cubic", "linear", "linear_rational", "quadratic", "rational_quadratic")


@pytest.mark.as_compiled
@pytest.mark.parametrize("name", quick_few(PIECEWISE, "linear_rational", "quadratic"))
def test_half_a_million_points_in_random_bins(name):
    """Logits of deviation 10, float32: no NaN, increasing, and back within eight last places of the box."""
    arrays, static = perturbed_batch(TRANSFORMERS[name](), 10.0, 256)
    x = np.sort(np.random.default_rng(1).uniform(-5.5, 5.5, 2048)).astype(np.float32)

    @jax.jit
    @jax.vmap
    def figures(arrays):
        law = eqx.combine(arrays, static)
        z, log_slope = jax.vmap(law.inverse_and_log_det)(jnp.asarray(x))
        found, _ = jax.vmap(law.forward_and_log_det)(z)
        return z, log_slope, found, *jax.vmap(law.inverse_and_log_det)(found)

    z, log_slope, found, again, beside = (np.asarray(a, np.float64) for a in figures(arrays))
    assert all(np.isfinite(a).all() for a in (z, log_slope, found, again, beside))
    eps, box = np.finfo(np.float32).eps, 10.0
    assert (np.diff(z) >= -4 * eps * box).all()
    least = eps * np.abs(found) * np.exp(log_slope)  # what one rounding of x does to z
    assert (np.abs(again - z) <= 8 * eps * box + 2 * least).all()
    flattest = np.exp(np.minimum(log_slope, beside))  # where the map is flat, of the two ends of the error
    assert (np.abs(found - x) <= 50 * eps * (np.abs(z) / flattest + np.abs(x) + 1)).all()


@pytest.mark.parametrize("name", ["bernstein", "cubic", "linear_rational", "quadratic", "sum_of_squares"])
def test_the_density_is_continuous_at_the_edge_of_the_box(name):
    with jax.enable_x64(True):
        law = perturbed(TRANSFORMERS[name](), 1.0)
        for edge in (-law.bound, law.bound):
            z, log_slope = jax.vmap(law.inverse_and_log_det)(jnp.asarray([edge - 1e-6, edge + 1e-6]))
            score = -(z**2) / 2 + log_slope
            assert abs(score[0] - score[1]) < 1e-4


FLOORS = {
    "bernstein": lambda law: 12 * law.min_share,
    "monotone_integral": lambda law: 1e-3,
    "squared": lambda law: 0.05 * np.exp(4 * np.tanh(np.asarray(law.log_scale) / 4)),
    "sum_of_squares": lambda law: law.min_slope * np.exp(4 * np.tanh(np.asarray(law.log_scale) / 4)),
}


@pytest.mark.parametrize("name", quick_few(FLOORS, "sum_of_squares", "squared"))
def test_the_slope_stays_above_its_stated_floor(name):
    x = jnp.linspace(-8, 8, 4001)
    for seed in range(5):
        law = perturbed(TRANSFORMERS[name](), 10.0, seed)
        log_slope = jax.vmap(law.inverse_and_log_det)(x)[1]
        assert np.exp(log_slope.min()) >= FLOORS[name](law) * (1 - 1e-5)


def test_heavy_tails_have_the_tails_of_their_index():
    """Over a normal base P(x > t) falls like t^(-1 / index): the slope of log P over log t, far out."""
    with jax.enable_x64(True):
        law = HeavyTails()
        index = float(law._index(jnp.asarray(True)))
        t = jnp.asarray([1e6, 1e8])
        log_tail = stats.norm.logsf(np.asarray(jax.vmap(law.inverse_and_log_det)(t)[0]))
        assert np.diff(log_tail) / np.log(100) == pytest.approx(-1 / index, rel=1e-3)


def test_a_mixture_with_the_gaussian_quantile_is_that_mixture():
    """Over a normal base the density is the mixture's own."""
    with jax.enable_x64(True):
        law = perturbed(TRANSFORMERS["mixture_gaussian"](), 0.5)
        mixture = law.bijections[1]
        weights = np.exp(mixture.logits) / np.exp(mixture.logits).sum()
        scales = np.exp(7 * np.tanh(mixture.log_scales / 7))
        x = jnp.linspace(-6, 6, 50)
        z, log_slope = jax.vmap(law.inverse_and_log_det)(x)
        expected = np.log(
            sum(w * stats.norm.pdf(x, m, s) for w, m, s in zip(weights, mixture.means, scales, strict=True))
        )
        np.testing.assert_allclose(stats.norm.logpdf(z) + log_slope, expected, rtol=1e-12)
