"""Normal distributions: independent with fixed moments, and multivariate with trained moments."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.parameters import broadcast, broadcast_positive, event_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device
from pushforward.numerics.elementary import inverse_softplus


def log_standard_normal(noise: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log N(noise; 0, 1), element by element."""
    return -0.5 * noise**2 - 0.5 * math.log(2.0 * math.pi)


class Normal(AbstractDistribution):
    """Independent normals of fixed mean and scale: log p(x) = sum_i log N(x_i; loc_i, scale_i^2).

    For trained moments use `MultivariateNormal`, or add an `Elementwise(Affine(), shape)` layer.

    Args:
        shape: event shape.
        loc: mean, a number or an array of the event shape.
        scale: standard deviation, positive, likewise.

    Cost: O(D) to score and to sample.

    Raises:
        ValueError: if a scale is not positive, or a number is not finite.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(f"{pf.bases.Normal((1,)).log_prob(jnp.zeros(1)):.4f}")
        -0.9189
    """

    loc: Float[Array, "..."] = frozen()
    scale: Float[Array, "..."] = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self.shape, self.context_shape = event_shape(shape), None
        self.loc = on_device(broadcast("loc", loc, self.shape))
        self.scale = on_device(broadcast_positive("scale", scale, self.shape))

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return jnp.sum(log_standard_normal((x - self.loc) / self.scale) - jnp.log(self.scale))

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        noise = jax.random.normal(key, self.shape, self.loc.dtype)
        return self.loc + self.scale * noise, jnp.sum(log_standard_normal(noise) - jnp.log(self.scale))


class MultivariateNormal(AbstractDistribution):
    """Normal with full covariance, mean and covariance trained: x = loc + L e, e standard normal, covariance L L^T.

        log p(x) = sum_i log N(e_i; 0, 1) - sum_i log L_ii,  e = L^-1 (x - loc)

    L is lower triangular with diagonal softplus(d) + min_scale, so the covariance can never become singular.

    Args:
        dim: number of coordinates D.
        loc: initial mean, a number or (D,).
        covariance: initial covariance (D, D), symmetric positive definite; None for the identity.
        min_scale: minimum of the diagonal of L, positive.

    Leaves (unconstrained): `loc` (D,); `diagonal` (D,); `below` (D (D - 1) / 2,), the rows of L below its diagonal.

    Cost: O(D^2) per sample, to score and to sample. Scoring adds one O(D^3) inverse of L per call, or one per sample if
    L depends on a context.

    Raises:
        ShapeError: if the covariance is not (D, D).
        ValueError: if it is not symmetric positive definite, or too small for min_scale.

    Reference: elementary. Deviation: softplus with a minimum for the Cholesky diagonal.

    Example:
        >>> import jax.numpy as jnp, numpy as np, pushforward as pf
        >>> base = pf.bases.MultivariateNormal(2, covariance=np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> print(f"{base.log_prob(jnp.zeros(2)):.4f}")
        -2.3872
    """

    loc: Float[Array, "..."]
    diagonal: Float[Array, "..."]
    below: Float[Array, "..."]
    min_scale: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self, dim: int, loc: ArrayLike = 0.0, covariance: ArrayLike | None = None, *, min_scale: float = 1e-3
    ) -> None:
        if dim < 1:
            raise ShapeError(f"dim: expected at least 1, got {dim}.")
        self.shape, self.context_shape, self.min_scale = (int(dim),), None, float(min_scale)
        self.loc = on_device(broadcast("loc", loc, self.shape))
        factor = np.eye(dim) if covariance is None else _cholesky(covariance, dim)
        diagonal = np.diag(factor)
        if not (diagonal > self.min_scale).all():
            raise ValueError(
                f"covariance: expected conditional standard deviations above min_scale = {min_scale:g}, the smallest "
                f"is {diagonal.min():g}. Lower min_scale, or scale the data."
            )
        self.diagonal = on_device(
            broadcast("covariance", [inverse_softplus(float(d) - self.min_scale) for d in diagonal], self.shape)
        )
        self.below = on_device(factor[np.tril_indices(dim, -1)], jnp.result_type(float))

    def __check_init__(self) -> None:
        if not 0 < self.min_scale < math.inf:
            raise ValueError(
                f"min_scale: expected a positive number, got {self.min_scale}: without a minimum the covariance "
                "could become singular."
            )

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        factor, scales = self._factor()
        # The inverse does not depend on x: under vmap it is one small solve and one product, many times faster.
        whiten = solve_triangular(factor, jnp.eye(*factor.shape, dtype=factor.dtype), lower=True)
        return jnp.sum(log_standard_normal(whiten @ (x - self.loc))) - jnp.sum(jnp.log(scales))

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        factor, scales = self._factor()
        noise = jax.random.normal(key, self.shape, self.loc.dtype)
        return self.loc + factor @ noise, jnp.sum(log_standard_normal(noise)) - jnp.sum(jnp.log(scales))

    def _factor(self) -> tuple[Array, Array]:
        scales = jax.nn.softplus(self.diagonal) + self.min_scale
        return jnp.diag(scales).at[np.tril_indices(self.shape[0], -1)].set(self.below), scales


def _cholesky(covariance: ArrayLike, dim: int) -> np.ndarray:
    matrix = np.asarray(covariance, np.float64)
    if matrix.shape != (dim, dim):
        raise ShapeError(f"covariance: expected shape {(dim, dim)}, got {matrix.shape}.")
    suggestion = "Pass one such as np.cov(x, rowvar=False) of data without constant or duplicate columns."
    if not (np.isfinite(matrix).all() and np.abs(matrix - matrix.T).max() <= 1e-5 * np.abs(matrix).max()):
        raise ValueError(f"covariance: expected a symmetric matrix of finite numbers, got {covariance}. {suggestion}")
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        least = np.linalg.eigvalsh(matrix)[0]
        raise ValueError(
            f"covariance: expected a positive definite matrix, its least eigenvalue is {least:g}. {suggestion}"
        ) from error
