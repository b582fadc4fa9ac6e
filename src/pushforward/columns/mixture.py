"""A flow that starts from a mixture of normals: EM first, then layers that start at the identity."""

import equinox as eqx
import jax
import numpy as np

from pushforward.baselines import best_mixture
from pushforward.bases import Mixture, MultivariateNormal
from pushforward.flow import Flow
from pushforward.train.data import Rows
from pushforward.train.units import initialised

_MIN_SCALE = 1e-4  # EM adds 1e-6 to every variance, so that none of its deviations lies below 1e-3


def with_mixture(flow: Flow, train: Rows, held: Rows) -> Flow:
    """The flow, its layers started from the rows, over a mixture that EM has fitted to what they make of the rows.

    Raises:
        MissingExtra: without scikit-learn.
    """
    flow = initialised(flow, train)
    parts = [_latent(flow, rows) for rows in (train, held)]
    best, _ = best_mixture(*parts)
    components = [
        MultivariateNormal(flow.shape[0], loc=loc, covariance=covariance, min_scale=_MIN_SCALE)
        for loc, covariance in zip(best.means_, best.covariances_, strict=True)
    ]
    return eqx.tree_at(lambda f: f.base, flow, Mixture(components, weights=best.weights_))


def _latent(flow: Flow, rows: Rows) -> np.ndarray:
    """The rows as the base sees them."""
    given = None if flow.bijection.context_shape is None else rows.context

    def inverse(x: jax.Array, context: jax.Array | None) -> jax.Array:
        return flow.bijection.inverse_and_log_det(x, context if context is None else flow._embedded(context))[0]

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(inverse, (0, None if given is None else 0)))(rows.x, given))
