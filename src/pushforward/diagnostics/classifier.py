"""Whether a classifier can tell rows from the flow's samples: a two-sample test whose effect is its AUC.

Half of the rows, with their samples, train a ridge regression on polynomials, products and random Fourier features;
the other half is scored by it. Where the flow is right the classifier is independent of what it scores, and its AUC is
the Mann-Whitney statistic of two equal laws: mean 1/2, variance (n + m + 1) / (12 n m).
"""

import math
import statistics
from collections.abc import Callable

import numpy as np

from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.comparison import EFFECT_AUC, FALSE_ALARM, SURE, Part, legendre, some_columns

NAME = "classifier"
_WAVES = 128
_WIDTHS = (0.4, 1.5)  # of the waves, in deviations
_MOST_COLUMNS, _MOST_CONTEXTS = 16, 8
_PENALTY = 0.02
_FEWEST = 200

Features = Callable[[np.ndarray], np.ndarray]


def classifier_row(parts: list[Part], contexts: np.ndarray | None, random: np.random.Generator) -> Row:
    """The AUC on rows that the classifier was not trained on.

    Args:
        parts: rows (n, d) beside samples (n, K, d), by ranks.
        contexts: of the rows (n, C), by ranks, or None.
        random: for the halves and the waves.

    Reference: Lopez-Paz & Oquab 2017, section 3 (classifier two-sample tests), there with the accuracy; Rahimi & Recht
        2007 (random features).
    """
    n = len(parts[0].rows)
    if n < _FEWEST:
        return Row(NAME, None, None, None, f"{n} rows are too few to train a classifier; {_FEWEST} would do.")
    parts = [some_columns(part, _MOST_COLUMNS) for part in parts]
    if contexts is not None:
        width = contexts.shape[1]
        contexts = contexts[:, np.linspace(0, width - 1, min(width, _MOST_CONTEXTS)).astype(int)]
    features = [_features(_with(part.rows, contexts).shape[1], random) for part in parts]
    order = random.permutation(n)
    (mine, theirs), tested = (_both(parts, contexts, features, half) for half in (order[: n // 2], order[n // 2 :]))
    weights = _ridge(mine, theirs)
    value, error = _auc(*(part @ weights for part in tested))
    bound = max(EFFECT_AUC + SURE * error, 0.5 + statistics.NormalDist().inv_cdf(1 - FALSE_ALARM) * error)
    if value <= bound:
        return Row(NAME, max(value, 0.5), bound, True, f"AUC {value:.3f} on the half that was not trained on.")
    return Row(
        NAME, value, bound, False,
        f"A classifier of rows and samples has an AUC of {value:.3f} +- {error:.3f} on the half that was not trained "
        f"on, where {EFFECT_AUC} is let pass.",
        "a classifier tells the rows from the flow's samples",
        "Train longer or with more layers; where the comparison with samples passes, it is several columns together.",
    )  # fmt: skip


def _with(values: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    return values if contexts is None else np.concatenate([values, contexts], 1)


def _both(
    parts: list[Part], contexts: np.ndarray | None, features: list[Features], half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features (h, F) of the rows of one half and (h K, F) of their samples."""
    each = parts[0].drawn.shape[1]
    given = None if contexts is None else contexts[half]
    many = None if given is None else np.repeat(given, each, axis=0)
    mine = [of(_with(part.rows[half], given)) for of, part in zip(features, parts, strict=True)]
    theirs = [
        of(_with(part.drawn[half].reshape(-1, part.rows.shape[1]), many))
        for of, part in zip(features, parts, strict=True)
    ]
    return np.concatenate(mine, 1), np.concatenate(theirs, 1)


def _features(dim: int, random: np.random.Generator) -> Features:
    """Features of ranks u (n, dim): polynomials of each, products of two, and waves of normal scores."""
    from scipy.special import ndtri

    waves = np.concatenate([random.normal(size=(dim, _WAVES // 2)) / width for width in _WIDTHS], 1)
    phases = random.uniform(0, 2 * math.pi, waves.shape[1])
    left, right = np.triu_indices(dim, 1)

    def of(u: np.ndarray) -> np.ndarray:
        powers = legendre(u, 4)
        pairs = [powers[a][:, left] * powers[b][:, right] for a in (0, 1) for b in (0, 1)]
        scores = ndtri((u + 1) / 2)
        cosines = math.sqrt(2) * np.cos(scores @ waves + phases) if dim > 1 else np.zeros((len(u), 0))
        return np.concatenate([*powers, *pairs, cosines], 1).astype(np.float32)

    return of


def _ridge(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Weights (F,) of Fisher's discriminant, with a penalty on the pooled covariance."""
    centres = [part.mean(0, dtype=np.float64) for part in (mine, theirs)]
    gap = centres[0] - centres[1]
    products = 0.5 * (mine.T @ mine / len(mine) + theirs.T @ theirs / len(theirs)).astype(np.float64)
    middle = (centres[0] + centres[1]) / 2
    covariance = products - np.outer(middle, middle)
    penalty = _PENALTY * max(1.0, 4 * mine.shape[1] / len(mine))
    return np.linalg.solve(covariance + penalty * np.eye(len(gap)), gap).astype(np.float32)


def _auc(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """The share of pairs in which the row scores higher, and its standard error where both laws are one."""
    from scipy.stats import rankdata

    n, m = len(mine), len(theirs)
    total = rankdata(np.concatenate([mine, theirs]))[:n].sum() - n * (n + 1) / 2
    return float(total / (n * m)), math.sqrt((n + m + 1) / (12 * n * m))
