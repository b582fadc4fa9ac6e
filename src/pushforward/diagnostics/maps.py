"""Tests of a flow's two maps at single points: the choice of points, and the rows of the certificate."""

import functools

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.flow import Flow
from pushforward.diagnostics.inputs import broadcast_contexts
from pushforward.diagnostics.points import (
    PointEvaluator,
    condition_limit,
    conditioning_row,
    conditions,
    jacobians_in_float64,
    log_det_row,
    round_trip_row,
)
from pushforward.diagnostics.rounding import inner_conditions, rounded_by_layers
from pushforward.diagnostics.row import Row


def map_rows(
    flow: Flow,
    samples: np.ndarray,
    rows: np.ndarray | None,
    contexts: np.ndarray | None,
    key: PRNGKeyArray,
    random: np.random.Generator,
) -> tuple[list[Row], tuple[np.ndarray, np.ndarray, np.ndarray | None], float]:
    """Rows of round trips, log-determinants and conditioning.

    Returns:
        The rows; latents (n, *shape) with their outputs (n, D) and contexts; and the share of points at which the
        conditioning leaves no digit.
    """
    evaluator = PointEvaluator(flow, contexts)
    z, far, has_density = evaluator.latents(key)
    z_unit, x_unit = _deviations(z), _deviations(samples.reshape(len(samples), -1))
    eps, limit = evaluator.eps, condition_limit(evaluator.eps)

    forward, outward = evaluator.evaluate(z, inverse=False), evaluator.evaluate(far, inverse=False)
    trips = [
        ("round trip of samples", forward, evaluator.evaluate(forward.outputs, inverse=True)),
        ("round trip 3 sigma outward", outward, evaluator.evaluate(outward.outputs, inverse=True)),
    ]
    data_contexts = None
    if rows is not None:
        chosen = np.resize(random.permutation(len(rows)), evaluator.n)
        data_contexts = None if contexts is None else broadcast_contexts(contexts, len(rows))[chosen]
        inverse = evaluator.evaluate(rows.reshape(len(rows), -1)[chosen], inverse=True, contexts=data_contexts)
        trips.append(
            ("round trip of data", inverse, evaluator.evaluate(inverse.outputs, inverse=False, contexts=data_contexts))
        )

    results, measured = [], []
    for name, there, back in trips:
        is_data = name == "round trip of data"
        numbers = conditions(back if is_data else there, x_unit, z_unit)
        # Where no digit is left, the fault is the conditioning, which another row tests.
        counted = ~(numbers > limit) & (has_density if there is outward else True)
        by_layers = functools.partial(
            rounded_by_layers,
            flow,
            there.inputs,
            evaluator.contexts_of(data_contexts if is_data else None),
            inverse=is_data,
        )
        results.append(round_trip_row(name, there, back, x_unit if is_data else z_unit, eps, counted, by_layers))
        if there is not outward:
            measured.append((numbers, counted, (back, there) if is_data else (there, back)))
    counted = np.concatenate([part for _, part, _ in measured])
    for direction, name in enumerate(("log-det of forward", "log-det of inverse")):
        evaluations = [pair[direction] for *_, pair in measured]
        row = log_det_row(name, evaluations, eps, counted)
        if row.ok is False:  # automatic differentiation rounds too
            is_double = evaluator.dtype == np.float64
            if not is_double:
                contexts_of_both = [evaluator.contexts, data_contexts]
                evaluations = jacobians_in_float64(flow, evaluations, contexts_of_both, inverse=direction == 1)
            row = log_det_row(name, evaluations, eps, counted, by_outputs=is_double)
        results.append(row)
    numbers = np.concatenate([numbers for numbers, *_ in measured])
    if (numbers > limit).any():
        starts = [forward.inputs for *_, (forward, _) in measured]
        numbers = np.fmin(numbers, inner_conditions(flow, starts, [evaluator.contexts, data_contexts]))
    results.append(conditioning_row(numbers, eps, evaluator.dim))
    return (
        results,
        (z.reshape(-1, *flow.shape), forward.outputs, evaluator.contexts_of(None)),
        float((numbers > limit).mean()),
    )


def _deviations(points: np.ndarray) -> np.ndarray:
    """Standard deviations (D,) of the finite points; 1 where there are none."""
    finite = np.asarray(points, np.float64)[np.isfinite(points).all(1)]
    deviations = finite.std(0) if len(finite) else np.zeros(points.shape[1])
    return np.where(deviations > 0, deviations, 1.0)
