"""`check`: all tests that apply to a distribution, collected in a certificate."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from pushforward.bijections.residual import exactly
from pushforward.core.dequantised import Dequantised
from pushforward.core.discretised import Discretised
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.float64 import in_float64
from pushforward.core.flow import Flow, Given
from pushforward.core.flow_argument import check_flow_argument
from pushforward.core.named_rows import NamedRows
from pushforward.core.state import is_estimated
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.batches import log_prob, repeat_to, sample
from pushforward.diagnostics.certificate import Certificate
from pushforward.diagnostics.circles import restrict_to_one_period
from pushforward.diagnostics.copies import copies_row
from pushforward.diagnostics.data import data_rows
from pushforward.diagnostics.edges import nudge_into_support
from pushforward.diagnostics.gap import gap_row
from pushforward.diagnostics.inputs import Columns, broadcast_contexts, check_inputs, row_numbers, subsample
from pushforward.diagnostics.integral import normalisation_row
from pushforward.diagnostics.limits import limit_rows
from pushforward.diagnostics.maps import map_rows
from pushforward.diagnostics.non_finite import finite_row, with_location
from pushforward.diagnostics.points import CONDITION
from pushforward.diagnostics.precision import NAME as PRECISION
from pushforward.diagnostics.precision import precision_row
from pushforward.diagnostics.residual import estimate_row, lipschitz_rows
from pushforward.diagnostics.row import Row
from pushforward.errors import ShapeError
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import flatten, float_type

_N_DRAWS = 1024
_MAX_ROWS = 10_000
_MAX_NUMBERS = 1 << 22
_N_ESTIMATED = 64
_N_BOUNDS = 64
_N_SAMPLES = 4096


def check(
    flow: AbstractDistribution,
    x: ArrayLike | Any = None,
    *,
    key: PRNGKeyArray | int = 0,
    context: ArrayLike | None = None,
    train: ArrayLike | Any = None,
    train_context: ArrayLike | None = None,
) -> Certificate:
    """The health certificate of a flow: is it a density, is its arithmetic right, and do the data match its samples?

        T^-1(T(z)) = z,   T(T^-1(x)) = x,   log_det = log|det J|,   the integral of p is 1

    are tested for any flow, with J by automatic differentiation. The bounds are 50 times the rounding error at that
    point in the flow's dtype, |z| + |J^-1| (|x| + |J| |z|) times eps for a round trip. float32 is compared with
    float64.

    With data x, `check` also tests how often they reach the limits of layers and whether some lie beyond the base;
    whether columns, random directions and latents have the flow's distribution; whether features of columns, pairs,
    latents and contexts, or a classifier, distinguish the rows from samples; and whether rows share values that samples
    do not, or lie on a surface. With `train` it tests whether rows are copies of training rows and whether the flow is
    over-fitted. A true model fails the tests of distributions with a probability of 1e-6 each, those of features,
    classifier and values with 1e-3 each.

    Args:
        flow: a `Flow`, a flow at one context (`flow.given`), or another distribution (fewer tests). For a `Dequantised`
            or `Discretised`, its log-probabilities and samples must be finite; the other tests are of the density in
            it. Circular columns are tested over one period.
        x: data (n, *shape), preferably rows that the flow was not fitted to. From more than 10,000 rows (or four
            million numbers) a random subset is used. Messages use the column names of a frame.
        key: a JAX key or an int, for the points.
        context: one context, or one for each row of x. Default: standard normal in the units of the flow's context
            scaling.
        train: rows (m, *shape) that the flow was fitted to; x are then held-out rows.
        train_context: their contexts.

    Returns:
        A `Certificate`: prints as a table; `.ok`, `.verdict`, `.rows`, `.to_dict()`.

    Cost: Jacobians by reverse mode at up to 64 points of each kind in both directions, a thousand samples, and for the
    integral 8,193 or 160,801 log-densities in one or two dimensions, 3,000 samples and 4,000 log-densities above. With
    data three evaluations of them and as many samples, at least 4,096 (15 for each of 4,096 rows of a conditional
    flow); the tests of features and the classifier take about a second for 10,000 rows. A default `nsf` on
    10,000 rows of six columns takes about half a minute on two cores, two thirds of it compilation. Above 1,024
    dimensions Jacobians are left out, above 64 the integral.

    Raises:
        ShapeError: if x, train or the contexts do not fit.
        DataError: if they hold NaN or infinite values.

    Reference: Behrmann, Vicol, Wang, Grosse & Jacobsen 2021, section 4 (round trips and singular values); Lopez-Paz &
        Oquab 2017 (classifiers as two-sample tests).

    Example:
        >>> import pushforward as pf
        >>> pf.check(pf.real_nvp(dim=3, key=0, n_layers=2, width=8)).ok
        True
    """
    check_flow_argument("flow", flow, "check(flow, x)")
    if isinstance(flow, Dequantised | Discretised):
        return _check_masses(flow, x, key, context, train, train_context)
    certificate = _check_density(flow, x, key, context, train, train_context, dequantised=False)
    return _with_float64_results(certificate, flow, x, key, context, dequantised=False)


def _with_float64_results(
    certificate: Certificate,
    flow: AbstractDistribution,
    x: Any,
    key: PRNGKeyArray | int,
    context: Any,
    *,
    dequantised: bool,
) -> Certificate:
    """The certificate with a note where float32 is the only fault, and the flow is healthy in float64.

    Data that float32 cannot represent also fail the comparison with samples: for such tests the float64 result counts.
    """
    failed = {row.name for row in certificate.rows if row.ok is False}
    if certificate.dtype != "float32" or not failed & {PRECISION, CONDITION}:
        return certificate
    with jax.enable_x64(True):
        exact = _check_density(in_float64(flow), x, key, context, None, None, dequantised=dequantised)
    exact_rows = {row.name: row for row in exact.rows if row.ok}
    if not exact.ok or not failed - {PRECISION, CONDITION} <= exact_rows.keys():
        return certificate
    rows = []
    for row in certificate.rows:
        if row.name in failed & {PRECISION, CONDITION}:
            row = dataclasses.replace(row, fault=f"{row.fault}; in float64 it is healthy")
        elif row.name in failed:
            row = dataclasses.replace(exact_rows[row.name], message=f"{exact_rows[row.name].message} In float64.")
        rows.append(row)
    return dataclasses.replace(certificate, rows=tuple(rows))


def _check_density(
    flow: AbstractDistribution,
    x: Any,
    key: PRNGKeyArray | int,
    context: Any,
    train: Any,
    train_context: Any,
    *,
    dequantised: bool,
) -> Certificate:
    """The certificate of a density. `dequantised`: noise was added to the rows."""
    inner, context = (flow.distribution, flow.context) if isinstance(flow, Given) else (flow, context)
    if isinstance(flow, Given) and train is not None:
        train_context = flow.context
    draw_key, point_key, context_key, host_key = jax.random.split(as_key(key), 4)
    random = np.random.default_rng(np.asarray(jax.random.key_data(host_key)))
    columns = Columns(x, flow.shape)
    most = min(_MAX_ROWS, max(64, _MAX_NUMBERS // max(math.prod(flow.shape), 1)))
    rows, contexts, note = check_inputs(inner, x, context, context_key)
    numbers = np.arange(0)
    copies: list[Row] = []
    if rows is not None:
        numbers = row_numbers(x, len(rows))
        rows, contexts, chosen = subsample(rows, contexts, most, random)
        numbers = numbers[chosen]
    fitted = _training_rows(inner, train, train_context, rows, context_key)
    inner, circles = restrict_to_one_period(inner)
    if circles is not None:
        rows = None if rows is None else circles.wrap(rows)
        fitted = None if fitted is None else (circles.wrap(fitted[0]), fitted[1])
    if fitted is not None and rows is not None:
        copies.append(copies_row(*(_joined(*part) for part in ((rows, contexts), fitted)), random))
        fitted = subsample(*fitted, most, random)[:2]

    samples, log_probs = sample(inner, _N_DRAWS, contexts, draw_key)
    row_log_probs = None if rows is None else log_prob(inner, rows, contexts)
    n_moved = 0
    if rows is not None and row_log_probs is not None:
        rows, row_log_probs, n_moved = nudge_into_support(inner, rows, contexts, row_log_probs, samples)
    results = [finite_row(samples, log_probs, row_log_probs, note, numbers, n_moved)]
    if results[0].ok is False:
        results = [with_location(results[0], inner, rows, contexts)]
    if circles is not None:
        points = samples if rows is None else rows
        points = circles.wrap(points[np.isfinite(points).all(1)].astype(np.float64)[:_N_DRAWS])
        results += [circles.row(points)] if len(points) else []
    exact = exactly(inner) if is_estimated(inner) else inner
    if exact is not inner:
        results.append(estimate_row(inner, exact, samples[:_N_ESTIMATED], repeat_to(contexts, _N_ESTIMATED)))
    results += lipschitz_rows(inner)
    forward_values, share_without_digits = None, 0.0
    if isinstance(exact, Flow):
        tests, forward_values, share_without_digits = map_rows(exact, samples, rows, contexts, point_key, random)
        results += tests
    dtype = str(float_type(flatten(inner)[0]))
    points, point_log_probs, what = (samples, log_probs, "samples") if rows is None else (rows, row_log_probs, "rows")
    good = np.isfinite(points).reshape(len(points), -1).all(1) & np.isfinite(np.asarray(point_log_probs))
    point_contexts = None if contexts is None else np.resize(contexts, (len(points), *contexts.shape[1:]))[good]
    points = points[good]
    if dtype == "float32" and len(points):
        results.append(precision_row(exact, points, point_contexts, forward_values, share_without_digits))
    too_coarse = results[-1].ok is False and results[-1].name == PRECISION
    one_context = None if contexts is None else contexts[:1]
    results.append(normalisation_row(exact, one_context, too_coarse, share_without_digits > 0.5, random))
    z = None
    if isinstance(exact, Flow) and len(points):
        tests, z = limit_rows(exact, points, point_contexts, what, columns)
        results += tests
    results += copies
    if fitted is not None and row_log_probs is not None:
        known, known_at = fitted
        known_log_probs = nudge_into_support(inner, known, known_at, log_prob(inner, known, known_at), samples)[1]
        results.append(gap_row(known_log_probs, row_log_probs, math.prod(flow.shape)))
    if rows is not None and len(points):
        results += data_rows(
            exact, points, np.asarray(point_log_probs)[good], point_contexts, z, numbers[good], columns, random,
            dequantised=dequantised,
        )  # fmt: skip
    return Certificate(tuple(results), dtype)


def _training_rows(
    flow: AbstractDistribution,
    train: Any,
    train_context: Any,
    rows: np.ndarray | None,
    key: PRNGKeyArray,
) -> tuple[np.ndarray, np.ndarray | None] | None:
    if train is None:
        if train_context is not None:
            raise ShapeError("train_context: got contexts of no training rows. Pass train= too.")
        return None
    if rows is None:
        raise ShapeError("x: expected held-out rows to compare those of `train` with, got none. Pass x= too.")
    train_rows, contexts, _ = check_inputs(flow, train, train_context, key, names=("train", "train_context"))
    return None if train_rows is None else (train_rows, contexts)


def _joined(rows: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Rows with their contexts (n, D + C): two rows are copies only if both are equal."""
    flat = rows.reshape(len(rows), -1)
    return (
        flat
        if contexts is None
        else np.concatenate([flat, broadcast_contexts(contexts, len(rows)).reshape(len(rows), -1)], 1)
    )


