"""Bernstein polynomials with increasing coefficients, linear outside a box."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import clip, total
from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import zeros


class Bernstein(AbstractByRoot):
    """Bernstein polynomial on [-B, B] with increasing coefficients: z = sum_k alpha_k b_(k, M)(t), t = (x + B) / 2B.

    b_(k, M)(t) = binomial(M, k) t^k (1 - t)^(M - k). The increments of alpha are softmax shares of 2B with a floor,
    from -B to B, so the slope, M sum_k share_k b_(k, M - 1)(t), is positive everywhere; all sums are of positive terms.
    Outside the box the map is linear with the slope at its edge. Zero leaves are the identity.

    Args:
        degree: M.
        bound: half-width B of the box.
        min_share: minimum share of an increment; degree * min_share must be below 1.

    Leaves (unconstrained): `increments` (M,).

    Cost: inverse (density) O(M); forward (sampling) that for each step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Ramasinghe, Fernando, Khan & Barnes 2021, section 3. Deviation: floors and linear tails.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Bernstein
        >>> x, log_det = Bernstein(8).forward_and_log_det(jnp.array(1.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        1.500 0.000
    """

    increments: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_share: float = eqx.field(static=True)

    def __init__(self, degree: int = 12, *, bound: float = 5.0, min_share: float = 1e-3) -> None:
        if degree < 2:
            raise ValueError(f"degree: expected at least 2, got {degree}: degree 1 is the identity.")
        self.increments, self.bound, self.min_share = zeros(degree), float(bound), float(min_share)

    def __check_init__(self) -> None:
        if not 0 < self.increments.shape[0] * self.min_share < 1:
            raise ValueError(
                f"min_share: expected 0 < degree * min_share < 1, got {self.increments.shape[0]} * {self.min_share}."
            )

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        degree = self.increments.shape[0]
        shares = self.min_share + (1 - degree * self.min_share) * jax.nn.softmax(self.increments, axis=0)
        clipped = clip(x, -self.bound, self.bound)
        t, one_minus_t = (self.bound + clipped) / (2 * self.bound), (self.bound - clipped) / (2 * self.bound)
        slope = degree * total([share * b for share, b in zip(shares, _basis(degree - 1, t, one_minus_t), strict=True)])
        # B_M reproduces linear functions: sum only the deviations of the coefficients, which loses no digits
        excess = [2 * self.bound * (share - 1.0 / degree) for share in shares]
        deviations = [total(excess[:k]) for k in range(1, degree)]
        z = clipped + total([a * b for a, b in zip(deviations, _basis(degree, t, one_minus_t)[1:-1], strict=True)])
        return z + slope * (x - clipped), jnp.log(slope)


def _basis(degree: int, t: Array, one_minus_t: Array) -> list[Array]:
    """The Bernstein polynomials of one degree, from repeated products."""
    ups, downs = [jnp.ones_like(t)], [jnp.ones_like(t)]
    for _ in range(degree):
        ups.append(ups[-1] * t)
        downs.append(downs[-1] * one_minus_t)
    return [math.comb(degree, k) * ups[k] * downs[degree - k] for k in range(degree + 1)]
