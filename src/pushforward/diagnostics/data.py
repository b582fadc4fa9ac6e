"""Tests that need data: whether columns, pairs, tails and latents have the flow's distribution."""

import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.batches import base_log_prob, base_sample, log_prob, sample
from pushforward.diagnostics.calibration import N_DIRECTIONS, conditional_row, data_row, latent_row
from pushforward.diagnostics.classifier import classifier_row
from pushforward.diagnostics.comparison import NAME as COMPARISON
from pushforward.diagnostics.comparison import (
    column_names,
    comparison_row,
    context_ranks,
    largest_differences,
    ranked,
)
from pushforward.diagnostics.edges import nudge_into_support
from pushforward.diagnostics.inputs import Columns, broadcast_contexts
from pushforward.diagnostics.layers import evaluate_layers
from pushforward.diagnostics.row import Row
from pushforward.diagnostics.tails import TIMES, reach_row, tails_row
from pushforward.diagnostics.thickness import MOST_DIM, thickness_row

_MAX_CONDITIONAL_ROWS = 4096
_SAMPLES_EACH = 15
_MIN_SAMPLES = 4096
_MAX_NUMBERS = 1 << 22


def data_rows(
    flow: AbstractDistribution,
    rows: np.ndarray,
    log_probs: np.ndarray,
    contexts: np.ndarray | None,
    z: np.ndarray | None,
    numbers: np.ndarray,
    columns: Columns,
    random: np.random.Generator,
    *,
    dequantised: bool,
) -> list[Row]:
    """The rows of tails, calibration and comparison with samples.

    Args:
        flow: the distribution to test.
        rows: data (n, *shape).
        log_probs: their log-densities (n,).
        contexts: one, or one for each row, or None.
        z: latents (n, *shape) of the rows, None where there is no base.
        numbers: of the rows (n,), as the caller counts them.
        columns: their names.
        random: for draws.
        dequantised: noise was added to the rows, so that none of their values repeats.
    """
    n, dim = len(rows), math.prod(flow.shape)
    contexts = None if contexts is None else broadcast_contexts(contexts, n)
    keys = [jax.random.key(int(seed)) for seed in random.integers(2**31, size=3)]
    x = rows.reshape(n, dim)
    if n < 2:
        return [Row("calibration of data", None, None, None, "One row has no distribution: pass more rows.")]
    each = max(1, min(_SAMPLES_EACH, _MIN_SAMPLES // n, _MAX_NUMBERS // x.size))
    repeated = None if contexts is None else np.repeat(contexts, each, axis=0)
    samples = sample(flow, n * each, repeated, keys[0])[0]
    sample_log_probs = log_prob(flow, samples, repeated)
    samples, sample_log_probs, _ = nudge_into_support(flow, samples, repeated, sample_log_probs, samples)
    finite = samples.reshape(-1, dim).astype(np.float64)
    finite = finite[np.isfinite(finite).all(1)]
    if len(finite) < 2:
        return [Row("calibration of data", None, None, None, "The flow's samples are not finite.")]
    results = []
    if z is not None and isinstance(flow, Flow):
        results += _latent_rows(flow, z.reshape(n, dim).astype(np.float64), contexts, numbers, keys[1:], x, columns)
    results.append(tails_row(x, finite, columns))
    is_conditional = contexts is not None and len(np.unique(contexts.reshape(n, -1), axis=0)) > 1
    if not is_conditional:
        results.append(data_row(x, finite, columns, random))
    else:
        most = max(64, min(n, _MAX_CONDITIONAL_ROWS, _MAX_NUMBERS // (_SAMPLES_EACH * (dim + N_DIRECTIONS))))
        chosen = random.permutation(n)[:most]
        repeated = np.repeat(contexts[chosen], _SAMPLES_EACH, axis=0)
        conditional = sample(flow, len(chosen) * _SAMPLES_EACH, repeated, keys[0])[0]
        conditional = conditional.reshape(len(chosen), _SAMPLES_EACH, dim).astype(np.float64)
        good = np.isfinite(conditional).all((1, 2))
        flat_contexts = contexts[chosen][good].reshape(int(good.sum()), -1)
        results.append(conditional_row(x[chosen][good], conditional[good], flat_contexts, columns, random))
    if dim <= MOST_DIM and dim > 1:
        results.append(thickness_row(x, finite, random))
    if not dequantised:
        results.append(atoms_row(x.astype(samples.dtype), finite, columns))
    flat_contexts = contexts.reshape(n, -1) if is_conditional else None
    parts = [(x, samples, column_names(columns, dim)), (log_probs, sample_log_probs, ["log-density"])]
    if z is not None and isinstance(flow, Flow):
        latents = np.empty_like(samples)
        for start in range(each):  # in batches of n, so that the compiled programs of the rows serve here
            *_, last = evaluate_layers(flow, samples[start::each], contexts, inverse=True)
            latents[start::each] = last.outputs
        parts.append((z, latents, [f"latent coordinate {index}" for index in range(dim)]))
    return [*results, *_comparison_rows(parts, flat_contexts, columns, random)]


def _comparison_rows(
    parts: list[tuple[np.ndarray, np.ndarray, list[str]]], contexts: np.ndarray | None, columns: Columns,
    random: np.random.Generator,
) -> list[Row]:  # fmt: skip
    """Comparison and classifier rows of (rows (n, ...), K samples of each (n K, ...), names of the coordinates)."""
    n = len(parts[0][0])
    flat = [
        (a.reshape(n, -1).astype(np.float64), b.reshape(n, -1, a.size // n).astype(np.float64)) for a, b, _ in parts
    ]
    good = np.all([~np.isnan(a).any(1) & ~np.isnan(b).any((1, 2)) for a, b in flat], axis=0)
    if good.sum() < 2:
        return [Row(COMPARISON, None, None, None, "Values are not numbers.")]
    ranks = [ranked(a[good], b[good], names) for (a, b), (*_, names) in zip(flat, parts, strict=True)]
    contexts = None if contexts is None else context_ranks(contexts[good])
    n, each = ranks[0].samples.shape[:2]

    def related(index: int) -> str:
        return columns.most_related(flat[-1][0][good][:, index], flat[0][0][good])[0]

    differences = largest_differences(ranks, contexts)
    return [comparison_row(differences, n, each, related), classifier_row(ranks, contexts, random)]


def _latent_rows(
    flow: Flow, z: np.ndarray, contexts: np.ndarray | None, numbers: np.ndarray, keys: list[jax.Array],
    x: np.ndarray, columns: Columns,
) -> list[Row]:  # fmt: skip
    good = np.isfinite(z).all(1)
    if good.sum() < 2:
        return [Row("calibration of latents", None, None, None, "The latents of the data are not finite.")]
    contexts = None if contexts is None else contexts[good]
    z, numbers, x = z[good], numbers[good], x[good]
    times = max(1, min(TIMES, 4 * _MAX_NUMBERS // z.size))
    samples, sample_log_probs = base_sample(flow, times * len(z), contexts, keys[0])
    log_probs = base_log_prob(flow, z.reshape(-1, *flow.shape), contexts).astype(np.float64)
    samples = samples.reshape(len(samples), -1).astype(np.float64)
    results = []
    if times == TIMES:
        results.append(reach_row(z, log_probs, samples, sample_log_probs.astype(np.float64), numbers, x, columns))
    return [*results, latent_row(z, samples, x, columns)]
