"""`check`: every test that fits a distribution, gathered into a certificate."""

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
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.fields import cast
from pushforward.core.flow import Flow, Given
from pushforward.core.named_rows import NamedRows
from pushforward.core.state import is_estimated
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.batches import draw, repeated, score
from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.diagnostics.circles import cut_open
from pushforward.diagnostics.copies import copies_row
from pushforward.diagnostics.data import data_rows
from pushforward.diagnostics.edges import inside
from pushforward.diagnostics.gap import gap_row
from pushforward.diagnostics.inputs import Columns, given_rows, numbers_of, paired, some_of
from pushforward.diagnostics.integral import normalisation_row
from pushforward.diagnostics.limits import limit_rows
from pushforward.diagnostics.maps import map_rows
from pushforward.diagnostics.non_finite import locate_non_finite
from pushforward.diagnostics.points import CONDITION
from pushforward.diagnostics.precision import NAME as PRECISION
from pushforward.diagnostics.precision import precision_row
from pushforward.diagnostics.residual import estimate_row, lipschitz_rows
from pushforward.errors import ShapeError
from pushforward.numerics.programs import flatten, float_type

_N_DRAWS = 1024
_MAX_ROWS = 10_000
_MAX_NUMBERS = 1 << 22
_N_ESTIMATED = 64
_N_BOUNDS = 64
_N_SAMPLES = 4096
OUTSIDE = "rows of data lie outside the support of the flow"