def _check_masses(
    flow: Dequantised | Discretised, x: Any, key: PRNGKeyArray | int, context: Any, train: Any, train_context: Any
) -> Certificate:
    """Tests of a discretised distribution, then the certificate of its density at dequantised rows."""
    rows, contexts, note = check_inputs(flow, x, context, as_key(key))
    random = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))))
    columns, fitted = Columns(x, flow.shape), None
    if train is not None:
        fitted = _training_rows(flow, train, train_context, rows, as_key(key))
    for name, part in (("x", rows), ("train", None if fitted is None else fitted[0])):
        if part is not None:
            flow.check_samples(name, part)
    n_bounds = _N_BOUNDS if rows is None or isinstance(flow, Dequantised) else min(len(rows), _N_SAMPLES)
    sample_contexts = contexts
    if rows is not None and contexts is not None:
        sample_contexts = broadcast_contexts(contexts, len(rows))[random.permutation(len(rows))[:n_bounds]]
    samples, log_probs = sample(flow, n_bounds, sample_contexts, as_key(key))
    numbers = np.arange(0) if rows is None else row_numbers(x, len(rows))
    row_log_probs, chosen = None, np.arange(0)
    if rows is not None:
        most = _N_BOUNDS if fitted is None else max(_N_BOUNDS, min(_MAX_ROWS, _MAX_NUMBERS // math.prod(flow.shape)))
        part, part_contexts, chosen = subsample(rows, contexts, most, random)
        row_log_probs = log_prob(flow, part, part_contexts)
    masses = finite_row(samples, log_probs, row_log_probs, note, numbers[chosen])
    results = [dataclasses.replace(masses, name="finite bounds of masses")]
    if rows is not None and fitted is not None and row_log_probs is not None:
        results.append(copies_row(*(_joined(*part) for part in ((rows, contexts), fitted)), random))
        some = subsample(*fitted, len(row_log_probs), random)[:2]
        results.append(gap_row(log_prob(flow, *some), row_log_probs, math.prod(flow.shape)))
    noisy: Any = None
    if rows is not None:
        if isinstance(flow, Discretised):
            quantised = (
                np.asarray(jax.vmap(flow.quantise)(jnp.asarray(part, samples.dtype))) for part in (rows, samples)
            )
            results.append(atoms_row(*quantised, columns))
        noisy = NamedRows(_dequantise(flow, rows, random), columns.names, numbers)
    density = _check_density(flow.flow, noisy, key, context, None, None, dequantised=True)
    density = _with_float64_results(density, flow.flow, noisy, key, context, dequantised=True)
    return Certificate((*results, *density.rows), density.dtype)


def _dequantise(flow: Dequantised | Discretised, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return flow.dequantise(rows, random) if isinstance(flow, Discretised) else rows + random.uniform(size=rows.shape)
