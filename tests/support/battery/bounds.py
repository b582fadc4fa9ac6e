"""How far figures may be off: rounding, seen through the Jacobians at the very points."""

from typing import Any

import numpy as np
from zoo import CIRCLE

from battery.case import Case
from battery.program import Side


def flat(values: Any) -> np.ndarray:
    """(N, D) in float64."""
    return np.asarray(values, np.float64).reshape(len(values), -1)


def norms(matrices: np.ndarray) -> np.ndarray:
    """Spectral norms (N,); an estimate from above (Frobenius), never infinite without reason."""
    return np.sqrt(np.sum(np.asarray(matrices, np.float64) ** 2, (1, 2)))


def condition_of(matrices: np.ndarray) -> np.ndarray:
    """(1 + greatest) / least singular value (N,): entries of a Jacobian err by eps, be they ever so small."""
    singular = np.linalg.svd(np.nan_to_num(np.asarray(matrices, np.float64)), compute_uv=False)
    return (1 + singular[:, 0]) / np.maximum(singular[:, -1], 1e-200)


def sizes(values: Any) -> np.ndarray:
    return np.abs(flat(values)).max(1)


def wrapped(case: Case, error: np.ndarray) -> np.ndarray:
    return np.minimum(error, np.abs(error - 2 * np.pi)) if case.row.x_side == CIRCLE else error


def round_trip_bound(case: Case, start: Any, there: Side, back: Side) -> np.ndarray:
    """C eps kappa: what rounding at the image, seen through the inverse Jacobian, does to the start point."""
    away, home = norms(there.jacobian), norms(back.jacobian)
    kappa = (1 + sizes(start)) + home * (1 + sizes(there.out)) + home * away * sizes(start)
    return case.tolerance.factor * case.eps * kappa


def log_det_bound(case: Case, start: Any, there: Side) -> np.ndarray:
    """C eps times the size of the sum, the conditioning of the Jacobian, and the log-determinant's own slope; and what
    a quadrature rule leaves."""
    condition = condition_of(there.jacobian)
    slope = np.abs(flat(there.log_det_gradient)).sum(1) * (1 + sizes(start))
    rounding = case.tolerance.factor * case.eps * (case.size + condition + slope + np.abs(there.log_det))
    return rounding + case.size * case.tolerance.rule


def within(error: np.ndarray, bound: np.ndarray, what: str) -> list[str]:
    """A sentence where an error exceeds its bound or is NaN."""
    wrong = ~(error <= bound)
    if not wrong.any():
        return []
    index = int(np.nanargmax(np.where(wrong, error / np.where(bound > 0, bound, 1e-300), 0)))
    return [f"{what}: error {error[index]:.3g} at point {index}, allowed {bound[index]:.3g}, {wrong.sum()} points"]
