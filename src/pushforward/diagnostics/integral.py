"""Whether a density integrates to one, on a grid in one or two dimensions."""

import functools
import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import log_prob, sample
from pushforward.diagnostics.bridge import bridge_row
from pushforward.diagnostics.row import Row

NAME = "integral of the density"
_FAULT = "the density does not integrate to one"
_N_DRAWS = 1024
# Robust standard deviations from the median to the end of the grid: even of a Cauchy distribution less than a
# thousandth lies outside. The nodes are dense in the middle.
_REACH = 1000.0
_NODES = {1: 8193, 2: 401}
# Mass allowed in the tails beyond the grid. The error of a wrong log-determinant or an unreached part of the base is
# larger.
_MISSING = 5e-3
_TOO_FINE = 5e-2


def integral_row(distribution: AbstractDistribution, context: np.ndarray | None) -> tuple[Row, bool]:
    """|integral of p - 1| by the trapezoid rule, x = median + L sinh(t) with L L^T the covariance of samples.

    Also returns whether mass is missing, which may instead lie beyond the grid or between its nodes.

    Args:
        distribution: the density to integrate.
        context: one context (1, *context_shape), or None.

    Raises:
        ValueError: in more than two dimensions.
    """
    dim = math.prod(distribution.shape)
    if dim not in _NODES:
        raise ValueError(f"distribution: expected one or two dimensions, for a grid, got {dim}. Use bridge_row.")
    draws = sample(distribution, _N_DRAWS, context, jax.random.key(0))[0].reshape(_N_DRAWS, dim).astype(np.float64)
    draws = draws[np.isfinite(draws).all(1)]
    if len(draws) < _N_DRAWS // 2 or (draws.std(0) == 0).any():
        return Row(NAME, None, None, None, "Too few samples are finite and distinct to place a grid."), False
    low, centre, high = np.quantile(draws, [0.02, 0.5, 0.98], axis=0)
    clipped = np.clip(draws, low, high)  # so that heavy tails do not make the grid coarse
    covariance = np.cov(clipped, rowvar=False).reshape(dim, dim)
    axes = np.linalg.cholesky(covariance + 1e-10 * np.diag(np.diag(covariance)))

    def parts_of(shift: float) -> tuple[np.ndarray, np.ndarray]:
        """The contribution of each node, and where the density is zero, on a grid shifted by a share of its step."""
        t, step = np.linspace(-math.asinh(_REACH), math.asinh(_REACH), _NODES[dim], retstep=True)
        t = t + shift * step
        nodes = np.stack(np.meshgrid(*[np.sinh(t)] * dim, indexing="ij"), -1).reshape(-1, dim)
        weights = functools.reduce(np.multiply.outer, [np.cosh(t) * step] * dim) * abs(np.linalg.det(axes))
        log_probs = log_prob(distribution, (centre + nodes @ axes.T).reshape(-1, *distribution.shape), context)
        no_density = np.isneginf(log_probs)  # there is no latent point
        density = np.exp(np.where(no_density, -np.inf, log_probs).astype(np.float64))
        return weights * density.reshape(weights.shape), no_density

    with np.errstate(over="ignore", invalid="ignore"):  # a total that is not finite is reported below
        parts, no_density = parts_of(0.0)
        total = float(parts.sum())
        # Half as many nodes along each axis: the difference is what the grid does not resolve.
        unresolved = abs(total - float(parts[(slice(None, None, 2),) * dim].sum()) * 2**dim)
        if total > 1 + _MISSING + unresolved:  # narrow peaks at the nodes of both
            unresolved = max(unresolved, abs(total - float(parts_of(0.5)[0].sum())))

    where = ("" if context is None else " at one context") + (
        f" ({no_density.mean():.0%} of the grid lies outside the support)" if no_density.any() else ""
    )
    if not math.isfinite(total):
        message = f"The density is infinite somewhere{where}."
        return Row(NAME, None, None, False, message, _FAULT, "A log-det is wrong."), False
    value, bound = abs(total - 1.0), _MISSING + unresolved
    if bound > _TOO_FINE and value < max(10 * _TOO_FINE, bound):
        return Row(NAME, value, bound, None, f"{total:.4f}{where}: the density is too fine for the grid."), False
    if value <= bound:
        return Row(NAME, value, bound, True, f"{total:.4f}{where}, expected 1."), False
    row = Row(
        NAME, value, bound, False, f"{total:.4f}{where}, expected 1.", _FAULT,
        "Part of the base is never reached, or a log-det or the base's density is wrong: compare each layer with its "
        "own Jacobian, and look for a layer whose range is not the whole line.",
        f"The probabilities of the model add up to {total:.3g}{where} and not to one, so its scores are off.",
    )  # fmt: skip
    return row, total < 1


def normalisation_row(
    distribution: AbstractDistribution,
    context: np.ndarray | None,
    too_coarse: bool,
    no_digits: bool,
    random: np.random.Generator,
) -> Row:
    """By a grid in one or two dimensions, by samples above and where the grid is too coarse.

    Not tested where rounding is the fault: the dtype is `too_coarse` for the flow, or most points leave `no_digits`.
    """
    untested = Row(NAME, None, None, None, "Rounding leaves densities no digit: see the row above that failed.")
    if too_coarse:
        return untested
    if math.prod(distribution.shape) <= 2:
        on_grid, is_short = integral_row(distribution, context)
        if is_short and not no_digits:
            by_samples = bridge_row(NAME, distribution, context, random)
            return on_grid if by_samples.ok is False else by_samples
        if on_grid.ok is not None:
            return on_grid
    if no_digits:
        return untested
    return bridge_row(NAME, distribution, context, random)