def check(
    flow: AbstractDistribution,
    x: ArrayLike | Any = None,
    *,
    key: PRNGKeyArray | int = 0,
    context: ArrayLike | None = None,
    train: ArrayLike | Any = None,
    train_context: ArrayLike | None = None,
) -> Certificate:
    """The health certificate of a flow: is it a density, is its arithmetic right, and are data like its samples?

        T^-1(T(z)) = z,   T(T^-1(x)) = x,   log_det = log|det J|,   the integral of p is 1

    of any flow, with J by automatic differentiation; the bounds are 50 times what rounding does in the flow's type of
    numbers at that point, |z| + |J^-1| (|x| + |J| |z|) times eps for a round trip. Float32 is held against float64.
    With data x also: how often they run into the limits of layers, whether some lie further out than the base allows,
    whether columns, random directions and latents are distributed as the flow says, whether features of columns, pairs,
    latents and contexts, or a classifier, tell the rows from samples, whether rows share values that samples do not or
    lie on a surface, and with `train` whether they are copies of its rows or it was over-fitted. A true model fails the
    tests of distributions with a probability of 1e-6 each, those of features, classifier and values with 1e-3 each.

    Args:
        flow: a `Flow`, a flow at one context (`flow.given`), or another distribution (fewer tests). Of a `Dequantised`
            or `Discretised` its own scores and samples must be finite; the other tests are of the density in it.
            Circular columns are cut open, and tested over one period.
        x: data (n, *shape), best such as it was not fitted to; of more than 10,000 rows (or four million numbers) as
            many are drawn. The columns of a frame are called by their names.
        key: a JAX key or an int, for the points.
        context: one context, or one for each row of x; if not given, drawn standard normal in the units of the flow's
            own context scaling.
        train: rows (m, *shape) that the flow was fitted to; x are then held-out ones.
        train_context: their contexts.

    Returns:
        A `Certificate`: prints as a table; `.ok`, `.verdict`, `.rows`, `.to_dict()`.

    Cost: Jacobians by reverse mode at up to 64 points of each kind in both directions, a thousand samples, and for the
    integral 8,193 or 160,801 log-densities in one or two dimensions, 3,000 samples and 4,000 log-densities above. With
    data three passes over them and as many samples, at least 4,096 (15 for each of 4,096 rows of a conditional flow);
    the tests of features and the classifier take about a second for 10,000 rows. A default `nsf` on
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
    if isinstance(flow, Dequantised | Discretised):
        return _check_masses(flow, x, key, context, train, train_context)
    found = _check_density(flow, x, key, context, train, train_context, filled=False)
    return _told_in_double(found, flow, x, key, context, filled=False)


def _told_in_double(
    found: Certificate,
    flow: AbstractDistribution,
    x: Any,
    key: PRNGKeyArray | int,
    context: Any,
    *,
    filled: bool,
) -> Certificate:
    """The certificate, which says so where all that fails is float32 and the flow is healthy in float64.

    Data that float32 cannot hold are not like the samples either: of such tests the result in float64 counts.
    """
    failed = {row.name for row in found.rows if row.ok is False}
    if found.dtype != "float32" or not failed & {PRECISION, CONDITION}:
        return found
    with jax.enable_x64(True):
        exact = _check_density(cast(flow, np.float64), x, key, context, None, None, filled=filled)
    passed = {row.name: row for row in exact.rows if row.ok}
    if not exact.ok or not failed - {PRECISION, CONDITION} <= passed.keys():
        return found
    rows = []
    for row in found.rows:
        if row.name in failed & {PRECISION, CONDITION}:
            row = dataclasses.replace(row, fault=f"{row.fault}; in float64 it is healthy")
        elif row.name in failed:
            row = dataclasses.replace(passed[row.name], sentence=f"{passed[row.name].sentence} In float64.")
        rows.append(row)
    return dataclasses.replace(found, rows=tuple(rows))


def _check_density(
    flow: AbstractDistribution,
    x: Any,
    key: PRNGKeyArray | int,
    context: Any,
    train: Any,
    train_context: Any,
    *,
    filled: bool,
) -> Certificate:
    """The certificate of a density; `filled` where noise was added to the rows."""
    inner, context = (flow.distribution, flow.context) if isinstance(flow, Given) else (flow, context)
    if isinstance(flow, Given) and train is not None:
        train_context = flow.context
    draw_key, point_key, context_key, host_key = jax.random.split(as_key(key), 4)
    random = np.random.default_rng(np.asarray(jax.random.key_data(host_key)))
    columns = Columns(x, flow.shape)
    most = min(_MAX_ROWS, max(64, _MAX_NUMBERS // max(math.prod(flow.shape), 1)))
    rows, contexts, note = given_rows(inner, x, context, context_key)
    numbers = np.arange(0)
    copies: list[Row] = []
    if rows is not None:
        numbers = numbers_of(x, len(rows))
        rows, contexts, kept = some_of(rows, contexts, most, random)
        numbers = numbers[kept]
    fitted = _training_rows(inner, train, train_context, rows, context_key)
    inner, circles = cut_open(inner)
    if circles is not None:
        rows = None if rows is None else circles.into(rows)
        fitted = None if fitted is None else (circles.into(fitted[0]), fitted[1])
    if fitted is not None and rows is not None:
        copies.append(copies_row(*(_joined(*part) for part in ((rows, contexts), fitted)), random))
        fitted = some_of(*fitted, most, random)[:2]

    samples, log_probs = draw(inner, _N_DRAWS, contexts, draw_key)
    scores = None if rows is None else score(inner, rows, contexts)
    n_moved = 0
    if rows is not None and scores is not None:
        rows, scores, n_moved = inside(inner, rows, contexts, scores, samples)
    results = [_finite_row(samples, log_probs, scores, note, numbers, n_moved)]
    if results[0].ok is False:
        results = [_located(results[0], inner, rows, contexts)]
    if circles is not None:
        points = samples if rows is None else rows
        points = circles.into(points[np.isfinite(points).all(1)].astype(np.float64)[:_N_DRAWS])
        results += [circles.row(points)] if len(points) else []
    exact = exactly(inner) if is_estimated(inner) else inner
    if exact is not inner:
        results.append(estimate_row(inner, exact, samples[:_N_ESTIMATED], repeated(contexts, _N_ESTIMATED)))
    results += lipschitz_rows(inner)
    images, blurred = None, 0.0
    if isinstance(exact, Flow):
        found, images, blurred = map_rows(exact, samples, rows, contexts, point_key, random)
        results += found
    dtype = str(float_type(flatten(inner)[0]))
    shown, shown_scores, what = (samples, log_probs, "samples") if rows is None else (rows, scores, "rows")
    good = np.isfinite(shown).reshape(len(shown), -1).all(1) & np.isfinite(np.asarray(shown_scores))
    given = None if contexts is None else np.resize(contexts, (len(shown), *contexts.shape[1:]))[good]
    shown = shown[good]
    if dtype == "float32" and len(shown):
        results.append(precision_row(exact, shown, given, images, blurred))
    coarse = results[-1].ok is False and results[-1].name == PRECISION
    results.append(normalisation_row(exact, None if contexts is None else contexts[:1], coarse, blurred > 0.5, random))
    z = None
    if isinstance(exact, Flow) and len(shown):
        found, z = limit_rows(exact, shown, given, what)
        results += found
    results += copies
    if fitted is not None and scores is not None:
        known, known_at = fitted
        fitted_scores = inside(inner, known, known_at, score(inner, known, known_at), samples)[1]
        results.append(gap_row(fitted_scores, scores, math.prod(flow.shape)))
    if rows is not None and len(shown):
        results += data_rows(
            exact, shown, np.asarray(shown_scores)[good], given, z, numbers[good], columns, random, filled=filled
        )
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
    found, contexts, _ = given_rows(flow, train, train_context, key, names=("train", "train_context"))
    return None if found is None else (found, contexts)


def _joined(rows: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Rows with their contexts (n, D + C): two rows are copies only if both are equal."""
    flat = rows.reshape(len(rows), -1)
    return flat if contexts is None else np.concatenate([flat, paired(contexts, len(rows)).reshape(len(rows), -1)], 1)


