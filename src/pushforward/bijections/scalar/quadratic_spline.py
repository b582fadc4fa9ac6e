"""Piecewise quadratic maps, with a continuous piecewise linear density."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import (
    Rows,
    at_bin,
    check_bins,
    clip,
    edges_of,
    identity_outside,
    sizes_of,
    straight_through_clip,
    total,
)
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import soft_clamp

_LOG_SLOPE_BOUND = 7.0


class QuadraticSpline(AbstractScalarBijection):
    """Piecewise quadratic map on [-B, B], the identity outside; its slope is linear in each bin and continuous.

    In a bin of width w with slopes v0, v1 at its ends and u = (z - left) / w: x = bottom + w (v0 u + (v1 - v0) u^2 /
    2). The slope is 1 at both edges of the box; those at the inner knots are exp(7 tanh(leaf / 7)), scaled by one
    factor so that the box is mapped onto itself. Zero leaves are the identity.

    Args:
        n_bins: number of bins K, at least 2.
        bound: half-width B of the box.
        min_bin: minimum width of a bin as a share of the box, below 1 / K.

    Leaves (unconstrained): `widths` (K,), `slopes` (K - 1,).

    Cost: O(K) per coordinate in both directions; the inverse is the root of a quadratic, whose discriminant is a mean
    of v0^2 and v1^2.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Mueller, McWilliams, Rousselle, Gross & Novak 2019, section 4.2. Deviation: end slopes of 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import QuadraticSpline
        >>> x, log_det = QuadraticSpline(4).forward_and_log_det(jnp.array(0.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    widths: Float[Array, "..."]
    slopes: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_bin: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, n_bins: int = 8, *, bound: float = 5.0, min_bin: float = 1e-3) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.slopes = zeros(n_bins), zeros(n_bins - 1)
        self.bound, self.min_bin = float(bound), float(min_bin)

    def __check_init__(self) -> None:
        check_bins(self.widths.shape[0], self.min_bin)

    def _bins(self) -> tuple[Rows, Rows, Rows, Rows, Rows]:
        """Edges and widths in z, slopes at the left and right ends, and edges in x."""
        widths = sizes_of(self.widths, self.bound, self.min_bin)
        raw = list(jnp.exp(soft_clamp(self.slopes, _LOG_SLOPE_BOUND)))
        outer = (widths[0] + widths[-1]) / 2
        inner = total([(a + b) / 2 * v for a, b, v in zip(widths[:-1], widths[1:], raw, strict=True)])
        scale = (2 * self.bound - outer) / inner
        one = jnp.ones_like(scale)
        knots = [one, *(scale * v for v in raw), one]
        heights = [w * (a + b) / 2 for w, a, b in zip(widths, knots[:-1], knots[1:], strict=True)]
        return edges_of(widths, self.bound), widths, knots[:-1], knots[1:], edges_of(heights, self.bound)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        lefts, widths, starts, ends, bottoms = self._bins()
        clipped = clip(z, -self.bound, self.bound)
        columns = (lefts[:-1], lefts[1:], widths, starts, ends, bottoms[:-1], bottoms[1:])
        left, right, width, v0, v1, bottom, top = at_bin(clipped, lefts, *columns)
        u, one_minus_u = (
            straight_through_clip((clipped - left) / width, 0.0, 1.0),
            straight_through_clip((right - clipped) / width, 0.0, 1.0),
        )
        # computed from the nearer end: from the other one, rounding of the bin exceeds a small slope
        low, high = (
            bottom + width * u * (v0 + (v1 - v0) * u / 2),
            top - width * one_minus_u * (v1 + (v0 - v1) * one_minus_u / 2),
        )
        return identity_outside(
            self.bound, z, jnp.where(u < one_minus_u, low, high), jnp.log(v0 * one_minus_u + v1 * u)
        )

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        lefts, widths, starts, ends, bottoms = self._bins()
        clipped = clip(x, -self.bound, self.bound)
        columns = (lefts[:-1], lefts[1:], widths, starts, ends, bottoms[:-1], bottoms[1:])
        left, right, width, v0, v1, bottom, top = at_bin(clipped, bottoms, *columns)
        height = width * (v0 + v1) / 2
        share, rest = (
            straight_through_clip((clipped - bottom) / height, 0.0, 1.0),
            straight_through_clip((top - clipped) / height, 0.0, 1.0),
        )
        root = jnp.sqrt(v0**2 * rest + v1**2 * share)  # the slope at the point
        low, high = left + width * share * (v0 + v1) / (v0 + root), right - width * rest * (v0 + v1) / (v1 + root)
        return identity_outside(self.bound, x, jnp.where(share < rest, low, high), -jnp.log(root))
