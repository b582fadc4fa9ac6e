"""Whether rows and the flow's samples have the same means of many named features: columns, pairs, contexts, latents.

Every value is first replaced by its rank among rows and samples together, u in (-1, 1), so that no tail and no unit
counts; features are Legendre polynomials of u and products of two of them. With f one of them and K samples at the
context of each row i,

    d_i = f(x_i) - 1/K sum_k f(s_ik),   t = sqrt(n) mean(d) / sd(d),   effect = mean(d) / (sd(d) / sqrt(1 + 1/K))

so the mean of d is zero where the flow is right, whatever the contexts are. The effect is a shift in standard
deviations of the feature; told as the AUC of two normal laws that far apart, Phi(effect / sqrt(2)).
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import Columns

NAME = "comparison with samples"
FALSE_ALARM = 1e-3
# No fitted flow is the truth. An AUC of 0.53, a shift of 0.11 deviations or 0.006 nats a row, is let pass, and what may
# be no more than that with a probability of a hundredth.
EFFECT_AUC = 0.53
SURE = statistics.NormalDist().inv_cdf(0.99)
_DEGREE = 6
_PAIR_DEGREE = 2
_MOST_COLUMNS, _MOST_PAIRED = 64, 16
_TOO_FEW = 0.5  # deviations: what is larger and cannot be seen makes a verdict worthless
_DEGREES = ("mean", "spread", "skewness", "tails", "shape", "shape")
_NORMAL = statistics.NormalDist()


@dataclass(frozen=True)
class Part:
    """Columns of one kind: rows (n, d) beside samples (n, K, d), ranked as u in (-1, 1), with a name for each."""

    rows: np.ndarray
    drawn: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class Largest:
    """The feature with the largest |t|, and what |t| may be by chance."""

    t: float
    name: str
    allowed: float
    n_features: int


def ranked(x: np.ndarray, drawn: np.ndarray, names: list[str]) -> Part:
    """Rows x (n, d) and samples (n, K, d) by their ranks among both; equal values share the mean of theirs."""
    from scipy.stats import rankdata

    both = np.concatenate([x, drawn.reshape(-1, x.shape[1])])
    u = 2 * (rankdata(both, axis=0) - 0.5) / len(both) - 1
    return Part(u[: len(x)], u[len(x) :].reshape(drawn.shape), names)


def context_ranks(contexts: np.ndarray) -> np.ndarray:
    """Contexts (n, C) by their ranks, u in (-1, 1)."""
    from scipy.stats import rankdata

    return 2 * (rankdata(contexts, axis=0) - 0.5) / len(contexts) - 1


def auc_of(effect: float) -> float:
    """The AUC at which two normal laws of one spread are told apart, `effect` deviations from each other."""
    return _NORMAL.cdf(abs(effect) / math.sqrt(2))


def effect_of(auc: float) -> float:
    """The inverse of `auc_of`."""
    return math.sqrt(2) * _NORMAL.inv_cdf(auc)


def largest_differences(parts: list[Part], contexts: np.ndarray | None) -> list[Largest]:
    """Of each part the feature in which rows and samples differ most, in standard errors.

    Args:
        parts: columns; products are taken within each part, and with the contexts.
        contexts: ranks (n, C), or None.
    """
    from scipy.stats import t as student

    n, count, found = len(parts[0].rows), 0, []
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
        found.append((best, name))
    allowed = float(student.isf(FALSE_ALARM / 2 / count, n - 1))
    return [Largest(t, name, allowed, count) for t, name in found]


def comparison_row(differences: list[Largest], n: int, each: int) -> Row:
    """The largest difference as an AUC, against what chance and a small effect may make of it.

    Args:
        differences: by `largest_differences`; the first that is too large is told, else the largest.
        n: number of rows.
        each: K.
    """
    unit = math.sqrt((1 + 1 / each) / n)
    seen = differences[0].allowed * unit
    bound = auc_of(max(effect_of(EFFECT_AUC) + SURE * unit, seen))
    found = next((part for part in differences if auc_of(part.t * unit) > bound), None)
    if found is None:
        found = max(differences, key=lambda part: part.t)
        if seen > _TOO_FEW:
            words = f"{n} rows are too few to tell: a shift of less than {seen:.2g} deviations would not be seen."
            return Row(NAME, None, None, None, words, f"too few rows to tell a shift below {seen:.2g} deviations")
        return Row(
            NAME, auc_of(found.t * unit), bound, True,
            f"Worst of {found.n_features}: {found.name}; shifts from {seen:.2g} deviations on are seen.",
        )  # fmt: skip
    effect, value = found.t * unit, auc_of(found.t * unit)
    words = (
        f"Rows and the flow's samples differ most in {found.name}: by {effect:.2g} deviations, {found.t:.1f} standard "
        f"errors, an AUC of {value:.3f} where {EFFECT_AUC} is let pass."
    )
    return Row(
        NAME, value, bound, False, words, f"{found.name} of the rows is not as in the flow's samples",
        "Train longer or with more layers; if the rows are new ones, they may come from elsewhere than the training "
        "rows.",
    )  # fmt: skip


def names_of(columns: Columns, dim: int) -> list[str]:
    """What the columns of rows are called."""
    return [columns[index] for index in range(dim)]


def some_columns(part: Part, most: int) -> Part:
    """As many columns at most, evenly spread."""
    width = part.rows.shape[1]
    if width <= most:
        return part
    kept = np.linspace(0, width - 1, most).astype(int)
    return Part(part.rows[:, kept], part.drawn[..., kept], [part.names[index] for index in kept])


def _differences(part: Part, contexts: np.ndarray | None) -> Iterator[tuple[np.ndarray, list[str]]]:
    """d (n, F) with the names of the features, a few at a time."""
    few = some_columns(part, _MOST_COLUMNS)
    rows, drawn = (legendre(values, _DEGREE) for values in (few.rows, few.drawn))
    for degree in range(_DEGREE):
        yield rows[degree] - drawn[degree].mean(1), [f"the {_DEGREES[degree]} of {name}" for name in few.names]
    few = some_columns(part, _MOST_PAIRED)
    rows, drawn = (legendre(values, _PAIR_DEGREE) for values in (few.rows, few.drawn))
    for i in range(len(few.names) - 1):
        names = [f"the dependence of {few.names[i]} and {other}" for other in few.names[i + 1 :]]
        for a in range(_PAIR_DEGREE):
            for b in range(_PAIR_DEGREE):
                mine = rows[a][:, i, None] * rows[b][:, i + 1 :]
                theirs = (drawn[a][..., i, None] * drawn[b][..., i + 1 :]).mean(1)
                yield mine - theirs, names
    if contexts is None:
        return
    for own in _context_features(contexts):
        for a in range(_PAIR_DEGREE):
            names = [f"the {_DEGREES[a]} of {name} by the context" for name in few.names]
            yield (rows[a] - drawn[a].mean(1)) * own[:, None], names


def _context_features(contexts: np.ndarray) -> Iterator[np.ndarray]:
    """Features (n,) of contexts: polynomials of each coordinate, and products of two."""
    kept = np.linspace(0, contexts.shape[1] - 1, min(contexts.shape[1], _MOST_PAIRED)).astype(int)
    powers = legendre(contexts[:, kept], 4)
    for power in powers:
        yield from power.T
    for i in range(len(kept) - 1):
        yield from (powers[0][:, i, None] * powers[0][:, i + 1 :]).T


def legendre(u: np.ndarray, degree: int) -> list[np.ndarray]:
    """Polynomials of degree 1 to `degree`, of mean square 1 for uniform u in (-1, 1)."""
    found = [np.ones_like(u), u]
    for k in range(1, degree):
        found.append(((2 * k + 1) * u * found[k] - k * found[k - 1]) / (k + 1))
    return [math.sqrt(2 * k + 1) * found[k] for k in range(1, degree + 1)]
