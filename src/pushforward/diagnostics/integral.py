"""Whether a density integrates to one, on a grid in one or two dimensions."""

import functools
import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import draw, score
from pushforward.diagnostics.bridge import bridge_row
from pushforward.diagnostics.certificate import Row

NAME = "integral of the density"
_FAULT = "the density does not integrate to one"
_N_DRAWS = 1024
# The grid reaches so many robust standard deviations from the median that even of a Cauchy law less than a thousandth
# lies outside; its nodes are dense in the middle.
_REACH = 1000.0
_NODES = {1: 8193, 2: 401}
# What tails beyond the grid may miss. A wrong log-determinant or a part of the base that is not reached is larger.
_MISSING = 5e-3
_TOO_FINE = 5e-2


def integral_row(distribution: AbstractDistribution, context: np.ndarray | None) -> tuple[Row, bool]:
    """|integral of p - 1| by the trapezoid rule, x = median + L sinh(t) with L L^T the covariance of samples.

    Beside the row stands whether mass is missing: it may also lie beyond the grid, or between its nodes.

    Args:
        distribution: what to integrate.
        context: one context (1, *context_shape), or None.

    Raises:
        ValueError: in more than two dimensions.
    """
    dim = math.prod(distribution.shape)
    if dim not in _NODES:
        raise ValueError(f"distribution: expected one or two dimensions, for a grid, got {dim}. Use bridge_row.")
    draws = draw(distribution, _N_DRAWS, context, jax.random.key(0))[0].reshape(_N_DRAWS, dim).astype(np.float64)
    draws = draws[np.isfinite(draws).all(1)]
    if len(draws) < _N_DRAWS // 2 or (draws.std(0) == 0).any():
        return Row(NAME, None, None, None, "The samples are no guide to where a grid should lie."), False
    low, centre, high = np.quantile(draws, [0.02, 0.5, 0.98], axis=0)
    clipped = np.clip(draws, low, high)  # so that heavy tails do not make the grid coarse
    covariance = np.cov(clipped, rowvar=False).reshape(dim, dim)
    axes = np.linalg.cholesky(covariance + 1e-10 * np.diag(np.diag(covariance)))

    def parts_of(shift: float) -> tuple[np.ndarray, np.ndarray]:
        """What each node adds, and where there is no density, on a grid that is moved by a share of its step."""
        t, step = np.linspace(-math.asinh(_REACH), math.asinh(_REACH), _NODES[dim], retstep=True)
        t = t + shift * step
        nodes = np.stack(np.meshgrid(*[np.sinh(t)] * dim, indexing="ij"), -1).reshape(-1, dim)
        weights = functools.reduce(np.multiply.outer, [np.cosh(t) * step] * dim) * abs(np.linalg.det(axes))
        scores = score(distribution, (centre + nodes @ axes.T).reshape(-1, *distribution.shape), context)
        outside = np.isneginf(scores)  # there is no latent point, hence no density
        return weights * np.exp(np.where(outside, -np.inf, scores).astype(np.float64)).reshape(weights.shape), outside

    with np.errstate(over="ignore", invalid="ignore"):  # a total that is not finite is told below
        parts, outside = parts_of(0.0)
        total = float(parts.sum())
        # Half as many nodes along each axis: the difference is what the grid does not resolve.
        unresolved = abs(total - float(parts[(slice(None, None, 2),) * dim].sum()) * 2**dim)
        if total > 1 + _MISSING + unresolved:  # narrow peaks at the nodes of both
            unresolved = max(unresolved, abs(total - float(parts_of(0.5)[0].sum())))

    where = ("" if context is None else " at one context") + (
        f" ({outside.mean():.0%} of the grid lies outside the image)" if outside.any() else ""
    )
    if not math.isfinite(total):
        words = f"The density is infinite somewhere{where}."
        return Row(NAME, None, None, False, words, _FAULT, "A log-det is wrong."), False
    value, bound = abs(total - 1.0), _MISSING + unresolved
    if bound > _TOO_FINE and value < max(10 * _TOO_FINE, bound):
        return Row(NAME, value, bound, None, f"{total:.4f}{where}: the density is too fine for the grid."), False
    if value <= bound:
        return Row(NAME, value, bound, True, f"{total:.4f}{where}, expected 1."), False
    row = Row(
        NAME, value, bound, False, f"{total:.4f}{where}, expected 1.", _FAULT,
        "Part of the base is never reached, or a log-det or the base's density is wrong: compare each layer with its "
        "own Jacobian, and look for a layer whose image is not the whole line.",
    )  # fmt: skip
    return row, total < 1


def normalisation_row(
    distribution: AbstractDistribution,
    context: np.ndarray | None,
    coarse: bool,
    blurred: bool,
    random: np.random.Generator,
) -> Row:
    """By a grid in one or two dimensions, by samples above and where the grid is too coarse.

    Where rounding is what is wrong (`coarse`), or most points leave no digit (`blurred`), the integral is a symptom.
    """
    untold = Row(NAME, None, None, None, "Rounding leaves densities no digit, as a row above says.")
    if coarse:
        return untold
    if math.prod(distribution.shape) <= 2:
        found, is_short = integral_row(distribution, context)
        if is_short and not blurred:
            sampled = bridge_row(NAME, distribution, context, random)
            return found if sampled.ok is False else sampled
        if found.ok is not None:
            return found
    if blurred:
        return untold
    return bridge_row(NAME, distribution, context, random)
