"""The transformers in sizes for tests, and helpers of their test files."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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

TRANSFORMERS = {
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


def perturbed(transformer, deviation, seed=0):
    """The transformer with normal noise added to every trained leaf."""
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(transformer, pf.trainable(transformer))
    trained = jax.tree.map(lambda a: a + jnp.asarray(deviation * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(trained, rest)


def perturbed_batch(transformer, deviation, n):
    """The arrays of n perturbed transformers, stacked leaf by leaf, and the static rest."""
    parts = [eqx.partition(perturbed(transformer, deviation, seed), eqx.is_array) for seed in range(n)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arrays for arrays, _ in parts)), parts[0][1]
