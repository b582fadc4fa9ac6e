"""Compares rows with the flow's samples by the means of many named features: columns, pairs, contexts, latents.

Every value is first replaced by its rank among rows and samples together, u in (-1, 1), so that tails and units do not
matter. Features are Legendre polynomials of u and products of two of them. With f a feature and K samples at the
context of each row i,

    d_i = f(x_i) - 1/K sum_k f(s_ik),   t = sqrt(n) mean(d) / sd(d),   effect = mean(d) / (sd(d) / sqrt(1 + 1/K))

so the mean of d is zero if the flow is true, whatever the contexts are. The effect is a shift in standard deviations of
the feature. It is reported as the AUC of two normal distributions that far apart, Phi(effect / sqrt(2)).
"""

import math
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.row import Row

NAME = "comparison with samples"
FALSE_ALARM = 1e-3
# No fitted flow is exact. An AUC of 0.53, a shift of 0.11 deviations or 0.006 nats a row, is accepted, and whatever is
# not larger with a probability of at least a hundredth.
EFFECT_AUC = 0.53
SURE = statistics.NormalDist().inv_cdf(0.99)
_DEGREE = 6
_PAIR_DEGREE = 2
_MOST_COLUMNS, _MOST_PAIRED = 64, 16
_TOO_FEW = 0.5  # deviations: if the least detectable shift is larger, the test has no power
_DEGREES = ("mean", "spread", "skewness", "tails", "shape", "shape")
_NORMAL = statistics.NormalDist()
_WORDS = {
    "the mean of": "the level of", "the skewness of": "the skewness (lopsidedness) of",
    "the tails of": "the extremes of", "log-density": "the scores", "by the context": "depending on the given columns",
}  # fmt: skip
_DEPENDENCE = "the dependence of "


@dataclass(frozen=True)
class Part:
    """Columns of one kind: rows (n, d) and samples (n, K, d), ranked as u in (-1, 1), with a name for each column."""

    rows: np.ndarray
    samples: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class Largest:
    """The feature with the largest |t|, and what |t| may be by chance."""

    t: float
    name: str
    allowed: float
    n_features: int


def ranked(x: np.ndarray, samples: np.ndarray, names: list[str]) -> Part:
    """The ranks of rows x (n, d) and samples (n, K, d) among both; equal values share their mean rank."""
    from scipy.stats import rankdata

    both = np.concatenate([x, samples.reshape(-1, x.shape[1])])
    u = 2 * (rankdata(both, axis=0) - 0.5) / len(both) - 1
    return Part(u[: len(x)], u[len(x) :].reshape(samples.shape), names)


def context_ranks(contexts: np.ndarray) -> np.ndarray:
    """The ranks u in (-1, 1) of contexts (n, C)."""
    from scipy.stats import rankdata

    return 2 * (rankdata(contexts, axis=0) - 0.5) / len(contexts) - 1


def auc_of(effect: float) -> float:
    """The AUC between two normal distributions of equal scale whose means are `effect` deviations apart."""
    return _NORMAL.cdf(abs(effect) / math.sqrt(2))


def effect_of(auc: float) -> float:
    """The inverse of `auc_of`."""
    return math.sqrt(2) * _NORMAL.inv_cdf(auc)


