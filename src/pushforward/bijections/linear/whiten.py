"""Full-covariance whitening: the fixed layer that makes a new flow the Gaussian fit of its data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.bijections.linear.triangular_solve import substitute
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError

_SHRINKAGE = 1e-3  # towards the identity correlation, times D / n, so that n < D gives a regular matrix
_MANY = 10  # n / D from which the shrinkage only covers rounding: nearly equal coordinates stay distinct
_ROUNDING = 1e-13


class Whiten(AbstractBijection):
    """Fixed shift and triangular map between white and correlated coordinates: x = mean + L z, L L^T the covariance.

    The identity until `fit` fills it from the data (a later fit does not change it). Before the first training step the
    flow is then the full Gaussian of the data, and the best weights on validation data cannot be worse. Arrays are in
    NumPy float64, whatever JAX's default.

    Args:
        dim: number of coordinates D.

    Cost: O(D^2) in both directions; the log-determinant is the constant sum_i log L_ii.

    Raises:
        ShapeError: if dim is not positive.

    Reference: Kessy, Lewin & Strimmer 2018, section 3.4 (Cholesky whitening).

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import Whiten
        >>> layer = Whiten(2).filled(np.array([1.0, 2.0]), np.array([[2.0, 0.0], [1.0, 1.0]]))
        >>> print(layer.forward(jnp.ones(2)))
        [3. 4.]
    """

    mean: np.ndarray | Array = frozen()
    factor: np.ndarray | Array = frozen()
    is_filled: np.ndarray | Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        self.mean, self.factor, self.is_filled = np.zeros(dim), np.eye(dim), np.zeros((), bool)
        self.shape, self.context_shape = (dim,), None

    def filled(self, mean: np.ndarray, factor: np.ndarray) -> "Whiten":
        """The layer with a mean (D,) and a lower triangular factor (D, D) with a positive diagonal."""
        mean, factor = np.asarray(mean, np.float64), np.asarray(factor, np.float64)
        if mean.shape != self.shape or factor.shape != self.shape * 2:
            raise ShapeError(
                f"mean, factor: expected shapes {self.shape} and {self.shape * 2}, got {mean.shape} and {factor.shape}."
            )
        if not (np.isfinite(mean).all() and np.isfinite(factor).all() and (np.diagonal(factor) > 0).all()):
            raise ValueError("mean, factor: expected finite numbers and a positive diagonal of the factor.")
        new = mean, np.tril(factor), np.ones((), bool)
        return eqx.tree_at(lambda layer: (layer.mean, layer.factor, layer.is_filled), self, new)

    def initialised(
        self,
        x: np.ndarray,
        context: np.ndarray | None = None,
        *,
        reach: float | None = None,
        weights: np.ndarray | None = None,
    ) -> "Whiten":
        """The layer with mean and covariance of samples x (n, D), computed in float64; once filled, unchanged.

        `weights` are positive sample weights (n,), or None. With a `reach`, a white coordinate that exceeds it is
        scaled until 99.9 % of its values are within +-reach, as `Standardise` does for the boxes of splines.
        """
        if bool(self.is_filled):
            return self
        x = np.asarray(x, np.float64)
        n, dim = x.shape
        probabilities = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        mean = probabilities @ x
        scale = np.sqrt(probabilities @ np.square(x - mean))
        scale = np.where(scale > 0, scale, 1.0)
        centred = (x - mean) / scale
        shrinkage = min(_SHRINKAGE * dim / n, 1.0) if n < _MANY * dim else _ROUNDING
        correlation = (1 - shrinkage) * (probabilities[:, None] * centred).T @ centred + shrinkage * np.eye(dim)
        factor = scale[:, None] * np.linalg.cholesky(correlation)
        if reach is not None:
            white = np.linalg.solve(factor, (x - mean).T)
            factor = factor * np.maximum(np.quantile(np.abs(white), 0.999, axis=1) / reach, 1.0)
        return self.filled(mean, factor)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, factor = jnp.asarray(self.mean, z.dtype), jnp.asarray(self.factor, z.dtype)
        return mean + factor @ z, jnp.sum(jnp.log(jnp.diagonal(factor)))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, factor = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.factor, x.dtype)
        return substitute(factor, x - mean, lower=True), -jnp.sum(jnp.log(jnp.diagonal(factor)))
