"""Monotone rational-quadratic splines: on the line with linear tails, and on the circle."""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import check_bins, check_min_slope
from pushforward.bijections.scalar.spline_kernel import Box, spline
from pushforward.core.circles import wrap_angle
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import zeros


class RationalQuadraticSpline(AbstractScalarBijection):
    """Monotone rational-quadratic spline on [-bound, bound], the identity outside: x = T(z).

    K bins with learned widths and heights (softmax, floored at `min_bin` of the box) and learned knot slopes (softplus,
    floored at `min_slope`); both end slopes are 1, so density and derivative are continuous at the edge of the box.
    With secant s = height / width, knot slopes d0, d1, u the position within the bin in [0, 1] and p = u (1 - u):

        T(z) = bottom + height (s u^2 + d0 p) / (s (1 - 2 p) + (d0 + d1) p)

    Zero leaves are the identity. Deviation from the source: a knot's slope stays below `max_ratio` times the smaller of
    its two secants, because a steep knot next to a flat bin makes the slope *within* the bin fall below every floor.

    Args:
        n_bins: number of bins K, at least 2.
        bound: half-width of the box, in units of the standardised data.
        min_bin: minimum width and height of a bin as a share of the box; n_bins * min_bin must be below 1.
        min_slope: minimum slope parameter at a knot.
        max_ratio: bound on knot slope over neighbouring secant, above 3.

    Leaves (unconstrained): `widths` (K,), `heights` (K,), `slopes` (K - 1,).

    Cost: O(K) per coordinate in both directions; the inverse is closed-form (a quadratic).

    Raises:
        ValueError: if the bins cannot have their floors, or an argument is out of range.

    Reference: Gregory & Delbourgo 1982; Durkan, Bekasov, Murray & Papamakarios 2019, section 3.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import RationalQuadraticSpline
        >>> spline = RationalQuadraticSpline(n_bins=4)
        >>> x, log_det = spline.forward_and_log_det(jnp.array(0.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    widths: Float[Array, "..."]
    heights: Float[Array, "..."]
    slopes: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_bin: float = eqx.field(static=True)
    min_slope: float = eqx.field(static=True)
    max_ratio: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(
        self,
        n_bins: int = 8,
        *,
        bound: float = 5.0,
        min_bin: float = 1e-3,
        min_slope: float = 1e-3,
        max_ratio: float = 40.0,
    ) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.heights, self.slopes = zeros(n_bins), zeros(n_bins), zeros(n_bins - 1)
        self.bound, self.min_bin, self.min_slope, self.max_ratio = (
            float(bound), float(min_bin), float(min_slope), float(max_ratio)
        )  # fmt: skip

    def __check_init__(self) -> None:
        _check_spline(self)

    @property
    def minimum_slope(self) -> float:
        """A lower bound of the slope in the box for all leaves: the minimum over the worst bins."""
        return _minimum_slope(self._box(), self.widths.shape[0])

    def _box(self) -> Box:
        return Box(self.bound, self.min_bin, self.min_slope, self.max_ratio, circular=False)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return spline(self._box(), False, z, (self.widths, self.heights, self.slopes))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return spline(self._box(), True, x, (self.widths, self.heights, self.slopes))


class CircularSpline(AbstractScalarBijection):
    """Rational-quadratic spline of the circle: angles in [-pi, pi) to angles in [-pi, pi).

    The same formula as `RationalQuadraticSpline` with bound = pi, except that the slope at -pi and at pi is one learned
    number, and that a learned `phase` rotates the circle after the spline: x = wrap(T(z) + phase), where
    wrap(a) = a - 2 pi floor((a + pi) / (2 pi)). Points outside [-pi, pi) are wrapped.

    Args:
        n_bins: number of bins K, at least 2.
        min_bin, min_slope, max_ratio: as for `RationalQuadraticSpline`.

    Leaves (unconstrained): `widths` (K,), `heights` (K,), `slopes` (K,), `phase` ().

    Cost: O(K) per coordinate in both directions.

    Raises:
        ValueError: if the bins cannot have their floors, or an argument is out of range.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, section 2.1.1 (circular splines).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import CircularSpline
        >>> angle, log_det = CircularSpline(n_bins=4).forward_and_log_det(jnp.array(1.0))
        >>> print(f"{angle:.3f}")
        1.000
    """

    widths: Float[Array, "..."]
    heights: Float[Array, "..."]
    slopes: Float[Array, "..."]
    phase: Float[Array, "..."]
    min_bin: float = eqx.field(static=True)
    min_slope: float = eqx.field(static=True)
    max_ratio: float = eqx.field(static=True)
    support: ClassVar[tuple[float, float]] = (-np.pi, np.pi)
    is_circular: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(
        self, n_bins: int = 8, *, min_bin: float = 1e-3, min_slope: float = 1e-3, max_ratio: float = 40.0
    ) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.heights, self.slopes = zeros(n_bins), zeros(n_bins), zeros(n_bins)
        self.phase = zeros(())
        self.min_bin, self.min_slope, self.max_ratio = float(min_bin), float(min_slope), float(max_ratio)

    def __check_init__(self) -> None:
        _check_spline(self)

    def _box(self) -> Box:
        return Box(float(np.pi), self.min_bin, self.min_slope, self.max_ratio, circular=True)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        x, log_det = spline(self._box(), False, wrap_angle(z), (self.widths, self.heights, self.slopes))
        return wrap_angle(x + self.phase), log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return spline(self._box(), True, wrap_angle(x - self.phase), (self.widths, self.heights, self.slopes))


def _check_spline(spline: RationalQuadraticSpline | CircularSpline) -> None:
    """Raise if the settings of a spline are out of range."""
    max_ratio = spline.max_ratio
    check_bins(spline.widths.shape[0], spline.min_bin)
    check_min_slope(spline.min_slope)
    if not (np.isfinite(max_ratio) and max_ratio > 3):
        raise ValueError(f"max_ratio: expected a number above 3, got {max_ratio}.")


def _minimum_slope(box: Box, n_bins: int) -> float:
    """Minimum slope over the worst bins: secant at its floor, each knot slope at either end of its range.

    In units of the secant s the slope is f = (2 p + r0 (1-u)^2 + r1 u^2) / (1 - 2 p + (r0 + r1) p)^2 with r = d / s,
    which rises and then falls in each r, so its minimum lies at an end of that range.
    """
    share = 1.0 - (n_bins - 1) * box.min_bin
    secant = box.min_bin / share
    min_knot_slope = 1.0 / (1.0 / box.min_slope + 2.0 * share / (box.min_bin * box.max_ratio))
    u = np.linspace(0.0, 1.0, 4001)
    p = u * (1.0 - u)
    lowest = np.inf
    for s in np.geomspace(secant, 1.0, 25):
        ends = (min_knot_slope / s, box.max_ratio, 1.0 / s)
        for r0 in ends:
            for r1 in ends:
                slope = s * (2 * p + r0 * (1 - u) ** 2 + r1 * u**2) / (1 - 2 * p + (r0 + r1) * p) ** 2
                lowest = min(lowest, float(slope.min()))
    return lowest
