"""A flow's two maps at single points: which points, in which direction, and the rows that follow from them."""

import functools

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.flow import Flow
from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import paired
from pushforward.diagnostics.points import (
    Probe,
    condition_limit,
    conditioning_row,
    conditions,
    in_double,
    log_det_row,
    round_trip_row,
)
from pushforward.diagnostics.rounding import inner_conditions, rounded_by_layers


def map_rows(
    flow: Flow,
    samples: np.ndarray,
    rows: np.ndarray | None,
    contexts: np.ndarray | None,
    key: PRNGKeyArray,
    random: np.random.Generator,
) -> tuple[list[Row], tuple[np.ndarray, np.ndarray, np.ndarray | None], float]:
    """Round trips, log-determinants and conditioning; the latents (n, *shape) they started from with their images
    (n, D) and contexts; and the share of points at which conditioning leaves no digit."""
    probe = Probe(flow, contexts)
    z, far, has_density = probe.latent(key)
    z_unit, x_unit = _deviations(z), _deviations(samples.reshape(len(samples), -1))
    eps, limit = probe.eps, condition_limit(probe.eps)

    forward, outward = probe.map(z, inverse=False), probe.map(far, inverse=False)
    trips = [
        ("round trip of samples", forward, probe.map(forward.images, inverse=True)),
        ("round trip 3 sigma outward", outward, probe.map(outward.images, inverse=True)),
    ]
    given = None
    if rows is not None:
        chosen = np.resize(random.permutation(len(rows)), probe.n)
        given = None if contexts is None else paired(contexts, len(rows))[chosen]
        inverse = probe.map(rows.reshape(len(rows), -1)[chosen], inverse=True, contexts=given)
        trips.append(("round trip of data", inverse, probe.map(inverse.images, inverse=False, contexts=given)))

    results, found = [], []
    for name, there, back in trips:
        is_data = name == "round trip of data"
        numbers = conditions(back if is_data else there, x_unit, z_unit)
        # What is wrong where no digit is left is the conditioning, which has a row of its own.
        counted = ~(numbers > limit) & (has_density if there is outward else True)
        by_layers = functools.partial(
            rounded_by_layers, flow, there.points, probe.contexts_of(given if is_data else None), inverse=is_data
        )
        results.append(round_trip_row(name, there, back, x_unit if is_data else z_unit, eps, counted, by_layers))
        if there is not outward:
            found.append((numbers, counted, (back, there) if is_data else (there, back)))
    counted = np.concatenate([part for _, part, _ in found])
    for direction, name in enumerate(("log-det of forward", "log-det of inverse")):
        sides = [sides[direction] for *_, sides in found]
        row = log_det_row(name, sides, eps, counted)
        if row.ok is False:  # automatic differentiation rounds too
            is_double = probe.dtype == np.float64
            if not is_double:
                sides = in_double(flow, sides, [probe.contexts, given], inverse=direction == 1)
            row = log_det_row(name, sides, eps, counted, by_images=is_double)
        results.append(row)
    numbers = np.concatenate([numbers for numbers, *_ in found])
    if (numbers > limit).any():
        starts = [forward.points for *_, (forward, _) in found]
        numbers = np.fmin(numbers, inner_conditions(flow, starts, [probe.contexts, given]))
    results.append(conditioning_row(numbers, eps, probe.dim))
    return (
        results,
        (z.reshape(-1, *flow.shape), forward.images, probe.contexts_of(None)),
        float((numbers > limit).mean()),
    )


def _deviations(points: np.ndarray) -> np.ndarray:
    """Standard deviations (D,) of the finite points; 1 where there are none."""
    finite = np.asarray(points, np.float64)[np.isfinite(points).all(1)]
    found = finite.std(0) if len(finite) else np.zeros(points.shape[1])
    return np.where(found > 0, found, 1.0)