def _check_masses(
    flow: Dequantised | Discretised, x: Any, key: PRNGKeyArray | int, context: Any, train: Any, train_context: Any
) -> Certificate:
    """Finite values, over-fitting and repeated values of the masses, then the certificate of the density at rows with
    noise, as it was fitted to them."""
    rows, contexts, note = given_rows(flow, x, context, as_key(key))
    random = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))))
    columns, fitted = Columns(x, flow.shape), None
    if train is not None:
        fitted = _training_rows(flow, train, train_context, rows, as_key(key))
    for name, part in (("x", rows), ("train", None if fitted is None else fitted[0])):
        if part is not None:
            flow.check_samples(name, part)
    n_bounds = _N_BOUNDS if rows is None or isinstance(flow, Dequantised) else min(len(rows), _N_SAMPLES)
    drawn_at = contexts
    if rows is not None and contexts is not None:
        drawn_at = paired(contexts, len(rows))[random.permutation(len(rows))[:n_bounds]]
    samples, log_probs = draw(flow, n_bounds, drawn_at, as_key(key))
    numbers = np.arange(0) if rows is None else numbers_of(x, len(rows))
    scores, scored = None, np.arange(0)
    if rows is not None:
        most = _N_BOUNDS if fitted is None else max(_N_BOUNDS, min(_MAX_ROWS, _MAX_NUMBERS // math.prod(flow.shape)))
        part, given, scored = some_of(rows, contexts, most, random)
        scores = score(flow, part, given)
    masses = _finite_row(samples, log_probs, scores, note, numbers[scored])
    found = [dataclasses.replace(masses, name="finite bounds of masses")]
    if rows is not None and fitted is not None and scores is not None:
        found.append(copies_row(*(_joined(*part) for part in ((rows, contexts), fitted)), random))
        some = some_of(*fitted, len(scores), random)[:2]
        found.append(gap_row(score(flow, *some), scores, math.prod(flow.shape)))
    noisy: Any = None
    if rows is not None:
        if isinstance(flow, Discretised):
            values = (np.asarray(jax.vmap(flow.quantise)(jnp.asarray(part, samples.dtype))) for part in (rows, samples))
            found.append(atoms_row(*values, columns))
        noisy = NamedRows(_filled(flow, rows, random), columns.names, numbers)
    density = _check_density(flow.flow, noisy, key, context, None, None, filled=True)
    density = _told_in_double(density, flow.flow, noisy, key, context, filled=True)
    return Certificate((*found, *density.rows), density.dtype)


def _filled(flow: Dequantised | Discretised, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return flow.dequantise(rows, random) if isinstance(flow, Discretised) else rows + random.uniform(size=rows.shape)


def _finite_row(
    samples: np.ndarray,
    log_probs: np.ndarray,
    data: np.ndarray | None,
    note: str,
    numbers: np.ndarray,
    n_moved: int = 0,
) -> Row:
    bad = ~(np.isfinite(samples.reshape(len(samples), -1)).all(1) & np.isfinite(log_probs))
    words, first = f"{int(bad.sum())} of {len(bad)} samples", ""
    if data is not None:
        bad_data = ~np.isfinite(data)
        words += f" and {int(bad_data.sum())} of {len(bad_data)} rows of data"
        first = f" (first row {numbers[bad_data.argmax()]})" if bad_data.any() else ""
        if n_moved:
            note = f" Rounding puts {n_moved} rows at the edge of the support.{note}"
        if bad_data.any() and not bad.any() and np.isneginf(data[bad_data]).all():
            return Row(
                "finite values", float(bad_data.mean()), 0.0, False, f"{words} not finite{first}: density 0.{note}",
                OUTSIDE, "Look at these rows; if they are right, fit with them, or without bounds of their columns.",
            )  # fmt: skip
        bad = np.concatenate([bad, bad_data])
    share = float(bad.mean())
    if share == 0:
        return Row("finite values", share, 0.0, True, f"{words} not finite.{note}")
    return Row(
        "finite values", share, 0.0, False, f"{words} not finite{first}.{note}", "values are not finite",
        "Look for NaN weights, a layer that overflows, data outside the support.",
    )  # fmt: skip


def _located(row: Row, flow: AbstractDistribution, rows: np.ndarray | None, contexts: np.ndarray | None) -> Row:
    """The row with the place where numbers first break."""
    found = locate_non_finite(flow, rows, contexts)
    if not found or (row.fault == OUTSIDE and not found.parameter):
        return row
    sentence = f"{row.sentence} First to break: {found}."
    if found.parameter:
        return dataclasses.replace(
            row, sentence=sentence, fault=f"weights are NaN or infinite, first {found.parameter}",
            remedy="Go back to an earlier file or fit again with a smaller learning rate; these weights are lost.",
        )  # fmt: skip
    remedy = "Look at that layer: it overflows, or a point lies outside its domain."
    return dataclasses.replace(row, sentence=sentence, remedy=remedy)