def largest_differences(parts: list[Part], contexts: np.ndarray | None) -> list[Largest]:
    """For each part, the feature in which rows and samples differ most, in standard errors.

    Args:
        parts: columns; products are formed within each part, and with the contexts.
        contexts: ranks (n, C), or None.
    """
    from scipy.stats import t as student

    n, count, largest = len(parts[0].rows), 0, []
    for part in parts:
        best, name = 0.0, "nothing"
        for d, names in _differences(part, contexts):
            spread = d.std(0, ddof=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                t = np.where(spread > 1e-12, np.abs(d.mean(0)) / spread * math.sqrt(n), 0.0)
            count += len(names)
            worst = int(t.argmax())
            if t[worst] > best:
                best, name = float(t[worst]), names[worst]
        largest.append((best, name))
    allowed = float(student.isf(FALSE_ALARM / 2 / count, n - 1))
    return [Largest(t, name, allowed, count) for t, name in largest]


def comparison_row(
    differences: list[Largest], n: int, each: int, related: Callable[[int], str] = "coordinate {}".format
) -> Row:
    """The largest difference as an AUC, against a bound for chance and a small effect.

    Args:
        differences: by `largest_differences`; the row reports the first that is too large, else the largest.
        n: number of rows.
        each: K.
        related: the columns to which a latent coordinate is related, for the finding.
    """
    unit = math.sqrt((1 + 1 / each) / n)
    detectable = differences[0].allowed * unit
    bound = auc_of(max(effect_of(EFFECT_AUC) + SURE * unit, detectable))
    worst = next((part for part in differences if auc_of(part.t * unit) > bound), None)
    if worst is None:
        worst = max(differences, key=lambda part: part.t)
        if detectable > _TOO_FEW:
            return Row(
                NAME, None, None, None,
                f"{n} rows are too few: a shift of less than {detectable:.2g} deviations would not be detected.",
                f"too few rows to detect a shift below {detectable:.2g} deviations",
                finding=f"{n:,} rows are too few to judge: a column could be off by {detectable:.1g} standard "
                "deviations unnoticed.",
                advice="Test on more rows.",
            )  # fmt: skip
        return Row(
            NAME, auc_of(worst.t * unit), bound, True,
            f"Worst of {worst.n_features}: {worst.name}; shifts from {detectable:.2g} deviations on are detected.",
        )  # fmt: skip
    effect, value = worst.t * unit, auc_of(worst.t * unit)
    message = (
        f"Rows and the flow's samples differ most in {worst.name}: by {effect:.2g} deviations, {worst.t:.1f} standard "
        f"errors, an AUC of {value:.3f}; {EFFECT_AUC} is accepted."
    )
    return Row(
        NAME, value, bound, False, message, f"{worst.name} of the rows is not as in the flow's samples",
        "Train longer or with more layers; if the rows are new ones, they may come from elsewhere than the training "
        "rows.",
        f"{_feature(worst.name, related)}: by {effect:.2g} standard deviations.",
    )  # fmt: skip


def _feature(name: str, related: Callable[[int], str]) -> str:
    """A feature in which rows and samples differ, in words of the table."""
    latents = dict.fromkeys(re.findall(r"latent coordinate (\d+)", name))
    if latents:
        columns = "; and in ".join(dict.fromkeys(related(int(index)) for index in latents))
        return f"Rows and samples differ in how columns go together, most in {columns}"
    if name.startswith(_DEPENDENCE):
        return f"Rows and samples differ most in how {name.removeprefix(_DEPENDENCE)} go together"
    for term, words in _WORDS.items():
        name = name.replace(term, words)
    return f"Rows and samples differ most in {name}"


def column_names(columns: Columns, dim: int) -> list[str]:
    """The names of the columns, by index."""
    return [columns[index] for index in range(dim)]


def some_columns(part: Part, most: int) -> Part:
    """At most `most` columns, evenly spread."""
    width = part.rows.shape[1]
    if width <= most:
        return part
    chosen = np.linspace(0, width - 1, most).astype(int)
    return Part(part.rows[:, chosen], part.samples[..., chosen], [part.names[index] for index in chosen])


def _differences(part: Part, contexts: np.ndarray | None) -> Iterator[tuple[np.ndarray, list[str]]]:
    """d (n, F) with the names of the features, a few at a time."""
    few = some_columns(part, _MOST_COLUMNS)
    rows, samples = (legendre(values, _DEGREE) for values in (few.rows, few.samples))
    for degree in range(_DEGREE):
        yield rows[degree] - samples[degree].mean(1), [f"the {_DEGREES[degree]} of {name}" for name in few.names]
    few = some_columns(part, _MOST_PAIRED)
    rows, samples = (legendre(values, _PAIR_DEGREE) for values in (few.rows, few.samples))
    for i in range(len(few.names) - 1):
        names = [f"{_DEPENDENCE}{few.names[i]} and {other}" for other in few.names[i + 1 :]]
        for a in range(_PAIR_DEGREE):
            for b in range(_PAIR_DEGREE):
                products = rows[a][:, i, None] * rows[b][:, i + 1 :]
                expected = (samples[a][..., i, None] * samples[b][..., i + 1 :]).mean(1)
                yield products - expected, names
    if contexts is None:
        return
    for feature in _context_features(contexts):
        for a in range(_PAIR_DEGREE):
            names = [f"the {_DEGREES[a]} of {name} by the context" for name in few.names]
            yield (rows[a] - samples[a].mean(1)) * feature[:, None], names


def _context_features(contexts: np.ndarray) -> Iterator[np.ndarray]:
    """Features (n,) of contexts: polynomials of each coordinate, and products of two."""
    chosen = np.linspace(0, contexts.shape[1] - 1, min(contexts.shape[1], _MOST_PAIRED)).astype(int)
    powers = legendre(contexts[:, chosen], 4)
    for power in powers:
        yield from power.T
    for i in range(len(chosen) - 1):
        yield from (powers[0][:, i, None] * powers[0][:, i + 1 :]).T


def legendre(u: np.ndarray, degree: int) -> list[np.ndarray]:
    """Polynomials of degree 1 to `degree`, of mean square 1 for uniform u in (-1, 1)."""
    p = [np.ones_like(u), u]
    for k in range(1, degree):
        p.append(((2 * k + 1) * u * p[k] - k * p[k - 1]) / (k + 1))
    return [math.sqrt(2 * k + 1) * p[k] for k in range(1, degree + 1)]
