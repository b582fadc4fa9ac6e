"""Standardisation: a fixed shift and scale between the data and the flow."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError
from pushforward.numerics.moments import CONTEXT_TAILS, EVENT_TAILS, FAR, compress, expand, moments, reach_of


class Standardise(AbstractBijection):
    """Fixed shift and scale between standardised and data units: x = mean + scale z.

    The outermost layer of every recipe. It is the identity until `fit` sets it from the data; later fits leave it
    unchanged. Its moments are NumPy float64 arrays, whatever JAX's default. If the mean is far from zero, the public
    methods of a distribution subtract it in float64, so log-densities do not depend on the origin of the data's units.

    Args:
        shape: event shape.
        shared: whether all positions along the first axis share their moments, as in sequences, whose layers share
            their weights.
        joint_start: whether `fit` may initialise with correlations and clusters of the data (a `Whiten` behind this
            layer, a mixture of normals as base), if that start has the higher likelihood.
        compress: whether standardised values beyond 5 are compressed, for contexts as inputs of a network:
            z = u for |u| <= 5, else sign(u) (5 + log(|u| - 4)), u = (x - mean) / scale. A code for missing values such
            as -9999999 then neither dominates the scale nor is lost.

    Cost: O(D) in both directions; the log-determinant is the constant sum of log scale, plus that of the compression.

    Reference: LeCun, Bottou, Orr & Mueller 1998, section 4.3.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import Standardise
        >>> layer = Standardise((2,)).filled(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
        >>> print(layer.forward(jnp.zeros(2)))
        [1. 2.]
    """

    mean: np.ndarray | Array = frozen()
    scale: np.ndarray | Array = frozen()
    is_filled: np.ndarray | Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    shared: bool = eqx.field(static=True, default=False)  # files of older versions lack it and load as False
    joint_start: bool = eqx.field(static=True, default=False)
    compress: bool = eqx.field(static=True, default=False)  # likewise

    def __init__(
        self, shape: tuple[int, ...], *, shared: bool = False, joint_start: bool = False, compress: bool = False
    ) -> None:
        self.mean, self.scale, self.is_filled = np.zeros(shape), np.ones(shape), np.zeros((), bool)
        self.shape, self.context_shape = tuple(shape), None
        self.shared, self.joint_start, self.compress = bool(shared), bool(joint_start), bool(compress)

    def filled(self, mean: np.ndarray, scale: np.ndarray) -> "Standardise":
        """A copy with these moments (float64, of the event shape; every scale positive and finite)."""
        mean, scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        if mean.shape != self.shape or scale.shape != self.shape:
            raise ShapeError(f"mean, scale: expected shape {self.shape}, got {mean.shape} and {scale.shape}.")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("mean, scale: expected finite means and positive finite scales.")
        return eqx.tree_at(lambda s: (s.mean, s.scale, s.is_filled), self, (mean, scale, np.ones((), bool)))

    def initialised(
        self,
        x: np.ndarray,
        context: np.ndarray | None = None,
        *,
        reach: float | None = None,
        circular: np.ndarray | None = None,
    ) -> "Standardise":
        """A copy with the moments of the samples x (n, *shape), computed in float64; unchanged if already filled.

        Extreme outliers are excluded (`moments`). With a `reach`, the scale of an element is at least such that 99.9 %
        of its values lie within +-reach: outside its box a spline is the identity and cannot learn. Elements that are
        `circular` (bool, of the event shape) are not rescaled.
        """
        if bool(self.is_filled):
            return self
        x = np.asarray(x, np.float64)
        columns = x.reshape(-1, math.prod(self.shape[1:]) if self.shared else math.prod(self.shape))
        mean, scale = moments(columns, CONTEXT_TAILS if self.compress else EVENT_TAILS)
        if reach is not None:
            scale = np.maximum(scale, reach_of(columns - mean) / reach)
        scale = np.where(scale > 0, scale, 1.0)
        element = (1, *self.shape[1:]) if self.shared else self.shape
        mean, scale = (np.broadcast_to(part.reshape(element), self.shape) for part in (mean, scale))
        if circular is not None:
            mean, scale = np.where(circular, 0.0, mean), np.where(circular, 1.0, scale)
        return self.filled(mean, scale)

    def centred(self) -> tuple["Standardise", np.ndarray | None]:
        mean = np.asarray(self.mean, np.float64)
        far = np.abs(mean) > FAR * np.asarray(self.scale)
        if mean.shape != self.shape or not far.any():
            return self, None
        return eqx.tree_at(lambda s: s.mean, self, np.where(far, 0.0, mean)), np.where(far, mean, 0.0)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, scale = jnp.asarray(self.mean, z.dtype), jnp.asarray(self.scale, z.dtype)
        log_slope = jnp.log(scale)
        if self.compress:
            z, log_slope_expand = expand(z)
            log_slope = log_slope + log_slope_expand
        return mean + scale * z, jnp.sum(log_slope)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, scale = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.scale, x.dtype)
        z, log_slope = (x - mean) / scale, -jnp.log(scale)
        if self.compress:
            z, log_slope_compress = compress(z)
            log_slope = log_slope + log_slope_compress
        return z, jnp.sum(log_slope)
