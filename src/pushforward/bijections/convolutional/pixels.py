"""The fixed outermost layer of an image flow, from the real line onto pixel levels."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection


class PixelSigmoid(AbstractBijection):
    """Element-wise map from the real line onto pixel levels: x = L (sigmoid(z) - a) / (1 - 2 a).

    The inverse is z = logit(a + (1 - 2 a) x / L): for dequantised levels, x in [0, L], it is bounded by
    +-log((1 - a) / a) and its slopes by (1 - 2 a) / (L a (1 - a)). A z beyond the bounds gives an x slightly outside
    [0, L]; if a + (1 - 2 a) x / L is outside (0, 1), x has no preimage: there z is 0 and the log-determinant -inf.

    Args:
        shape: event shape.
        levels: L, at least 1.
        alpha: a, in [0, 0.5). At 0 the range is (0, L), and 0 and L correspond to infinity.

    Cost: O(D) in both directions.

    Raises:
        ValueError: if levels or alpha is out of range.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 4.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import PixelSigmoid
        >>> print(PixelSigmoid((1,), levels=256).forward(jnp.zeros(1)))
        [128.]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    levels: int = eqx.field(static=True)
    alpha: float = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], *, levels: int, alpha: float = 0.05) -> None:
        self.shape, self.levels, self.alpha, self.context_shape = tuple(shape), int(levels), float(alpha), None

    def __check_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels: expected at least 1, got {self.levels}.")
        if not 0 <= self.alpha < 0.5:
            raise ValueError(f"alpha: expected a number from 0 to below 0.5, such as 0.05, got {self.alpha}.")

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        x = self.levels * ((jax.nn.sigmoid(z) - self.alpha) / (1.0 - 2.0 * self.alpha))
        return x, jnp.sum(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)) + z.size * self._log_scale

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        scale = 1.0 - 2.0 * self.alpha
        # computed from the distance to the upper edge, which one minus the share would round
        low, high = self.alpha + scale * (x / self.levels), self.alpha + scale * ((self.levels - x) / self.levels)
        out_of_support = (low <= 0) | (high <= 0)  # False for NaN, which propagates
        low, high = (jnp.log(jnp.where(out_of_support, 0.5, share)) for share in (low, high))
        log_slopes = jnp.where(out_of_support, -jnp.inf, -(low + high))
        return low - high, jnp.sum(log_slopes) - x.size * self._log_scale

    @property
    def _log_scale(self) -> float:
        return math.log(self.levels / (1.0 - 2.0 * self.alpha))
