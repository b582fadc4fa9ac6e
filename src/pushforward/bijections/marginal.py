"""Marginal Gaussianization: the fixed layer in which each column of the data has a normal distribution."""

from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError

_FEWEST_BINS, _MOST_BINS = 8, 512
_TAIL_ROWS = 30  # beyond the outermost inner knot
_GAP = 1e-4  # least width of a bin, in standard deviations of a column: slopes stay moderate


class MarginalGaussianization(AbstractBijection):
    """Fixed piecewise linear map of each coordinate: x_i = h_i(z_i), with z_i normal where the columns are as filled.

    h_i connects K + 1 knots, quantiles of the column and of the normal distribution; its end pieces go on outside. The
    density of a column is then a histogram's, bent by the normal density within a bin. The identity until `fit` fills
    it (a later fit does not change it). Arrays are in NumPy float64, whatever JAX's default.

    Args:
        dim: number of coordinates D.
        n_bins: K.

    Cost: O(D log K) in both directions.

    Raises:
        ShapeError: if dim or n_bins is not positive.

    Reference: Laparra, Camps-Valls & Malo 2011, section 2 (marginal Gaussianization).

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import MarginalGaussianization
        >>> x_knots, z_knots = np.array([[0.0, 1.0, 5.0]]), np.array([[-1.0, 0.0, 1.0]])
        >>> layer = MarginalGaussianization(1).filled(x_knots, z_knots)
        >>> print(layer.forward(jnp.array([0.5])))
        [3.]
    """

    x_knots: np.ndarray | Array = frozen()
    z_knots: np.ndarray | Array = frozen()
    is_filled: np.ndarray | Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, n_bins: int = 1) -> None:
        if dim < 1 or n_bins < 1:
            raise ShapeError(f"dim, n_bins: expected positive numbers, got {dim} and {n_bins}.")
        knots = np.tile(np.linspace(-1.0, 1.0, n_bins + 1), (dim, 1))
        self.x_knots, self.z_knots, self.is_filled = knots, knots.copy(), np.zeros((), bool)
        self.shape, self.context_shape = (dim,), None

    def filled(self, x_knots: np.ndarray, z_knots: np.ndarray) -> "MarginalGaussianization":
        """The layer with knots (D, K + 1), increasing along the second axis, for any K."""
        new = np.asarray(x_knots, np.float64), np.asarray(z_knots, np.float64)
        if any(part.ndim != 2 or len(part) != self.shape[0] or part.shape[1] < 2 for part in new):
            raise ShapeError(
                f"x_knots, z_knots: expected shape ({self.shape[0]}, K + 1), got {new[0].shape} and {new[1].shape}."
            )
        if new[0].shape != new[1].shape:
            raise ShapeError(f"x_knots, z_knots: expected equal shapes, got {new[0].shape} and {new[1].shape}.")
        if not all(np.isfinite(part).all() and (np.diff(part) > 0).all() for part in new):
            raise ValueError("x_knots, z_knots: expected finite numbers that increase along the second axis.")
        return eqx.tree_at(
            lambda layer: (layer.x_knots, layer.z_knots, layer.is_filled), self, (*new, np.ones((), bool))
        )

    def initialised(self, x: np.ndarray, context: np.ndarray | None = None) -> "MarginalGaussianization":
        """The layer with the quantiles of samples x (n, D), 2 n^(1/3) bins; once filled, unchanged."""
        if bool(self.is_filled):
            return self
        n_bins = int(np.clip(round(2 * len(x) ** (1 / 3)), _FEWEST_BINS, _MOST_BINS))
        levels = _levels(len(x), n_bins)
        pairs = [_with_knots(*_spaced(column, levels), len(levels)) for column in np.asarray(x, np.float64).T]
        return self.filled(*(np.stack(part) for part in zip(*pairs, strict=True)))

    def to_normal(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """On the host, for rows x (n, D): z (n, D), and log|det dz/dx| (n,)."""
        z, log_slopes = np.empty_like(x), np.zeros(len(x))
        for j, (knots, images) in enumerate(zip(np.asarray(self.x_knots), np.asarray(self.z_knots), strict=True)):
            slopes = np.diff(images) / np.diff(knots)
            index = np.searchsorted(knots[1:-1], x[:, j], side="right")
            z[:, j] = images[index] + slopes[index] * (x[:, j] - knots[index])
            log_slopes += np.log(slopes)[index]
        return z, log_slopes

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return _piecewise_linear(z, self.z_knots, self.x_knots)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return _piecewise_linear(x, self.x_knots, self.z_knots)


def _piecewise_linear(value: Array, knots: np.ndarray | Array, images: np.ndarray | Array) -> tuple[Array, Array]:
    """The map through knots and images (D, K + 1) at a value (D,), and the sum of its log-slopes."""
    knots, images = jnp.asarray(knots, value.dtype), jnp.asarray(images, value.dtype)
    log_slopes = jnp.log(jnp.diff(images)) - jnp.log(jnp.diff(knots))
    search = jax.vmap(lambda inner, v: jnp.searchsorted(inner, v, side="right", method="scan_unrolled"))
    index = search(knots[:, 1:-1], value)[:, None]

    def at(table: Array) -> Array:
        return jnp.take_along_axis(table, index, axis=1)[:, 0]

    slope = at(jnp.diff(images)) / at(jnp.diff(knots))
    return at(images[:, :-1]) + slope * (value - at(knots[:, :-1])), jnp.sum(at(log_slopes))


def _levels(n: int, n_bins: int) -> np.ndarray:
    """Shares of n rows at the inner knots: equal steps, and finer ones in the tails."""
    inner, tail, step = np.arange(1, n_bins) / n_bins, [], 0.25 / n_bins
    while step * n > _TAIL_ROWS:
        tail.append(step)
        step /= 4
    ends = np.asarray(tail[::-1])
    return np.concatenate([[1 / (n + 1)], ends, inner, 1 - ends[::-1], [n / (n + 1)]])


def _spaced(column: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the column and of the normal distribution at these levels, without those too near to the last."""
    x, least = np.quantile(column, levels), _GAP * column.std()
    z = np.asarray([NormalDist().inv_cdf(level) for level in levels])
    x[0], x[-1] = column.min() - least, column.max() + least
    chosen = [0]
    for index in range(1, len(x) - 1):
        if x[index] - x[chosen[-1]] >= least and x[-1] - x[index] >= least:
            chosen.append(index)
    chosen.append(len(x) - 1)
    return x[chosen], z[chosen]


def _with_knots(x: np.ndarray, z: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same map with n knots: more of them on its longest pieces."""
    while len(x) < n:
        longest = int(np.argmax(np.diff(x)))
        x, z = (np.insert(part, longest + 1, (part[longest] + part[longest + 1]) / 2) for part in (x, z))
    return x, z
