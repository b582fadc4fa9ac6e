"""`check`: every test that fits a distribution, gathered into a certificate."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from pushforward.bijections.residual import exactly
from pushforward.dequantise import Dequantised
from pushforward.diagnostics.batches import draw, repeated, score
from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.diagnostics.integral import integral_row
from pushforward.diagnostics.points import (
    Probe,
    condition_limit,
    conditioning_row,
    conditions,
    log_det_row,
    round_trip_row,
)
from pushforward.diagnostics.residual import estimate_row, lipschitz_rows
from pushforward.distribution import AbstractDistribution, as_key
from pushforward.errors import DataError, ShapeError
from pushforward.flow import Flow, Given
from pushforward.programs import flatten, float_type
from pushforward.state import is_estimated

_N_DRAWS = 1024
_MAX_ROWS = 10_000
_N_CONTEXTS = 64
_N_ESTIMATED = 64
_N_BOUNDS = 64


def check(
    flow: AbstractDistribution,
    x: ArrayLike | None = None,
    *,
    key: PRNGKeyArray | int = 0,
    context: ArrayLike | None = None,
) -> Certificate:
    """Test a flow: finite values, round trips, log-determinants, conditioning, and that its density integrates to one.

        T^-1(T(z)) = z,   T(T^-1(x)) = x,   log_det = log|det J|,   the integral of p is 1

    J is the Jacobian by automatic differentiation. The bounds are 50 times what rounding does in the flow's type of
    numbers at that point, |z| + |J^-1| (|x| + |J| |z|) times eps for a round trip.

    Args:
        flow: a `Flow`, a flow at one context (`flow.given`), or another distribution (fewer tests). Of a `Dequantised`
            its own scores and samples must be finite; the other tests are of the density in it.
        x: data (n, *shape), to test where they lie too; of more than 10,000 rows as many are drawn.
        key: a JAX key or an int, for the points.
        context: one context, or one for each row of x; if not given, drawn standard normal in the units of the flow's
            own context scaling.

    Returns:
        A `Certificate`: prints as a table; `.ok`, `.verdict`, `.rows`, `.to_dict()`.

    Cost: Jacobians by reverse mode at up to 64 points of each kind in both directions, a thousand samples, and in one
    or two dimensions 8,193 or 160,801 log-densities. Above 1,024 dimensions Jacobians are left out.

    Raises:
        ShapeError: if x or the context do not fit.
        DataError: if they hold NaN or infinite values.

    Reference: Behrmann, Vicol, Wang, Grosse & Jacobsen 2021, section 4 (round trips and singular values).

    Example:
        >>> import pushforward as pf
        >>> pf.check(pf.real_nvp(dim=3, key=0, n_layers=2, width=8)).ok
        True
    """
    if isinstance(flow, Dequantised):
        return _check_dequantised(flow, x, key, context)
    inner, context = (flow.distribution, flow.context) if isinstance(flow, Given) else (flow, context)
    draw_key, point_key, context_key, host_key = jax.random.split(as_key(key), 4)
    random = np.random.default_rng(np.asarray(jax.random.key_data(host_key)))
    rows, contexts, note = _inputs(inner, x, context, context_key)
    if rows is not None and len(rows) > _MAX_ROWS:
        kept = random.choice(len(rows), _MAX_ROWS, replace=False)
        rows, contexts = rows[kept], None if contexts is None else _paired(contexts, len(rows))[kept]

    samples, log_probs = draw(inner, _N_DRAWS, contexts, draw_key)
    results = [_finite_row(samples, log_probs, None if rows is None else score(inner, rows, contexts), note)]
    exact = exactly(inner) if is_estimated(inner) else inner
    if exact is not inner:
        results.append(estimate_row(inner, exact, samples[:_N_ESTIMATED], repeated(contexts, _N_ESTIMATED)))
    results += lipschitz_rows(inner)
    if isinstance(exact, Flow):
        results += _point_rows(exact, samples, rows, contexts, point_key, random)
    results.append(integral_row(exact, None if contexts is None else contexts[:1]))
    return Certificate(tuple(results), str(float_type(flatten(inner)[0])))


def _check_dequantised(flow: Dequantised, x: Any, key: PRNGKeyArray | int, context: Any) -> Certificate:
    """The bound's finite values, then the density's certificate."""
    rows, contexts, note = _inputs(flow, x, context, as_key(key))
    if rows is not None:
        flow.check_rows("x", rows)
    samples, log_probs = draw(flow, _N_BOUNDS, contexts, as_key(key))
    given = None if contexts is None or rows is None else _paired(contexts, len(rows))[:_N_BOUNDS]
    scores = None if rows is None else score(flow, rows[:_N_BOUNDS], given)
    masses = dataclasses.replace(_finite_row(samples, log_probs, scores, note), name="finite bounds of masses")
    density = check(flow.flow, None if rows is None else rows + 0.5, key=key, context=context)
    return Certificate((masses, *density.rows), density.dtype)


def _inputs(
    flow: AbstractDistribution, x: Any, context: Any, key: PRNGKeyArray
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Rows of data, contexts (one, or paired with the rows), and a note on where the latter come from."""
    rows, contexts, note = _as_rows("x", x), _as_rows("context", context), ""
    if contexts is None and flow.context_shape is not None and rows is None:
        contexts = np.asarray(jax.random.normal(key, (_N_CONTEXTS, *flow.context_shape)), np.float64)
        if isinstance(flow, Flow) and flow.context_scaling is not None:
            contexts = np.asarray(flow.context_scaling.mean) + np.asarray(flow.context_scaling.scale) * contexts
        note = " Contexts were drawn standard normal."
    for name, found, event in (("x", rows, flow.shape), ("context", contexts, flow.context_shape)):
        if found is not None and event is not None and found.shape[found.ndim - len(event) :] != event:
            raise ShapeError(f"{name}: expected shape (..., {', '.join(map(str, event))}), got {found.shape}.")
    if contexts is not None and flow.context_shape is None:
        raise ShapeError(f"context: this flow is unconditional, got a context of shape {contexts.shape}. Leave it out.")
    if contexts is None and flow.context_shape is not None:
        raise ShapeError("context: data of a conditional flow need their contexts, got none. Pass context=.")
    rows = None if rows is None else rows.reshape(-1, *flow.shape)
    contexts = None if contexts is None or flow.context_shape is None else contexts.reshape(-1, *flow.context_shape)
    if rows is not None and contexts is not None and len(contexts) not in (1, len(rows)):
        raise ShapeError(f"context: expected one, or one for each of the {len(rows)} rows of x, got {len(contexts)}.")
    return rows, contexts, note


