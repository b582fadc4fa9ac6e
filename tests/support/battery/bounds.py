"""Error bounds: rounding errors, propagated by the Jacobians at the points."""

from typing import Any

import numpy as np
from zoo import CIRCLE

from battery.case import Case
from battery.program import Figures


def flat(values: Any) -> np.ndarray:
    """(N, D) in float64."""
    return np.asarray(values, np.float64).reshape(len(values), -1)


def norms(matrices: np.ndarray) -> np.ndarray:
    """Upper bounds (N,) of spectral norms, by Frobenius norms."""
    return np.sqrt(np.sum(np.asarray(matrices, np.float64) ** 2, (1, 2)))


def condition_of(matrices: np.ndarray) -> np.ndarray:
    """(1 + greatest) / least singular value (N,): even tiny entries of a Jacobian have an absolute error of eps."""
    singular = np.linalg.svd(np.nan_to_num(np.asarray(matrices, np.float64)), compute_uv=False)
    return (1 + singular[:, 0]) / np.maximum(singular[:, -1], 1e-200)


def sizes(values: Any) -> np.ndarray:
    return np.abs(flat(values)).max(1)


def modulo_circle(case: Case, error: np.ndarray) -> np.ndarray:
    return np.minimum(error, np.abs(error - 2 * np.pi)) if CIRCLE in (case.row.x_side, case.row.z_side) else error


def round_trip_bound(case: Case, start: Any, there: Figures, back: Figures) -> np.ndarray:
    """C eps kappa: the rounding error of the value, propagated by the inverse Jacobian to the start point."""
    there_norm, back_norm = norms(there.jacobian), norms(back.jacobian)
    kappa = (1 + sizes(start)) + back_norm * (1 + sizes(there.out)) + back_norm * there_norm * sizes(start)
    return case.tolerance.factor * case.eps * kappa


def log_det_bound(case: Case, start: Any, there: Figures) -> np.ndarray:
    """C eps times the size of the sum, the conditioning of the Jacobian and the slope of the log-determinant, plus the
    error of a quadrature rule."""
    condition = condition_of(there.jacobian)
    slope = np.abs(flat(there.log_det_gradient)).sum(1) * (1 + sizes(start))
    rounding = case.tolerance.factor * case.eps * (case.size + condition + slope + np.abs(there.log_det))
    return rounding + case.size * case.tolerance.rule


def exceeding(error: np.ndarray, bound: np.ndarray, what: str) -> list[str]:
    """A message if an error exceeds its bound or is NaN."""
    wrong = ~(error <= bound)
    if not wrong.any():
        return []
    with np.errstate(invalid="ignore", over="ignore"):  # errors and bounds may both be infinite
        index = int(np.nanargmax(np.where(wrong, error / np.where(bound > 0, bound, 1e-300), 0)))
    return [f"{what}: error {error[index]:.3g} at point {index}, allowed {bound[index]:.3g}, {wrong.sum()} points"]
