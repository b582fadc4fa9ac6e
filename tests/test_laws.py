"""Scalar maps: how exactly they are inverted, far out, at knots and with wild leaves; and that no fit beats the
truth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import (
    Bernstein,
    Chain,
    CubicSpline,
    HeavyTails,
    LinearRationalSpline,
    LinearSpline,
    MixtureLogistic,
    MixtureNormal,
    MonotoneIntegral,
    NonlinearSquared,
    NormalToLogistic,
    QuadraticSpline,
    RationalQuadraticSpline,
    Sigmoidal,
    SumOfSquares,
)

LAWS = {
    "bernstein": Bernstein,
    "cubic": CubicSpline,
    "dense_sigmoidal": lambda: Sigmoidal(6, depth=2),
    "heavy_tails": HeavyTails,
    "linear": LinearSpline,
    "linear_rational": LinearRationalSpline,
    "mixture_gaussian": lambda: Chain([NormalToLogistic(), MixtureNormal(4)]),
    "mixture_logistic": lambda: MixtureLogistic(4),
    "mixture_normal": lambda: MixtureNormal(4),
    "monotone_integral": MonotoneIntegral,
    "quadratic": QuadraticSpline,
    "rational_quadratic": RationalQuadraticSpline,
    "sigmoidal": lambda: Sigmoidal(6),
    "squared": NonlinearSquared,
    "sum_of_squares": SumOfSquares,
}
BACKWARD = {"float32": 1e-6, "float64": 1e-14}


def wild(law, deviation, seed=0):
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(law, pf.trainable(law))
    moved = jax.tree.map(lambda a: a + jnp.asarray(deviation * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(moved, rest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAWS)
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
            law = wild(LAWS[name](), deviation)
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


@pytest.mark.slow
@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("name", LAWS)
def test_no_fit_beats_the_truth(name, truth):
    """On 20,000 fresh points the mean of log q - log p is below zero by Gibbs' inequality: 5 standard errors."""
    truth = TRUTHS[truth]
    x = truth.rvs(size=(4000, 1), random_state=0)
    test = truth.rvs(size=(20_000, 1), random_state=1)
    flow = pf.elementwise_flow(1, key=0, transformer=LAWS[name](), n_layers=1)
    flow, _ = pf.fit(flow, x, key=0, max_epochs=30, progress=False)
    gain = np.asarray(flow.log_prob(test), np.float64) - truth.logpdf(test[:, 0])
    assert gain.mean() < 5 * gain.std() / np.sqrt(len(gain))
    assert gain.mean() > -0.3
