"""Bridge sampling: whether a density integrates to one, in more dimensions than a grid can cover.

With q a normalised density, n samples x of the flow and n samples y of q, and s the logistic function, the root Z of

    sum_j s(log p(y_j) - log q(y_j) - log Z) = sum_i s(log q(x_i) - log p(x_i) + log Z)

estimates the integral of p. Every term lies in [0, 1], so that too little overlap shows in the standard error. In plain
importance sampling it can hide in a large weight that was not sampled.
"""

import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import log_prob, sample
from pushforward.diagnostics.row import Row

_MAX_DIM = 64
_CENTRES = 512
_N_CHOICE = 512
_N_BRIDGE = 2048
_WIDTHS = (0.15, 0.25, 0.4, 0.6, 1.0)
_FREEDOM = 6.0
_STANDARD_ERRORS = 5.0
_OFF = 0.05
_LEAST_OVERLAP = 50.0  # sum of the terms below which the error is not normal
_TOO_WIDE = 0.2  # five standard errors that are too wide for a verdict


class Kernels:
    """A mixture of Student-t kernels at samples of a flow, in whitened units. At width 1 it is a single kernel."""

    def __init__(self, x: np.ndarray, width: float) -> None:
        low, self.centre, high = np.quantile(x, [0.02, 0.5, 0.98], axis=0)
        clipped = np.clip(x, low, high)
        dim = x.shape[1]
        covariance = np.cov(clipped, rowvar=False).reshape(dim, dim)
        # slightly enlarged, for the tails that were clipped
        self.factor = 1.1 * np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(covariance)))
        white = np.linalg.solve(self.factor, (x - self.centre).T).T
        self.centres = np.zeros((1, dim)) if width >= 1 else white[:_CENTRES]
        self.width, self.dim = width, dim
        self.log_norm = (
            math.lgamma((_FREEDOM + dim) / 2) - math.lgamma(_FREEDOM / 2) - 0.5 * dim * math.log(_FREEDOM * math.pi)
            - dim * math.log(width) - float(np.log(np.diag(self.factor)).sum()) - math.log(len(self.centres))
        )  # fmt: skip

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """log q at x (n, D)."""
        white = np.linalg.solve(self.factor, (x - self.centre).T).T
        distance = (white**2).sum(1)[:, None] - 2 * white @ self.centres.T + (self.centres**2).sum(1)
        each = -0.5 * (_FREEDOM + self.dim) * np.log1p(np.maximum(distance, 0) / self.width**2 / _FREEDOM)
        highest = each.max(1)
        return self.log_norm + highest + np.log(np.exp(each - highest[:, None]).sum(1))

    def sample(self, n: int, random: np.random.Generator) -> np.ndarray:
        """n samples of q."""
        normal = random.normal(size=(n, self.dim))
        heavy = normal / np.sqrt(random.chisquare(_FREEDOM, (n, 1)) / _FREEDOM)
        white = self.centres[random.integers(len(self.centres), size=n)] + self.width * heavy
        return self.centre + white @ self.factor.T


def bridge_row(
    name: str, distribution: AbstractDistribution, context: np.ndarray | None, random: np.random.Generator
) -> Row:
    """|log of the integral of p| by Bennett's acceptance ratio, with its standard error.

    Args:
        name: of the row.
        distribution: the density to integrate.
        context: one context (1, *context_shape), or None.
        random: for the samples of q.

    Reference: Bennett 1976; Meng & Wong 1996, section 3.
    """
    dim = math.prod(distribution.shape)
    if dim > _MAX_DIM:
        return Row(name, None, None, None, f"In {dim} dimensions no known density overlaps enough with the flow.")
    key = jax.random.key(int(random.integers(2**31)))
    x = sample(distribution, _CENTRES + _N_CHOICE + _N_BRIDGE, context, key)[0].reshape(-1, dim).astype(np.float64)
    x = x[np.isfinite(x).all(1)]
    if len(x) < _CENTRES + 2 * _N_CHOICE or (np.quantile(x, 0.98, axis=0) <= np.quantile(x, 0.02, axis=0)).any():
        return Row(name, None, None, None, "Too few samples are finite and distinct to construct a known density.")
    centres, validation = x[:_CENTRES], x[_CENTRES : _CENTRES + _N_CHOICE]
    x = x[_CENTRES + _N_CHOICE :]
    choices = [Kernels(centres, width) for width in _WIDTHS]
    known = max(choices, key=lambda choice: float(choice.log_density(validation).mean()))
    y = known.sample(len(x), random)
    # NaN: outside the range of the map there is no latent point, hence no density
    log_p_x, log_p_y = (
        np.nan_to_num(
            log_prob(distribution, part.reshape(-1, *distribution.shape), context).astype(np.float64),
            nan=-np.inf, posinf=np.inf, neginf=-np.inf,
        )
        for part in (x, y)
    )  # fmt: skip
    if max(log_p_x.max(), log_p_y.max()) == np.inf:
        return Row(
            name, None, None, False, "The density is infinite somewhere.", "the density does not integrate to one",
            "A log-det is wrong.",
        )  # fmt: skip
    estimate = _bennett(log_p_y - known.log_density(y), log_p_x - known.log_density(x))
    return _row(name, *estimate, "" if context is None else " at one context")


def _bennett(at_known: np.ndarray, at_flow: np.ndarray) -> tuple[float, float, float]:
    """log Z, its standard error, and the overlap: the smaller of the two sums."""
    low, high = -80.0, 80.0
    for _ in range(60):
        middle = (low + high) / 2
        too_small = _logistic(at_known - middle).mean() > _logistic(middle - at_flow).mean()
        low, high = (middle, high) if too_small else (low, middle)
    log_z = (low + high) / 2
    known, flow = _logistic(at_known - log_z), _logistic(log_z - at_flow)
    overlap = float(min(known.sum(), flow.sum()))
    if not overlap > 0:
        return log_z, math.inf, 0.0
    variance = known.var() / known.mean() ** 2 / len(known) + flow.var() / flow.mean() ** 2 / len(flow)
    return log_z, math.sqrt(float(variance)), overlap


def _logistic(u: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * u))


def _row(name: str, log_z: float, error: float, overlap: float, where: str) -> Row:
    if overlap < _LEAST_OVERLAP:
        return Row(name, None, None, None, f"No known density overlaps enough with the flow{where}.")
    value, bound = abs(log_z), max(_OFF, _STANDARD_ERRORS * error)
    total = math.exp(min(log_z, 80.0))
    message = f"{total:.4g} +- {total * error:.2g}{where}, expected 1"
    if value <= bound:
        if bound > _TOO_WIDE:
            return Row(name, None, None, None, f"{message}: too uncertain for a verdict.")
        return Row(name, value, bound, True, message + ".")
    return Row(
        name, value, bound, False, message + ".", "the density does not integrate to one",
        "Part of the base is never reached, or a log-det or the base's density is wrong: compare each layer with its "
        "own Jacobian, and look for a layer whose range is not the whole line.",
        f"The probabilities of the model add up to {total:.3g}{where} and not to one, so its scores are off.",
    )  # fmt: skip
