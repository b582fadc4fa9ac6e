"""The scalar laws with sizes for tests, and what their own test files share."""

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


def wild(law, deviation, seed=0):
    """The law with normal noise added to every trained leaf."""
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(law, pf.trainable(law))
    moved = jax.tree.map(lambda a: a + jnp.asarray(deviation * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(moved, rest)


def wild_batch(law, deviation, n):
    """n such laws, stacked leaf by leaf, and the axes to map over."""
    laws = [eqx.partition(wild(law, deviation, seed), eqx.is_array) for seed in range(n)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arrays for arrays, _ in laws)), laws[0][1]
