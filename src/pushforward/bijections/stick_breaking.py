"""The map from vectors onto the simplex by breaking a stick."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection


class StickBreaking(AbstractBijection):
    """Stick-breaking map of R^D onto the open simplex of D + 1 shares.

        x_k = r_k sigmoid(z_k - log(D + 1 - k)),   r_k = 1 - (x_1 + ... + x_(k-1)), the rest of the stick

    The last share is no coordinate: it is 1 - sum(x). The log-determinant is the sum of the logarithms of all D + 1
    shares. z = 0 gives equal shares. A point that is not in the open simplex has no preimage: there the inverse gives
    z = 0 and a log-determinant of -inf.

    Args:
        dim: D, the number of shares less one.

    Cost: O(D) in both directions.

    Raises:
        ValueError: if dim is not positive.

    Reference: Stan reference manual 2.36, section 10.7 (unit simplex); Betancourt 2012.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import StickBreaking
        >>> print(StickBreaking(3).forward(jnp.zeros(3)))
        [0.25 0.25 0.25]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        self.shape, self.context_shape = (dim,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        shifted = z - jnp.asarray(self._log_counts(), z.dtype)
        log_rest = jnp.cumsum(jax.nn.log_sigmoid(-shifted))  # after each break
        log_shares = jax.nn.log_sigmoid(shifted) + jnp.concatenate([jnp.zeros(1, z.dtype), log_rest[:-1]])
        return jnp.exp(log_shares), jnp.sum(log_shares) + log_rest[-1]

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        outside = jnp.any(x <= 0) | (1.0 - jnp.cumsum(x)[-1] <= 0)  # as rounded below
        safe = jnp.where(outside, 1.0 / (x.shape[0] + 1), x)
        log_shares, log_rest = jnp.log(safe), jnp.log(1.0 - jnp.cumsum(safe))
        z = log_shares - log_rest + jnp.asarray(self._log_counts(), x.dtype)
        log_det = -(jnp.sum(log_shares) + log_rest[-1])
        return jnp.where(outside, 0.0, z), jnp.where(outside, -jnp.inf, log_det)

    def _log_counts(self) -> np.ndarray:
        """log D, ..., log 1: the number of shares in what is left after each break."""
        return np.log(np.arange(self.shape[0], 0, -1.0))
