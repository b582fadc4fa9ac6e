"""What is tested of data alone: whether they are distributed as the flow says, columns, pairs, tails and latents."""

import math

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.batches import base_draws, base_scores, draw, score
from pushforward.diagnostics.calibration import N_DIRECTIONS, conditional_row, data_row, latent_row
from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.classifier import classifier_row
from pushforward.diagnostics.comparison import NAME as COMPARISON
from pushforward.diagnostics.comparison import (
    comparison_row,
    context_ranks,
    largest_differences,
    names_of,
    ranked,
)
from pushforward.diagnostics.edges import inside
from pushforward.diagnostics.inputs import Columns, paired
from pushforward.diagnostics.layers import passes
from pushforward.diagnostics.tails import TIMES, reach_row, tails_row
from pushforward.diagnostics.thickness import MOST_DIM, thickness_row

_RANKED = 4096
_EACH = 15
_ENOUGH = 4096  # samples that rows are compared with where they are fewer
_MAX_NUMBERS = 1 << 22


def data_rows(
    flow: AbstractDistribution,
    rows: np.ndarray,
    scores: np.ndarray,
    contexts: np.ndarray | None,
    z: np.ndarray | None,
    numbers: np.ndarray,
    columns: Columns,
    random: np.random.Generator,
    *,
    filled: bool,
) -> list[Row]:
    """The rows of tails, calibration and comparison with samples.

    Args:
        flow: the distribution that is tested.
        rows: data (n, *shape).
        scores: their log-densities (n,).
        contexts: one, or one for each row, or None.
        z: latents (n, *shape) of the rows, None where there is no base.
        numbers: of the rows (n,), as the caller counts them.
        columns: their names.
        random: for draws.
        filled: noise was added to the rows, so that none of their values repeats.
    """
    n, dim = len(rows), math.prod(flow.shape)
    given = None if contexts is None else paired(contexts, n)
    keys = [jax.random.key(int(seed)) for seed in random.integers(2**31, size=3)]
    x = rows.reshape(n, dim)
    if n < 2:
        return [Row("calibration of data", None, None, None, "One row has no distribution: pass more rows.")]
    each = max(1, min(_EACH, _ENOUGH // n, _MAX_NUMBERS // x.size))
    many = None if given is None else np.repeat(given, each, axis=0)
    samples = draw(flow, n * each, many, keys[0])[0]
    samples, sample_scores, _ = inside(flow, samples, many, score(flow, samples, many), samples)
    drawn = samples.reshape(-1, dim).astype(np.float64)
    drawn = drawn[np.isfinite(drawn).all(1)]
    if len(drawn) < 2:
        return [Row("calibration of data", None, None, None, "The flow's samples are not finite.")]
    found = []
    if z is not None and isinstance(flow, Flow):
        found += _latent_rows(flow, z.reshape(n, dim).astype(np.float64), given, numbers, keys[1:])
    found.append(tails_row(x, drawn, columns))
    is_conditional = given is not None and len(np.unique(given.reshape(n, -1), axis=0)) > 1
    if not is_conditional:
        found.append(data_row(x, drawn, columns, random))
    else:
        most = max(64, min(n, _RANKED, _MAX_NUMBERS // (_EACH * (dim + N_DIRECTIONS))))
        kept = random.permutation(n)[:most]
        at = draw(flow, len(kept) * _EACH, np.repeat(given[kept], _EACH, axis=0), keys[0])[0]
        at = at.reshape(len(kept), _EACH, dim).astype(np.float64)
        good = np.isfinite(at).all((1, 2))
        sides = given[kept][good].reshape(int(good.sum()), -1)
        found.append(conditional_row(x[kept][good], at[good], sides, columns, random))
    if dim <= MOST_DIM and dim > 1:
        found.append(thickness_row(x, drawn, random))
    if not filled:
        found.append(atoms_row(x.astype(samples.dtype), drawn, columns))
    sides = given.reshape(n, -1) if is_conditional else None
    parts = [(x, samples, names_of(columns, dim)), (scores, sample_scores, ["log-density"])]
    if z is not None and isinstance(flow, Flow):
        latents = np.empty_like(samples)
        for start in range(each):  # as many at once as there are rows: their programs serve here
            *_, last = passes(flow, samples[start::each], given, inverse=True)
            latents[start::each] = last.images
        parts.append((z, latents, [f"latent coordinate {index}" for index in range(dim)]))
    return [*found, *_comparison_rows(parts, sides, random)]


def _comparison_rows(
    parts: list[tuple[np.ndarray, np.ndarray, list[str]]], contexts: np.ndarray | None, random: np.random.Generator
) -> list[Row]:
    """Of rows (n, ...) beside K samples each (n K, ...), with names for what they hold."""
    n = len(parts[0][0])
    flat = [
        (a.reshape(n, -1).astype(np.float64), b.reshape(n, -1, a.size // n).astype(np.float64)) for a, b, _ in parts
    ]
    good = np.all([~np.isnan(a).any(1) & ~np.isnan(b).any((1, 2)) for a, b in flat], axis=0)
    if good.sum() < 2:
        return [Row(COMPARISON, None, None, None, "Values are not numbers.")]
    ranks = [ranked(a[good], b[good], names) for (a, b), (*_, names) in zip(flat, parts, strict=True)]
    given = None if contexts is None else context_ranks(contexts[good])
    n, each = ranks[0].drawn.shape[:2]
    return [comparison_row(largest_differences(ranks, given), n, each), classifier_row(ranks, given, random)]


def _latent_rows(
    flow: Flow, z: np.ndarray, given: np.ndarray | None, numbers: np.ndarray, keys: list[jax.Array]
) -> list[Row]:
    good = np.isfinite(z).all(1)
    if good.sum() < 2:
        return [Row("calibration of latents", None, None, None, "The latents of the data are not finite.")]
    given = None if given is None else given[good]
    z, numbers = z[good], numbers[good]
    times = max(1, min(TIMES, 4 * _MAX_NUMBERS // z.size))
    drawn, drawn_scores = base_draws(flow, times * len(z), given, keys[0])
    scores = base_scores(flow, z.reshape(-1, *flow.shape), given).astype(np.float64)
    drawn = drawn.reshape(len(drawn), -1).astype(np.float64)
    found = []
    if times == TIMES:
        found.append(reach_row(z, scores, drawn, drawn_scores.astype(np.float64), numbers))
    return [*found, latent_row(z, drawn)]
