"""Properties of angles: whole turns change nothing, the two ends are one point, results are on the circle."""

import numpy as np

from battery.bounds import flat
from battery.case import AtWeights, Case
from pushforward.core.circles import circular_coordinates, is_circular

# The jump across the cut: in float64 the two sides differ by rounding of pi, in float32 by 2e-7, times the slope of the
# log-determinant, which knots of splines make as large as 1e3.
JUMP = {"float32": 5e-3, "float64": 1e-6}


def angles_of(bijection) -> np.ndarray:
    """Which coordinates are angles (bool, of the event shape)."""
    return np.array(is_circular(bijection)) if bijection.shape == () else circular_coordinates(bijection)


def is_periodic(case: Case, w: AtWeights) -> list[str]:
    """Value, log-determinant and slope of the map are those of a circle: at both ends, and after a turn.

    The map is continuously differentiable across the cut, so a density is continuous; its derivative is not promised.
    """
    angles = angles_of(case.bijection)
    if not angles.any():
        return []
    bound, wrong = JUMP["float64" if case.is_double else "float32"], []
    mask = flat(np.broadcast_to(angles, (1, *case.shape)))[0].astype(bool)
    pairs = [("a turn further", lambda v: v, lambda v: np.where(angles, v - 2 * np.pi * np.sign(v), v))]
    for index in np.flatnonzero(mask):
        one = (np.arange(mask.size) == index).reshape(case.shape)
        pairs.append((f"coordinate {index} at the cut", *(lambda v, e=e, o=one: np.where(o, e, v) for e in _ENDS)))
    for what, here, there in pairs:
        sides = [case.figures(w.trained, at(w.z), at(w.x), case.context) for at in (here, there)]
        for name, left, right in zip(("forward", "inverse"), *sides, strict=True):
            gap = flat(left.out) - flat(right.out)
            gap = np.where(mask, np.mod(gap + np.pi, 2 * np.pi) - np.pi, gap)
            slopes = left.jacobian - right.jacobian
            for figure, error in (("value", gap), ("log-det", left.log_det - right.log_det), ("Jacobian", slopes)):
                size = 1 + (np.abs(left.jacobian).max() if figure == "Jacobian" else 0)
                if not np.abs(error).max() <= bound * size:
                    wrong.append(f"{name}, {what}: the {figure} differs by {np.abs(error).max():.3g}")
            beyond = np.abs(flat(left.out)[:, mask]).max() - np.pi
            if not beyond <= 1e-6:
                wrong.append(f"{name}: an angle is beyond pi by {beyond:.3g}")
    return wrong


_ENDS = (-np.pi, np.pi)