def _as_rows(name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise DataError(f"{name}: expected real numbers, got {array.size} entries of type {array.dtype}.")
    array = array.astype(np.float64)
    if (n_bad := int((~np.isfinite(array)).sum())) > 0:
        raise DataError(
            f"{name}: expected finite numbers, got {n_bad} NaN or infinite ones. Remove or fill them first."
        )
    return array


def _finite_row(samples: np.ndarray, log_probs: np.ndarray, data: np.ndarray | None, note: str) -> Row:
    bad = ~(np.isfinite(samples.reshape(len(samples), -1)).all(1) & np.isfinite(log_probs))
    words = f"{int(bad.sum())} of {len(bad)} samples"
    if data is not None:
        bad_data = ~np.isfinite(data)
        words += f" and {int(bad_data.sum())} of {len(bad_data)} rows of data"
        bad = np.concatenate([bad, bad_data])
    share = float(bad.mean())
    remedy = ": look for NaN weights, a layer that overflows, data outside the support" if share else ""
    return Row("finite values", share, 0.0, share == 0, f"{words} not finite{remedy}.{note}")


def _point_rows(
    flow: Flow,
    samples: np.ndarray,
    rows: np.ndarray | None,
    contexts: np.ndarray | None,
    key: PRNGKeyArray,
    random: np.random.Generator,
) -> list[Row]:
    probe = Probe(flow, contexts)
    z, far, has_density = probe.latent(key)
    z_unit, x_unit = _deviations(z), _deviations(samples.reshape(len(samples), -1))
    eps, limit = probe.eps, condition_limit(probe.eps)

    forward, outward = probe.map(z, inverse=False), probe.map(far, inverse=False)
    trips = [
        ("round trip of samples", forward, probe.map(forward.images, inverse=True)),
        ("round trip 3 sigma outward", outward, probe.map(outward.images, inverse=True)),
    ]
    if rows is not None:
        chosen = np.resize(random.permutation(len(rows)), probe.n)
        given = None if contexts is None else _paired(contexts, len(rows))[chosen]
        inverse = probe.map(rows.reshape(len(rows), -1)[chosen], inverse=True, contexts=given)
        trips.append(("round trip of data", inverse, probe.map(inverse.images, inverse=False, contexts=given)))

    results, found = [], []
    for name, there, back in trips:
        is_data = name == "round trip of data"
        numbers = conditions(back if is_data else there, x_unit, z_unit)
        # What is wrong where no digit is left is the conditioning, which has a row of its own.
        counted = ~(numbers > limit) & (has_density if there is outward else True)
        results.append(round_trip_row(name, there, back, x_unit if is_data else z_unit, eps, counted))
        if there is not outward:
            found.append((numbers, counted, (back, there) if is_data else (there, back)))
    counted = np.concatenate([part for _, part, _ in found])
    for direction, name in enumerate(("log-det of forward", "log-det of inverse")):
        results.append(log_det_row(name, [sides[direction] for *_, sides in found], eps, counted))
    return [*results, conditioning_row(np.concatenate([numbers for numbers, *_ in found]), eps, probe.dim)]


def _paired(contexts: np.ndarray, n: int) -> np.ndarray:
    """One context for each of n rows: the only one, or their own."""
    return np.broadcast_to(contexts, (n, *contexts.shape[1:]))


def _deviations(points: np.ndarray) -> np.ndarray:
    """Standard deviations (D,) of the finite points; 1 where there are none."""
    finite = np.asarray(points, np.float64)[np.isfinite(points).all(1)]
    found = finite.std(0) if len(finite) else np.zeros(points.shape[1])
    return np.where(found > 0, found, 1.0)
