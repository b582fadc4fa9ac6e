"""Linear-rational splines: two linear-rational pieces per bin, with a closed form in both directions."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import (
    Rows,
    at_bin,
    check_bins,
    check_min_slope,
    clip,
    edges_of,
    identity_outside,
    sizes_of,
    straight_through_clip,
)
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import inverse_softplus

_MIN_SHARE = 0.025  # minimum distance of a bin's inner knot from its ends, as a share of the width
_MAX_RATIO = 40.0  # bound on a knot's slope over the smaller neighbouring secant
_IDENTITY_SLOPE = 1 / (1 - 2 / _MAX_RATIO)  # the raw slope that gives 1 between secants of 1


class LinearRationalSpline(AbstractScalarBijection):
    """Monotone linear-rational spline on [-B, B], the identity outside.

    A bin has an inner knot at the share l of its width. With slopes d0, d1 at its ends, weights w0 = 1 and
    w1 = sqrt(d0 / d1), s = height / width, wm = (l w0 d0 + (1 - l) w1 d1) / s and ym the weighted mean of the ends'
    heights, the left piece is (w0 y0 (l - u) + wm ym u) / (w0 (l - u) + wm u), and the right one its mirror image. The
    slope is continuous and 1 at both edges of the box. At a knot it is below 40 times the smaller neighbouring secant,
    because a steep knot leaves no height for the rest of its bin. Zero leaves are the identity.

    Args:
        n_bins: number of bins K, at least 2.
        bound: half-width B of the box.
        min_bin: minimum width and height of a bin as a share of the box; n_bins * min_bin must be below 1.
        min_slope: minimum slope parameter at a knot.

    Leaves (unconstrained): `widths` (K,), `heights` (K,), `slopes` (K - 1,), `inner_knots` (K,).

    Cost: O(K) per coordinate in both directions, without a root.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Fuhr & Kallay 1992; Dolatabadi, Erfani & Leckie 2020, section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import LinearRationalSpline
        >>> x, log_det = LinearRationalSpline(4).forward_and_log_det(jnp.array(0.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    widths: Float[Array, "..."]
    heights: Float[Array, "..."]
    slopes: Float[Array, "..."]
    inner_knots: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_bin: float = eqx.field(static=True)
    min_slope: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, n_bins: int = 8, *, bound: float = 5.0, min_bin: float = 1e-3, min_slope: float = 1e-3) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.heights, self.slopes = zeros(n_bins), zeros(n_bins), zeros(n_bins - 1)
        self.inner_knots = zeros(n_bins)
        self.bound, self.min_bin, self.min_slope = float(bound), float(min_bin), float(min_slope)

    def __check_init__(self) -> None:
        check_bins(self.widths.shape[0], self.min_bin)
        check_min_slope(self.min_slope)

    def _bin(self, value: Array, inverse: bool) -> tuple[Array, ...]:
        """Left, width, bottom, height, both end slopes and inner knot of the bin that contains a value."""
        widths, heights = (sizes_of(logits, self.bound, self.min_bin) for logits in (self.widths, self.heights))
        lefts, bottoms = edges_of(widths, self.bound), edges_of(heights, self.bound)
        raw = jax.nn.softplus(self.slopes + inverse_softplus(_IDENTITY_SLOPE - self.min_slope)) + self.min_slope
        flatness = [width / height for width, height in zip(widths, heights, strict=True)]
        inner = [
            knot / (1 + knot * (before + after) / _MAX_RATIO)
            for knot, before, after in zip(raw, flatness[:-1], flatness[1:], strict=True)
        ]
        one = jnp.ones_like(widths[0])
        slopes: Rows = [one, *inner, one]
        shares = list(_MIN_SHARE + (1 - 2 * _MIN_SHARE) * jax.nn.sigmoid(self.inner_knots))
        columns = (lefts[:-1], widths, bottoms[:-1], heights, slopes[:-1], slopes[1:], shares)
        return at_bin(value, bottoms if inverse else lefts, *columns)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        clipped = clip(z, -self.bound, self.bound)
        left, width, bottom, height, d0, d1, share = self._bin(clipped, inverse=False)
        u = straight_through_clip((clipped - left) / width, 0.0, 1.0)
        w1, wm, knot = _weights(width, height, d0, d1, share)
        is_left = u < share
        denominator = jnp.where(is_left, (share - u) + wm * u, wm * (1 - u) + w1 * (u - share))
        numerator = jnp.where(is_left, wm * knot * u, wm * knot * (1 - u) + w1 * (u - share))
        x = bottom + height * (numerator / denominator)
        slope = jnp.where(is_left, wm * share * knot, wm * w1 * (1 - share) * (1 - knot)) / denominator**2
        return identity_outside(self.bound, z, x, jnp.log(slope) + jnp.log(height) - jnp.log(width))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        clipped = clip(x, -self.bound, self.bound)
        left, width, bottom, height, d0, d1, share = self._bin(clipped, inverse=True)
        y = straight_through_clip((clipped - bottom) / height, 0.0, 1.0)
        w1, wm, knot = _weights(width, height, d0, d1, share)
        is_left = y < knot
        # quotients of positive sums; the right piece gives 1 - u
        low = share * y / jnp.where(is_left, y + wm * (knot - y), 1.0)
        high = (1 - share) * w1 * (1 - y) / jnp.where(is_left, 1.0, w1 * (1 - y) + wm * (y - knot))
        u = straight_through_clip(jnp.where(is_left, low, 1 - high), 0.0, 1.0)
        denominator = jnp.where(is_left, (share - u) + wm * u, wm * (1 - u) + w1 * (u - share))
        slope = jnp.where(is_left, wm * share * knot, wm * w1 * (1 - share) * (1 - knot)) / denominator**2
        return identity_outside(self.bound, x, left + width * u, jnp.log(width) - jnp.log(height) - jnp.log(slope))


def _weights(width: Array, height: Array, d0: Array, d1: Array, share: Array) -> tuple[Array, Array, Array]:
    """w1, wm, and the height of the inner knot as a share of the bin's height; w0 is 1."""
    w1 = jnp.sqrt(d0 / d1)
    wm = (share * d0 + (1 - share) * w1 * d1) * width / height
    return w1, wm, share * w1 / ((1 - share) + share * w1)
