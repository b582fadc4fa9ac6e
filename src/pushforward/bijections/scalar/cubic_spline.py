"""Monotone cubic splines, with knot slopes from the bins by Steffen's rule."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import at_bin, check_bins, clip, edges_of, sizes_of
from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import zeros

_MIN_EDGE_SLOPE, _MAX_EDGE_SLOPE = 0.01, 2.0  # slopes at the edges of the box, in units of the outer bins' secants


class CubicSpline(AbstractByRoot):
    """Monotone cubic spline x -> z on [-B, B], outside linear with the slope at the edge of the box.

    K bins with learned widths and heights; with secants s the slope at an inner knot is Steffen's, 2 min(s_left,
    s_right, p / 2) with p = (s_left w_right + s_right w_left) / (w_left + w_right), those at both edges are learned
    between 0.01 and 2 secants. Knot slopes of up to twice a secant keep the slope in a bin positive. In a bin, with u
    = (x - left) / width: z = bottom + w u (d0 + u (3 s - 2 d0 - d1 + u (d0 + d1 - 2 s))). Zero leaves are the identity.

    Args:
        n_bins: number of bins K, at least 2.
        bound: half-width B of the box.
        min_bin: minimum width and height of a bin as a share of the box; n_bins * min_bin must be below 1.

    Leaves (unconstrained): `widths` (K,), `heights` (K,), `edges` (2,).

    Cost: inverse (density) O(K); forward (sampling) that for each step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Steffen 1990; Durkan, Bekasov, Murray & Papamakarios 2019 (Cubic-Spline Flows), section 3. Deviation:
    a root solver instead of the formula for the root of a cubic, which loses digits; linear tails.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import CubicSpline
        >>> x, log_det = CubicSpline(4).forward_and_log_det(jnp.array(0.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    widths: Float[Array, "..."]
    heights: Float[Array, "..."]
    edges: Float[Array, "..."]
    bound: float = eqx.field(static=True)
    min_bin: float = eqx.field(static=True)

    def __init__(self, n_bins: int = 8, *, bound: float = 5.0, min_bin: float = 1e-3) -> None:
        check_bins(n_bins, min_bin)
        self.widths, self.heights, self.edges = zeros(n_bins), zeros(n_bins), zeros(2)
        self.bound, self.min_bin = float(bound), float(min_bin)

    def __check_init__(self) -> None:
        check_bins(self.widths.shape[0], self.min_bin)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        widths, heights = (sizes_of(logits, self.bound, self.min_bin) for logits in (self.widths, self.heights))
        lefts, bottoms = edges_of(widths, self.bound), edges_of(heights, self.bound)
        secants = [height / width for height, width in zip(heights, widths, strict=True)]
        inner = []
        for k in range(len(widths) - 1):
            s0, s1, w0, w1 = secants[k], secants[k + 1], widths[k], widths[k + 1]
            mean = (s0 * w1 + s1 * w0) / (w0 + w1)
            inner.append(2 * jnp.minimum(jnp.minimum(s0, s1), mean / 2))
        share = _MIN_EDGE_SLOPE + (_MAX_EDGE_SLOPE - _MIN_EDGE_SLOPE) * jax.nn.sigmoid(self.edges + _START)
        slopes = [share[0] * secants[0], *inner, share[1] * secants[-1]]
        clipped = clip(x, -self.bound, self.bound)
        left, width, bottom, s, d0, d1 = at_bin(
            clipped, lefts, lefts[:-1], widths, bottoms[:-1], secants, slopes[:-1], slopes[1:]
        )
        u = (clipped - left) / width
        quadratic, cubic = 3 * s - 2 * d0 - d1, d0 + d1 - 2 * s
        # a sum in which only the last term can be negative, and the others outweigh it
        slope = d0 * (1 - u) ** 2 + d1 * u**2 + 2 * u * (1 - u) * (3 * s - d0 - d1)
        z = bottom + width * u * (d0 + u * (quadratic + u * cubic))
        return z + slope * (x - clipped), jnp.log(slope)


_START = float(np.log((1 - _MIN_EDGE_SLOPE) / (_MAX_EDGE_SLOPE - 1)))  # at which the edge slopes equal their secants
