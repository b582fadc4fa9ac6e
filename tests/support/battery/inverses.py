"""Properties of the two directions: they are inverses, and the log-determinants are those of their Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
from zoo import CIRCLE

from battery.bounds import condition_of, exceeding, flat, log_det_bound, modulo_circle, norms, round_trip_bound, sizes
from battery.case import AtWeights, Case
from battery.points import N


def round_trip(case: Case, w: AtWeights) -> list[str]:
    wrong = []
    pairs = [("z -> x -> z", w.z, w.at[0], w.back[1]), ("x -> z -> x", w.x, w.at[1], w.back[0])]
    for what, start, there, back in pairs:
        error = np.abs(flat(back.out) - flat(np.asarray(start, there.out.dtype))).max(1)
        error = modulo_circle(case, error)
        wrong += exceeding(error, round_trip_bound(case, start, there, back), what)
        if case.is_double:
            ceiling = np.full(N, case.tolerance.ceiling) * (1 + sizes(start) + norms(back.jacobian))
            wrong += exceeding(error, ceiling, f"{what}, ceiling of its class")
    return wrong


def log_det_is_autodiff(case: Case, w: AtWeights) -> list[str]:
    wrong = []
    for what, start, side in (("forward", w.z, w.at[0]), ("inverse", w.x, w.at[1])):
        exact = np.linalg.slogdet(np.asarray(side.jacobian, np.float64))[1]
        error = np.abs(np.asarray(side.log_det, np.float64) - exact)
        wrong += exceeding(error, log_det_bound(case, start, side), what)
        if case.is_double:
            condition = condition_of(side.jacobian)
            slope = np.abs(flat(side.log_det_gradient)).sum(1) * (1 + sizes(start))
            ceiling = case.tolerance.log_det_ceiling * (1 + condition + slope)
            wrong += exceeding(error, ceiling, f"{what}, ceiling of its class")
    return wrong


def log_dets_cancel(case: Case, w: AtWeights) -> list[str]:
    wrong = []
    for what, there, back in (("z -> x -> z", w.at[0], w.back[1]), ("x -> z -> x", w.at[1], w.back[0])):
        error = np.abs(np.asarray(there.log_det, np.float64) + np.asarray(back.log_det, np.float64))
        wrong += exceeding(error, log_det_bound(case, there.out, back), what)
    return wrong


def finite_when_hostile(case: Case, w: AtWeights) -> list[str]:
    wrong, of_weights = [], ("influence", "gradient", "loop_gradient")
    for what, far, steep in (("forward", w.far[0], w.steep[0]), ("inverse", w.far[1], w.steep[1])):
        figures = {**vars(far), **{name: vars(steep)[name] for name in of_weights}}
        for path, leaf in jax.tree_util.tree_leaves_with_path(figures):
            bad = ~np.isfinite(np.asarray(leaf, np.float64))
            if bad.any():
                wrong.append(f"{what}{jax.tree_util.keystr(path)}: {bad.sum()} not finite, first {np.argwhere(bad)[0]}")
    return wrong


def right_when_hostile(case: Case, w: AtWeights) -> list[str]:
    """Round trip and log-determinant at hostile points, if both sides are the same set.

    Where a slope underflows (the gap between two far modes of a mixture) the computed Jacobian is singular: there
    neither it nor a round trip can be tested. `finite_when_hostile` tests that the log-determinant is finite.
    """
    if case.row.z_side != case.row.x_side:
        return []
    wrong = []
    underflow = -0.5 * np.log(float(jnp.finfo(w.far[0].out.dtype).tiny))
    for what, start, there, back in (
        ("z -> x -> z", w.far_z, w.far[0], w.far_back[1]), ("x -> z -> x", w.far_x, w.far[1], w.far_back[0]),
    ):  # fmt: skip
        start = np.asarray(start, there.out.dtype)
        error = modulo_circle(case, np.abs(flat(back.out) - flat(start)).max(1))
        near = sizes(start) <= 1e4
        exact = np.linalg.slogdet(np.nan_to_num(np.asarray(there.jacobian, np.float64)))[1]
        flat_there = np.isneginf(exact) | np.isneginf(np.linalg.slogdet(np.nan_to_num(back.jacobian))[1])
        flat_there &= np.abs(there.log_det) > underflow
        if case.row.flow is not None:  # inside a flow values may be larger than at its ends
            error = np.where(near, error, 0.0)
        bound = np.where(flat_there, np.inf, round_trip_bound(case, start, there, back))
        wrong += exceeding(error, bound, what)
        error = np.where(near & ~flat_there, np.abs(there.log_det - np.where(flat_there, 0.0, exact)), 0.0)
        wrong += exceeding(error, log_det_bound(case, start, there), f"{what}: log-determinant")
    return wrong


def starts_at_identity(case: Case, w: AtWeights) -> list[str]:
    if not case.row.is_identity:
        return []
    error = np.abs(flat(w.at[0].out) - flat(w.z)).max(1)
    bound = 20 * case.eps * (1 + sizes(w.z))
    return exceeding(error, bound, "forward") + exceeding(np.abs(w.at[0].log_det), bound, "log-determinant")


def is_monotone(case: Case, w: AtWeights) -> list[str]:
    """Scalar maps only: values increase from point to point, up to a few ulp."""
    if case.shape != () or case.row.z_side == CIRCLE:
        return []
    wrong = []
    for name, start, side in zip(("forward", "inverse"), (w.z, w.x), w.at, strict=True):
        steps = np.diff(np.asarray(side.out, np.float64)[np.argsort(start)])
        if (steps < -4 * case.eps * np.abs(side.out).max()).any():
            wrong.append(f"{name}: not increasing, least step {steps.min():.3g}")
    return wrong
