"""Kernel of the monotone rational-quadratic spline, forward and inverse, with a hand-written backward rule.

This is the innermost loop of every spline flow. All arrays have one element shape S; the leaves are (K, *S). The bin of
a point is selected by K - 1 unrolled comparisons (a gather does not vectorise). The backward rule stores the parameters
of the selected bin and distributes their gradients over the bin axis by comparisons too. Forward mode is the transpose
of that rule, and derivatives of higher order differentiate the rule and its formulas. Therefore no clip may cut off a
derivative: at a knot, and at -bound and bound, all derivatives are those of the piece on the right, in both directions.

In a bin of width w, height h, secant s = h / w and knot slopes d0, d1, with u = (x - left) / w and p = u (1 - u):

    y     = bottom + h (s u^2 + d0 p) / D          D = s (1 - 2 p) + (d0 + d1) p  >= s / 2
    dy/dx = G (s / D)^2                            G = d1 u^2 + 2 s p + d0 (1 - u)^2

(Gregory & Delbourgo 1982; Durkan et al. 2019, equations 4 and 5.) D is written as a sum of positive terms, so nothing
cancels. In the inverse the discriminant is written as a sum of squares, so it cannot be negative:

    t = (y - bottom) / h,  b = d0 - t (d0 + d1 - 2 s),  r^2 = (b - 2 s t)^2 + 4 s^2 t (1 - t)
    u = 2 s t / (b + r)  if b >= 0,  else  (r - b) / (2 (s - b))
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.scalar.bins import clip, straight_through_clip, total
from pushforward.numerics.elementary import inverse_softplus
from pushforward.numerics.linear_maps import transpose_of


class Box(NamedTuple):
    """The static parameters of a spline.

    Attributes:
        bound: the box is [-bound, bound] on both axes.
        min_bin: minimum width and height of a bin, as a share of the box.
        min_slope: minimum slope parameter of a knot.
        max_ratio: a knot's slope stays below `max_ratio` times the smaller neighbouring secant.
        circular: the first and the last knot are one point of a circle with one learned slope; otherwise both slopes
            are 1, as those of the linear tails.
    """

    bound: float
    min_bin: float
    min_slope: float
    max_ratio: float
    circular: bool

    @property
    def slope_offset(self) -> float:
        """The softplus argument at which every slope is 1 when all secants are 1: zero leaves are the identity."""
        return inverse_softplus(self.max_ratio / (self.max_ratio - 2.0) - self.min_slope)


class _Bin(NamedTuple):
    """Parameters of the bin that contains a point; `below` and `above` are the neighbouring bins."""

    index: Array
    left: Array
    width: Array
    bottom: Array
    height: Array
    logit0: Array
    logit1: Array
    below_width: Array
    below_height: Array
    above_width: Array
    above_height: Array


class _Residuals(NamedTuple):
    """Inputs of the backward rule: softmax shares, bin, knot slopes, position in the bin, whether inside the box."""

    width_shares: Array
    height_shares: Array
    bin: _Bin
    slope0: Array
    slope1: Array
    u: Array
    in_box: Array


def _shares(logits: Array) -> Array:
    # reductions over the few bins are unrolled: XLA's CPU kernels for them are several times slower
    largest = functools.reduce(jnp.maximum, list(jax.lax.stop_gradient(logits)))  # the shares do not depend on it
    powers = jnp.exp(logits - largest[None])
    return powers * (1.0 / total(list(powers)))[None]


def _select_bin(box: Box, value: Array, widths: Array, heights: Array, slopes: Array, inverse: bool) -> _Bin:
    """Parameters of the last bin whose lower knot does not exceed `value`."""
    n = widths.shape[0]

    def bin_at(k: int, left: Array, bottom: Array) -> _Bin:
        # the last knot is exactly the edge of the box, without the rounding of the sums
        width, height = (box.bound - left, box.bound - bottom) if k == n - 1 else (widths[k], heights[k])
        below, above = (k - 1) % n, (k + 1) % n
        logit0, logit1 = slopes[k if box.circular else max(k - 1, 0)], slopes[above if box.circular else min(k, n - 2)]
        adjacent = widths[below], heights[below], widths[above], heights[above]
        return _Bin(jnp.full_like(value, k), left, width, bottom, height, logit0, logit1, *adjacent)

    left = bottom = jnp.full_like(value, -box.bound)
    selected = bin_at(0, left, bottom)
    for k in range(1, n):
        left, bottom = left + widths[k - 1], bottom + heights[k - 1]
        is_right = value >= (bottom if inverse else left)
        selected = _Bin(
            *(jnp.where(is_right, new, old) for new, old in zip(bin_at(k, left, bottom), selected, strict=True))
        )
    return selected


def _knot_slopes(box: Box, n: int, selected: _Bin) -> tuple[Array, Array]:
    """d = a / (1 + a q / max_ratio), a = softplus(logit) + min_slope, q the sum of the two inverse secants."""
    flatness = selected.width / selected.height
    slopes = []
    for logit, width, height, edge in (
        (selected.logit0, selected.below_width, selected.below_height, 0),
        (selected.logit1, selected.above_width, selected.above_height, n - 1),
    ):
        raw = jax.nn.softplus(logit + box.slope_offset) + box.min_slope
        slope = raw / (1.0 + raw * (flatness + width / height) / box.max_ratio)
        slopes.append(slope if box.circular else jnp.where(selected.index == edge, 1.0, slope))
    return slopes[0], slopes[1]


def _evaluate(
    box: Box, inverse: bool, value: Array, leaves: tuple[Array, Array, Array]
) -> tuple[Array, Array, _Residuals]:
    """Value and log-slope of the requested direction, and the residuals of the backward rule."""
    width_logits, height_logits, slopes = leaves
    n = width_logits.shape[0]
    free, floor = 2.0 * box.bound * (1.0 - n * box.min_bin), 2.0 * box.bound * box.min_bin
    width_shares, height_shares = _shares(width_logits), _shares(height_logits)
    in_box, clipped = (value >= -box.bound) & (value < box.bound), clip(value, -box.bound, box.bound)
    if box.circular:  # every angle is inside; rounding may put it slightly beyond the last knot
        in_box, clipped = jnp.ones_like(in_box), value
    selected = _select_bin(box, clipped, floor + free * width_shares, floor + free * height_shares, slopes, inverse)
    slope0, slope1 = _knot_slopes(box, n, selected)
    secant = selected.height / selected.width
    if inverse:
        t = straight_through_clip((clipped - selected.bottom) / selected.height, 0.0, 1.0)
        b = slope0 - t * (slope0 + slope1 - 2.0 * secant)
        root = jnp.sqrt((b - 2.0 * secant * t) ** 2 + 4.0 * secant**2 * t * (1.0 - t))
        u = jnp.where(b >= 0.0, 2.0 * secant * t, root - b) / jnp.where(b >= 0.0, b + root, 2.0 * (secant - b))
        u = straight_through_clip(u, 0.0, 1.0)
    else:
        u = straight_through_clip((clipped - selected.left) / selected.width, 0.0, 1.0)
    p = u * (1.0 - u)
    denominator = secant * (1.0 - 2.0 * p) + (slope0 + slope1) * p
    log_slope = jnp.log((slope1 * u**2 + 2.0 * secant * p + slope0 * (1.0 - u) ** 2) * (secant / denominator) ** 2)
    if inverse:
        mapped, log_det = selected.left + selected.width * u, -log_slope
    else:
        mapped = selected.bottom + selected.height * ((secant * u**2 + slope0 * p) / denominator)
        log_det = log_slope
    mapped = straight_through_clip(mapped, -box.bound, box.bound)
    out = jnp.where(in_box, mapped, value)
    residuals = _Residuals(width_shares, height_shares, selected, slope0, slope1, u, in_box)
    return out, jnp.where(in_box, log_det, 0.0), residuals


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def spline(box: Box, inverse: bool, value: Array, leaves: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """The spline or its inverse at `value` (shape S), and the log of that direction's derivative.

    Args:
        box: the static parameters.
        inverse: which direction.
        value: points, shape S; outside the box the map is the identity.
        leaves: logits of widths (K, *S), of heights (K, *S), of slopes (K - 1, *S), or (K, *S) on a circle.
    """
    out, log_det, _ = _evaluate(box, inverse, value, leaves)
    return out, log_det


@spline.defjvp
def _tangents(box: Box, inverse: bool, primals: Any, tangents: Any) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    # a constant of a traced program may be a NumPy array
    out, log_det, residuals = _evaluate(box, inverse, *jax.tree.map(jnp.asarray, primals))
    outs = out, log_det
    return outs, transpose_of(functools.partial(_backward_rule, box, inverse), residuals, outs, tangents)


def _backward_rule(
    box: Box, inverse: bool, residuals: _Residuals, cotangents: tuple[Array, Array]
) -> tuple[Array, tuple[Array, Array, Array]]:
    width_shares, height_shares, selected, d0, d1, u, in_box = residuals
    n = width_shares.shape[0]
    g_out, g_log = cotangents
    w, h = selected.width, selected.height
    s = h / w
    v, p = 1.0 - u, u * (1.0 - u)
    den = s * (1.0 - 2.0 * p) + (d0 + d1) * p
    num = s * u**2 + d0 * p
    grade = d1 * u**2 + 2.0 * s * p + d0 * v**2
    # derivatives with respect to the point x in the bin; `a` is the cotangent of y, `c` that of the log-slope
    curve = (2.0 * (d1 * u - d0 * v) + 2.0 * s * (v - u)) / grade - 2.0 * (d0 + d1 - 2.0 * s) * (v - u) / den
    slope = grade * (s / den) ** 2
    g_log = jnp.where(in_box, g_log, 0.0)
    g_in = jnp.where(in_box, g_out, 0.0)
    if inverse:
        c = -g_log
        a = -(g_in + c * curve / w) / slope
        g_value = jnp.where(in_box, -a, g_out)
    else:
        c, a = g_log, g_in
        g_value = jnp.where(in_box, a * slope + c * curve / w, g_out)
    g_num, g_den, g_grade = a * h / den, -(a * h * num / den + 2.0 * c) / den, c / grade
    g_p = g_num * d0 + g_den * (d0 + d1 - 2.0 * s) + 2.0 * g_grade * s
    g_u = 2.0 * g_num * s * u + 2.0 * g_grade * (d1 * u - d0 * v) + g_p * (v - u)
    g_s = 2.0 * c / s + g_num * u**2 + g_den * (1.0 - 2.0 * p) + 2.0 * g_grade * p
    g_d0 = (g_num + g_den) * p + g_grade * v**2
    g_d1 = g_den * p + g_grade * u**2
    g_left = -g_u / w
    g_width = -(g_u * u + g_s * s) / w
    g_height = a * num / den + g_s / w

    def knot(g_d: Array, d: Array, logit: Array, width: Array, height: Array, edge: int) -> tuple[Array, ...]:
        """Gradients of a knot's slope: of its logit, the neighbour's width and height, and 1/s of this bin."""
        raw = jax.nn.softplus(logit + box.slope_offset) + box.min_slope
        g_d = g_d if box.circular else jnp.where(selected.index == edge, 0.0, g_d)
        g_logit = g_d * (d / raw) ** 2 * jax.nn.sigmoid(logit + box.slope_offset)
        g_q = -g_d * d**2 / box.max_ratio
        return g_logit, g_q / height, -g_q * width / height**2, g_q

    g_logit0, g_below_width, g_below_height, g_q0 = knot(
        g_d0, d0, selected.logit0, selected.below_width, selected.below_height, 0
    )
    g_logit1, g_above_width, g_above_height, g_q1 = knot(
        g_d1, d1, selected.logit1, selected.above_width, selected.above_height, n - 1
    )
    g_width = g_width + (g_q0 + g_q1) / h
    g_height = g_height - (g_q0 + g_q1) * w / h**2

    index = selected.index[None]
    bins = jnp.arange(n, dtype=index.dtype).reshape((n,) + (1,) * (index.ndim - 1))
    at, before = bins == index, bins < index
    below, above = index - 1.0, index + 1.0
    if box.circular:
        below, above = jnp.where(below < 0, n - 1.0, below), jnp.where(above >= n, 0.0, above)

    def logit_gradients(shares: Array, g_edge: Array, g_size: Array, g_below: Array, g_above: Array) -> Array:
        """Gradients of the logits of all bins, through the softmax, from those of the selected bin's parameters."""
        sizes = jnp.where(before, g_edge[None], 0.0) + jnp.where(at, g_size[None], 0.0)
        sizes = sizes + jnp.where(bins == below, g_below[None], 0.0) + jnp.where(bins == above, g_above[None], 0.0)
        free = 2.0 * box.bound * (1.0 - n * box.min_bin)
        return free * shares * (sizes - jnp.sum(shares * sizes, 0, keepdims=True))

    g_widths = logit_gradients(width_shares, g_left, g_width, g_below_width, g_above_width)
    g_heights = logit_gradients(height_shares, a, g_height, g_below_height, g_above_height)
    if box.circular:
        g_slopes = jnp.where(at, g_logit0[None], 0.0) + jnp.where(bins == above, g_logit1[None], 0.0)
    else:
        knots = bins[: n - 1]
        g_slopes = jnp.where(knots == below, g_logit0[None], 0.0) + jnp.where(knots == index, g_logit1[None], 0.0)
    tail = width_shares.shape[1:]
    g_value = _reduce(g_value[None], in_box.shape)[0]
    return g_value, (_reduce(g_widths, tail), _reduce(g_heights, tail), _reduce(g_slopes, tail))


def _reduce(gradient: Array, tail: tuple[int, ...]) -> Array:
    """Sum over the axes along which leaves of element shape `tail` were broadcast."""
    axes = tuple(axis for axis, size in enumerate(tail, start=1) if size == 1 and gradient.shape[axis] != 1)
    return jnp.sum(gradient, axes, keepdims=True) if axes else gradient
