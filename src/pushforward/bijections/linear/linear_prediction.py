"""Linear prediction: whitening of a sequence by an autoregressive filter of few coefficients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError

_BLOCK = 64  # least number of time steps sampled at once
_FLOOR = 1e-9  # white noise added, as a share of the power: regular matrices for perfectly predictable sequences


class LinearPrediction(AbstractBijection):
    """Autoregressive filter between white and coloured sequences: x_t = s z_t + sum_k a_k x_(t-k), x = 0 before t = 1.

    The Jacobian is triangular with s on its diagonal: log|det| = D log s. The identity until `fit` fills it from the
    data (a later fit does not change it); with it, a new flow is the Gaussian autoregressive process of that order.
    Arrays are in NumPy float64, whatever JAX's default.

    Args:
        dim: number of time steps D.
        order: number of coefficients K; those after the first D - 1 are unused.

    Cost: inverse (density) K D operations in parallel; forward (sampling) about 4 max(K, 64) D in D / max(K, 64)
    short steps.

    Raises:
        ShapeError: if dim is not positive.
        ValueError: if order is not positive.

    Reference: Makhoul 1975, section II (autocorrelation method: the filter is always stable).

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import LinearPrediction
        >>> layer = LinearPrediction(4, 1).filled(np.array([0.5]), 2.0)
        >>> print(layer.forward(jnp.array([1.0, 0.0, 0.0, 1.0])))
        [2.   1.   0.5  2.25]
    """

    coefficients: np.ndarray | Array = frozen()
    scale: np.ndarray | Array = frozen()
    is_filled: np.ndarray | Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, order: int) -> None:
        check_dim(dim)
        if order < 1:
            raise ValueError(f"order: expected at least 1, got {order}. Omit the layer instead.")
        self.coefficients, self.scale, self.is_filled = np.zeros(order), np.ones(()), np.zeros((), bool)
        self.shape, self.context_shape = (dim,), None

    def filled(self, coefficients: np.ndarray, scale: float | np.ndarray) -> "LinearPrediction":
        """The layer with coefficients a_1, ..., a_K and a positive scale."""
        coefficients, scale = np.asarray(coefficients, np.float64), np.asarray(scale, np.float64)
        if coefficients.shape != self.coefficients.shape or scale.shape != ():
            raise ShapeError(
                f"coefficients, scale: expected shapes {self.coefficients.shape} and (), got {coefficients.shape} and "
                f"{scale.shape}."
            )
        if not (np.isfinite(coefficients).all() and np.isfinite(scale) and scale > 0):
            raise ValueError("coefficients, scale: expected finite numbers and a positive scale.")
        new = coefficients, scale, np.ones((), bool)
        return eqx.tree_at(lambda layer: (layer.coefficients, layer.scale, layer.is_filled), self, new)

    def initialised(self, x: np.ndarray, context: np.ndarray | None = None) -> "LinearPrediction":
        """The layer with the least-squares prediction coefficients of sequences x (n, D); once filled, unchanged.

        They solve the Yule-Walker equations of the zero-padded sequences, in float64.
        """
        if bool(self.is_filled):
            return self
        x, order = np.asarray(x, np.float64), len(self.coefficients)
        lags = min(order, x.shape[1] - 1)
        power = np.array([np.sum(x[:, lag:] * x[:, : x.shape[1] - lag]) / x.size for lag in range(lags + 1)])
        if not power[0] > 0:
            return self.filled(np.zeros(order), 1.0)
        power[0] *= 1 + _FLOOR
        matrix = power[np.abs(np.subtract.outer(np.arange(lags), np.arange(lags)))]
        coefficients = np.linalg.solve(matrix, power[1:]) if lags else np.zeros(0)
        scale = np.sqrt(power[0] - coefficients @ power[1:])
        return self.filled(np.pad(coefficients, (0, order - lags)), scale)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        coefficients, scale = jnp.asarray(self.coefficients, z.dtype), jnp.asarray(self.scale, z.dtype)
        (dim,), size = self.shape, max(_BLOCK, len(self.coefficients))
        if dim <= 2 * size:
            return _recurrence(coefficients, scale * z), self._log_det(scale)
        # Few steps: a block is a product with its innovations plus a product with the preceding block.
        response = _toeplitz(_recurrence(coefficients, jnp.zeros(size, z.dtype).at[0].set(1.0)), 0)
        lags = jnp.concatenate([jnp.zeros(1, z.dtype), coefficients])
        carry_over = response @ _toeplitz(jnp.pad(lags, (0, size - len(coefficients))), size)
        n_blocks = -(-dim // size)
        responses = jnp.pad(scale * z, (0, n_blocks * size - dim)).reshape(n_blocks, size) @ response.T

        def step(previous: Array, response: Array) -> tuple[Array, Array]:
            x = response + carry_over @ previous
            return x, x

        _, x = jax.lax.scan(step, jnp.zeros(size, z.dtype), responses)
        return x.reshape(-1)[:dim], self._log_det(scale)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        coefficients, scale = jnp.asarray(self.coefficients, x.dtype), jnp.asarray(self.scale, x.dtype)
        order, dim = len(self.coefficients), self.shape[0]
        padded = jnp.pad(x, (order, 0))
        # shifted copies in one fused loop: XLA's own convolution is slow code inside a loop on the CPU
        for lag in range(1, min(order, dim - 1) + 1):
            x = x - coefficients[lag - 1] * padded[order - lag : order - lag + dim]
        return x / scale, -self._log_det(scale)

    def _log_det(self, scale: Array) -> Array:
        return self.shape[0] * jnp.log(scale)


def _recurrence(coefficients: Array, innovations: Array) -> Array:
    """x_t = d_t + sum_k a_k x_(t-k), step by step, for innovations d."""

    def step(past: Array, innovation: Array) -> tuple[Array, Array]:
        x = innovation + past @ coefficients
        return jnp.concatenate([x[None], past[:-1]]), x

    return jax.lax.scan(step, jnp.zeros_like(coefficients), innovations)[1]


def _toeplitz(values: Array, shift: int) -> Array:
    """Toeplitz matrix (n, n) of values[shift + row - column], zero out of range."""
    size = len(values) if shift == 0 else shift
    lags = shift + np.subtract.outer(np.arange(size), np.arange(size))
    in_range = (lags >= 0) & (lags < len(values))
    return jnp.where(in_range, values[np.clip(lags, 0, len(values) - 1)], 0.0)
