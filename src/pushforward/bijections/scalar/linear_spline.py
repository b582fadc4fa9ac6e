"""Piecewise linear maps, with a piecewise constant density."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import at_bin, check_bins, clip, edges_of, identity_outside, sizes_of
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import zeros


class LinearSpline(AbstractScalarBijection):
    """Piecewise linear map on [-B, B], the identity outside: in a bin x = bottom + (height / width) (z - left).

    Widths and heights are softmax shares of the box with a floor. The density jumps at the knots. Zero leaves are
    the identity.

    Args:
        n_bins: number of bins K, at least 2.
        bound: half-width B of the box.
        min_bin: minimum width and height of a bin as a share of the box; n_bins * min_bin must be below 1.

    Leaves (unconstrained): `widths` (K,), `heights` (K,).

    Cost: O(K) per coordinate in both directions.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Mueller, McWilliams, Rousselle, Gross & Novak 2019, section 4.1; here with learned widths.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import LinearSpline
        >>> x, log_det = LinearSpline(4).forward_and_log_det(jnp.array(0.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    widths: Float[Array, "..."]
    heights: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_bin: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, n_bins: int = 8, *, bound: float = 5.0, min_bin: float = 1e-3) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.heights = zeros(n_bins), zeros(n_bins)
        self.bound, self.min_bin = float(bound), float(min_bin)

    def __check_init__(self) -> None:
        check_bins(self.widths.shape[0], self.min_bin)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(z, self.widths, self.heights)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(x, self.heights, self.widths)  # the inverse exchanges the axes

    def _apply(self, value: Array, from_logits: Array, to_logits: Array) -> tuple[Array, Array]:
        widths, heights = (sizes_of(logits, self.bound, self.min_bin) for logits in (from_logits, to_logits))
        lefts, bottoms = edges_of(widths, self.bound), edges_of(heights, self.bound)
        clipped = clip(value, -self.bound, self.bound)
        left, width, bottom, height = at_bin(clipped, lefts, lefts[:-1], widths, bottoms[:-1], heights)
        mapped = bottom + height * ((clipped - left) / width)
        return identity_outside(self.bound, value, mapped, jnp.log(height) - jnp.log(width))
