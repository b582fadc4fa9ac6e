"""Classifier two-sample test: whether a classifier can distinguish rows from the flow's samples, by its AUC.

A ridge regression on polynomials, products and random Fourier features is trained on half of the rows and their
samples, and tested on the other half. If the flow is true, its AUC is the Mann-Whitney statistic of two equal
distributions: mean 1/2, variance (n + m + 1) / (12 n m).
"""

import math
import statistics
from collections.abc import Callable

import numpy as np

from pushforward.diagnostics.comparison import EFFECT_AUC, FALSE_ALARM, SURE, Part, legendre, some_columns
from pushforward.diagnostics.row import Row, bounded_row

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
        parts: ranks of rows (n, d) and samples (n, K, d).
        contexts: ranks of the rows' contexts (n, C), or None.
        random: for the halves and the Fourier features.

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
    train, test = (_features_of_half(parts, contexts, features, half) for half in (order[: n // 2], order[n // 2 :]))
    weights = _ridge(*train)
    value, error = _auc(*(part @ weights for part in test))
    bound = max(EFFECT_AUC + SURE * error, 0.5 + statistics.NormalDist().inv_cdf(1 - FALSE_ALARM) * error)
    return bounded_row(
        NAME, max(value, 0.5), bound, f"AUC {value:.3f} on the half that was not trained on.",
        f"A classifier of rows and samples has an AUC of {value:.3f} +- {error:.3f} on the half that was not trained "
        f"on; {EFFECT_AUC} is accepted.",
        "a classifier distinguishes the rows from the flow's samples",
        "Train longer or with more layers; if the comparison with samples passes, the difference is in several columns "
        "together.",
        finding=f"A simple program picks the row out of a pair of a row and a sample in {value:.0%} of the cases, "
        "where 50% is guessing: the model misses how columns go together.",
    )  # fmt: skip


def _with(values: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    return values if contexts is None else np.concatenate([values, contexts], 1)


def _features_of_half(
    parts: list[Part], contexts: np.ndarray | None, features: list[Features], half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features (h, F) of the rows of one half and (h K, F) of their samples."""
    each = parts[0].samples.shape[1]
    contexts = None if contexts is None else contexts[half]
    repeated = None if contexts is None else np.repeat(contexts, each, axis=0)
    rows = [function(_with(part.rows[half], contexts)) for function, part in zip(features, parts, strict=True)]
    samples = [
        function(_with(part.samples[half].reshape(-1, part.rows.shape[1]), repeated))
        for function, part in zip(features, parts, strict=True)
    ]
    return np.concatenate(rows, 1), np.concatenate(samples, 1)


def _features(dim: int, random: np.random.Generator) -> Features:
    """Features of ranks u (n, dim): polynomials of each, products of two, and Fourier features of normal scores."""
    from scipy.special import ndtri

    waves = np.concatenate([random.normal(size=(dim, _WAVES // 2)) / width for width in _WIDTHS], 1)
    phases = random.uniform(0, 2 * math.pi, waves.shape[1])
    left, right = np.triu_indices(dim, 1)

    def features(u: np.ndarray) -> np.ndarray:
        powers = legendre(u, 4)
        pairs = [powers[a][:, left] * powers[b][:, right] for a in (0, 1) for b in (0, 1)]
        scores = ndtri((u + 1) / 2)
        cosines = math.sqrt(2) * np.cos(scores @ waves + phases) if dim > 1 else np.zeros((len(u), 0))
        return np.concatenate([*powers, *pairs, cosines], 1).astype(np.float32)

    return features


def _ridge(rows: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Weights (F,) of Fisher's discriminant, with a penalty on the pooled covariance."""
    centres = [part.mean(0, dtype=np.float64) for part in (rows, samples)]
    gap = centres[0] - centres[1]
    products = 0.5 * (rows.T @ rows / len(rows) + samples.T @ samples / len(samples)).astype(np.float64)
    middle = (centres[0] + centres[1]) / 2
    covariance = products - np.outer(middle, middle)
    penalty = _PENALTY * max(1.0, 4 * rows.shape[1] / len(rows))
    return np.linalg.solve(covariance + penalty * np.eye(len(gap)), gap).astype(np.float32)


def _auc(rows: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """The share of pairs in which the row scores higher, and its standard error if both distributions are equal."""
    from scipy.stats import rankdata

    n, m = len(rows), len(samples)
    total = rankdata(np.concatenate([rows, samples]))[:n].sum() - n * (n + 1) / 2
    return float(total / (n * m)), math.sqrt((n + m + 1) / (12 * n * m))
