"""Initialisation of a flow over a mixture of normals, which EM fits to the rows."""

import equinox as eqx
import jax
import numpy as np

from pushforward.bases import Mixture, MultivariateNormal
from pushforward.core.flow import Flow
from pushforward.tabular.baselines import best_mixture
from pushforward.train.data import Rows
from pushforward.train.split import hold_out
from pushforward.train.units import initialise_flow

_PARTS, _FEWEST = 5, 10  # one of so many parts validates the size, if there are so many training rows
_MIN_SCALE = 1e-4  # EM adds 1e-6 to every variance, so that none of its deviations lies below 1e-3


def with_mixture(flow: Flow, train: Rows, validation: Rows | None) -> Flow:
    """The flow with initialised layers, over a mixture of normals that EM fits to the rows in latent space.

    The number of components is the best on the validation rows. Without validation rows it is the best on a fifth of
    the training rows, which does not divide groups, and EM then fits all of them; it is 1 for fewer than ten rows, or a
    single group.

    Raises:
        MissingExtra: without scikit-learn.
    """
    flow = initialise_flow(flow, train)
    z = _latent(flow, train)
    if validation is not None:
        best, _ = best_mixture(z, _latent(flow, validation))
    else:
        size = 1
        if len(z) >= _FEWEST and (train.groups is None or len(np.unique(train.groups)) > 1):
            parts = hold_out(len(z), len(z) // _PARTS, np.random.default_rng(0), train.groups)
            size = best_mixture(*(z[part] for part in parts))[0].n_components
        best, _ = best_mixture(z, z, components=[size])
    components = [
        MultivariateNormal(flow.shape[0], loc=loc, covariance=covariance, min_scale=_MIN_SCALE)
        for loc, covariance in zip(best.means_, best.covariances_, strict=True)
    ]
    return eqx.tree_at(lambda f: f.base, flow, Mixture(components, weights=best.weights_))


def _latent(flow: Flow, rows: Rows) -> np.ndarray:
    """The rows mapped to latent space."""
    contexts = None if flow.bijection.context_shape is None else rows.context

    def inverse(x: jax.Array, context: jax.Array | None) -> jax.Array:
        return flow.bijection.inverse_and_log_det(x, context if context is None else flow.embed_context(context))[0]

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(inverse, (0, None if contexts is None else 0)))(rows.x, contexts))
