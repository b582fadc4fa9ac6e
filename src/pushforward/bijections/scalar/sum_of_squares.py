"""Sum-of-squares polynomials: integrals of non-negative polynomials."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import check_min_slope, clip
from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import soft_clamp

_MIN_MEAN = 1e-3  # d: makes the map affine if all coefficients vanish
_LOG_SCALE_BOUND = 4.0


class SumOfSquares(AbstractByRoot):
    """Integral of a sum of squared polynomials: z = shift + scale int_0^x s(t / B) dt, linear outside [-B, B].

    s = m + (1 - m) (q + d) / (mean of q + d over [-1, 1]), q = sum_s p_s^2: a slope whose mean over the box is 1 and
    whose floor is m = `min_slope`. The polynomials p_s have `degree` + 1 coefficients, so z has the degree 2 degree
    + 1 in the box; outside it is linear with the slope at the edge. Two squares suffice for every polynomial
    that is non-negative. scale = exp(4 tanh(log_scale / 4)). Starts close to the identity: one square is
    constant, the next ones have small slopes, because equal squares would remain equal in training.

    Args:
        degree: of each p_s.
        n_squares: number of squares.
        bound: half-width B of the box.
        min_slope: m, in (0, 1).

    Leaves (unconstrained): `coefficients` (S, degree + 1), `shift` (), `log_scale` ().

    Cost: inverse (density) O(S degree^2); forward (sampling) that for each step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Jaini, Selby & Yu 2019, section 4. Deviations: linear tails, the floor, and the slope divided by its
    mean: undivided, five layers multiply the slopes at the edge of their boxes, which are free, and overflow in
    training.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import SumOfSquares
        >>> x, log_det = SumOfSquares().forward_and_log_det(jnp.array(100.0))
        >>> print(bool(abs(x - 100) < 5))
        True
    """

    coefficients: Float[Array, "..."]
    shift: Float[Array, "..."]
    log_scale: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_slope: float = eqx.field(static=True)

    def __init__(self, degree: int = 4, *, n_squares: int = 2, bound: float = 3.0, min_slope: float = 1e-3) -> None:
        if degree < 1 or n_squares < 1:
            raise ValueError(f"degree, n_squares: expected at least 1 each, got {degree} and {n_squares}.")
        start = np.zeros((n_squares, degree + 1))
        start[0, 0] = 1.0
        for square in range(1, n_squares):
            start[square, 1 + (square - 1) % degree] = 0.1
        self.coefficients = zeros(start.shape) + jnp.asarray(start, jnp.result_type(float))
        self.shift, self.log_scale, self.bound, self.min_slope = zeros(()), zeros(()), float(bound), float(min_slope)

    def __check_init__(self) -> None:
        check_min_slope(self.min_slope)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        squares = [list(row) for row in self.coefficients]
        # only the ratios of large coefficients matter; their squares would overflow
        largest = functools.reduce(jnp.maximum, [jnp.abs(c) for row in squares for c in row])
        largest = jnp.where(largest < 1.0, 1.0, largest)  # a tie at the start must not halve a derivative
        squares = [[c / largest for c in row] for row in squares]
        clipped = clip(x, -self.bound, self.bound)
        t = clipped / self.bound
        degree = len(squares[0]) - 1
        integrals = [
            sum(row[i] * row[m - i] for row in squares for i in range(max(0, m - degree), min(m, degree) + 1)) / (m + 1)
            for m in range(2 * degree + 1)
        ]
        share = (1.0 - self.min_slope) / (sum(integrals[::2]) + _MIN_MEAN)  # odd powers have no mean
        slope = self.min_slope + share * (sum(_polynomial(row, t) ** 2 for row in squares) + _MIN_MEAN)
        area = t * (self.min_slope + share * (_polynomial(integrals, t) + _MIN_MEAN))
        log_scale = soft_clamp(self.log_scale, _LOG_SCALE_BOUND)
        z = self.shift + jnp.exp(log_scale) * (self.bound * area + slope * (x - clipped))
        return z, log_scale + jnp.log(slope)


def _polynomial(coefficients: list[Array], t: Array) -> Array:
    """A polynomial by Horner's rule, coefficients from the constant up."""
    return functools.reduce(lambda total, c: total * t + c, reversed(coefficients))
