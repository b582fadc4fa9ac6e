"""What is tested of data alone: whether they are distributed as the flow says, columns, tails and latents."""

import math

import jax
import numpy as np

from pushforward.diagnostics.batches import base_draws, base_scores, draw
from pushforward.diagnostics.calibration import N_DIRECTIONS, conditional_row, data_row, latent_row
from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import Columns, paired
from pushforward.diagnostics.tails import TIMES, reach_row, tails_row
from pushforward.distribution import AbstractDistribution
from pushforward.flow import Flow

_RANKED = 4096
_EACH = 15
_MAX_NUMBERS = 1 << 22


def data_rows(
    flow: AbstractDistribution,
    rows: np.ndarray,
    contexts: np.ndarray | None,
    z: np.ndarray | None,
    numbers: np.ndarray,
    columns: Columns,
    random: np.random.Generator,
) -> list[Row]:
    """The rows of tails and calibration.

    Args:
        flow: the distribution that is tested.
        rows: data (n, *shape).
        contexts: one, or one for each row, or None.
        z: latents (n, *shape) of the rows, None where there is no base.
        numbers: of the rows (n,), as the caller counts them.
        columns: their names.
        random: for draws.
    """
    n, dim = len(rows), math.prod(flow.shape)
    given = None if contexts is None else paired(contexts, n)
    keys = [jax.random.key(int(seed)) for seed in random.integers(2**31, size=3)]
    x = rows.reshape(n, dim)
    drawn = draw(flow, n, given, keys[0])[0].reshape(n, dim).astype(np.float64)
    drawn = drawn[np.isfinite(drawn).all(1)]
    found = []
    if n < 2:
        return [Row("calibration of data", None, None, None, "One row has no distribution: pass more rows.")]
    if len(drawn) < 2:
        return [Row("calibration of data", None, None, None, "The flow's samples are not finite.")]
    if z is not None and isinstance(flow, Flow):
        found += _latent_rows(flow, z.reshape(n, dim).astype(np.float64), given, numbers, keys[1:])
    found.append(tails_row(x, drawn, columns))
    if given is None or len(np.unique(given.reshape(n, -1), axis=0)) == 1:
        found.append(data_row(x, drawn, columns, random))
    else:
        most = max(64, min(n, _RANKED, _MAX_NUMBERS // (_EACH * (dim + N_DIRECTIONS))))
        kept = random.permutation(n)[:most]
        each = draw(flow, len(kept) * _EACH, np.repeat(given[kept], _EACH, axis=0), keys[0])[0]
        each = each.reshape(len(kept), _EACH, dim).astype(np.float64)
        good = np.isfinite(each).all((1, 2))
        at = given[kept][good].reshape(int(good.sum()), -1)
        found.append(conditional_row(x[kept][good], each[good], at, columns, random))
    return found


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
