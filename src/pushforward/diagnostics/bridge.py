"""Whether a density integrates to one where no grid is affordable: its samples against those of a known density.

With q a normalised density, n samples x of the flow and n samples y of q, and s the logistic function, the root Z of

    sum_j s(log p(y_j) - log q(y_j) - log Z) = sum_i s(log q(x_i) - log p(x_i) + log Z)

estimates the integral of p, where p at its samples and elsewhere belong together. Every term lies in [0, 1], so nothing
hides in a weight that was not drawn, as it may in plain importance sampling: too little overlap shows in the error.
"""

import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import draw, score
from pushforward.diagnostics.certificate import Row

_MAX_DIM = 64
_CENTRES = 512
_N_CHOICE = 512
_N_BRIDGE = 2048
_WIDTHS = (0.15, 0.25, 0.4, 0.6, 1.0)
_FREEDOM = 6.0
_STANDARD_ERRORS = 5.0
_OFF = 0.05
_LEAST_OVERLAP = 50.0  # terms' sum below which the normal law of the error is no guide
_TOO_WIDE = 0.2  # an error bar of five standard errors that says nothing


class Kernels:
    """A mixture of Student-t kernels around samples of a flow, in whitened units; the widest choice is one kernel."""

    def __init__(self, x: np.ndarray, width: float) -> None:
        low, self.centre, high = np.quantile(x, [0.02, 0.5, 0.98], axis=0)
        clipped = np.clip(x, low, high)
        dim = x.shape[1]
        covariance = np.cov(clipped, rowvar=False).reshape(dim, dim)
        # a little more than the bulk shows, for the tails that were clipped
        self.factor = 1.1 * np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(covariance)))
        white = np.linalg.solve(self.factor, (x - self.centre).T).T
        self.centres = np.zeros((1, dim)) if width >= 1 else white[:_CENTRES]
        self.width, self.dim = width, dim
        self.log_norm = (
            math.lgamma((_FREEDOM + dim) / 2) - math.lgamma(_FREEDOM / 2) - 0.5 * dim * math.log(_FREEDOM * math.pi)
            - dim * math.log(width) - float(np.log(np.diag(self.factor)).sum()) - math.log(len(self.centres))
        )  # fmt: skip

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """log q of rows (n, D)."""
        white = np.linalg.solve(self.factor, (x - self.centre).T).T
        distance = (white**2).sum(1)[:, None] - 2 * white @ self.centres.T + (self.centres**2).sum(1)
        each = -0.5 * (_FREEDOM + self.dim) * np.log1p(np.maximum(distance, 0) / self.width**2 / _FREEDOM)
        highest = each.max(1)
        return self.log_norm + highest + np.log(np.exp(each - highest[:, None]).sum(1))

    def draw(self, n: int, random: np.random.Generator) -> np.ndarray:
        """n rows of q."""
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
        distribution: what to integrate.
        context: one context (1, *context_shape), or None.
        random: for the proposal's draws.

    Reference: Bennett 1976; Meng & Wong 1996, section 3.
    """
    dim = math.prod(distribution.shape)
    if dim > _MAX_DIM:
        return Row(name, None, None, None, f"In {dim} dimensions no density to compare with comes near enough.")
    key = jax.random.key(int(random.integers(2**31)))
    x = draw(distribution, _CENTRES + _N_CHOICE + _N_BRIDGE, context, key)[0].reshape(-1, dim).astype(np.float64)
    x = x[np.isfinite(x).all(1)]
    if len(x) < _CENTRES + 2 * _N_CHOICE or (np.quantile(x, 0.98, axis=0) <= np.quantile(x, 0.02, axis=0)).any():
        return Row(name, None, None, None, "The samples are no guide to where a density should lie.")
    kept, tried = x[:_CENTRES], x[_CENTRES : _CENTRES + _N_CHOICE]
    x = x[_CENTRES + _N_CHOICE :]
    choices = [Kernels(kept, width) for width in _WIDTHS]
    known = max(choices, key=lambda choice: float(choice.log_density(tried).mean()))
    y = known.draw(len(x), random)
    # NaN: outside the image of the map there is no latent point, hence no density
    log_p_x, log_p_y = (
        np.nan_to_num(
            score(distribution, part.reshape(-1, *distribution.shape), context).astype(np.float64),
            nan=-np.inf, posinf=np.inf, neginf=-np.inf,
        )
        for part in (x, y)
    )  # fmt: skip
    if max(log_p_x.max(), log_p_y.max()) == np.inf:
        words = "The density is infinite somewhere."
        return Row(name, None, None, False, words, "the density does not integrate to one", "A log-det is wrong.")
    found = _bennett(log_p_y - known.log_density(y), log_p_x - known.log_density(x))
    return _row(name, *found, "" if context is None else " at one context")


def _bennett(at_known: np.ndarray, at_flow: np.ndarray) -> tuple[float, float, float]:
    """log Z, its standard error, and the overlap: the sum of the terms on the poorer side."""
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
        return Row(name, None, None, None, f"No density to compare with comes near enough{where}.")
    value, bound = abs(log_z), max(_OFF, _STANDARD_ERRORS * error)
    total = math.exp(min(log_z, 80.0))
    words = f"{total:.4g} +- {total * error:.2g}{where}, expected 1"
    if value <= bound:
        if bound > _TOO_WIDE:
            return Row(name, None, None, None, f"{words}: too uncertain to tell.")
        return Row(name, value, bound, True, words + ".")
    return Row(
        name, value, bound, False, words + ".", "the density does not integrate to one",
        "Part of the base is never reached, or a log-det or the base's density is wrong: compare each layer with its "
        "own Jacobian, and look for a layer whose image is not the whole line.",
    )  # fmt: skip
