"""A flow that starts from a mixture of normals: EM first, then layers that start at the identity."""

import equinox as eqx
import jax
import numpy as np

from pushforward.bases import Mixture, MultivariateNormal
from pushforward.core.flow import Flow
from pushforward.tabular.baselines import best_mixture
from pushforward.train.data import Rows
from pushforward.train.split import hold_out
from pushforward.train.units import initialised

_SHARE, _FEWEST = 5, 10  # of the training rows decides the size where none are held out
_MIN_SCALE = 1e-4  # EM adds 1e-6 to every variance, so that none of its deviations lies below 1e-3


def with_mixture(flow: Flow, train: Rows, held: Rows | None) -> Flow:
    """The flow, its layers started from the rows, over a mixture that EM has fitted to what they make of the rows.

    Its size is the one that is best on the held-out rows. Without such a fifth of the training rows, groups together,
    decides it, and EM then takes all of them; of fewer than ten, or one group, it is one normal law.

    Raises:
        MissingExtra: without scikit-learn.
    """
    flow = initialised(flow, train)
    z = _latent(flow, train)
    if held is not None:
        best, _ = best_mixture(z, _latent(flow, held))
    else:
        size = 1
        if len(z) >= _FEWEST and (train.groups is None or len(np.unique(train.groups)) > 1):
            parts = hold_out(len(z), len(z) // _SHARE, np.random.default_rng(0), train.groups)
            size = best_mixture(*(z[part] for part in parts))[0].n_components
        best, _ = best_mixture(z, z, components=[size])
    components = [
        MultivariateNormal(flow.shape[0], loc=loc, covariance=covariance, min_scale=_MIN_SCALE)
        for loc, covariance in zip(best.means_, best.covariances_, strict=True)
    ]
    return eqx.tree_at(lambda f: f.base, flow, Mixture(components, weights=best.weights_))


def _latent(flow: Flow, rows: Rows) -> np.ndarray:
    """The rows as the base sees them."""
    given = None if flow.bijection.context_shape is None else rows.context

    def inverse(x: jax.Array, context: jax.Array | None) -> jax.Array:
        return flow.bijection.inverse_and_log_det(x, context if context is None else flow.embed_context(context))[0]

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(inverse, (0, None if given is None else 0)))(rows.x, given))
