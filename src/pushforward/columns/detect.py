"""Looking at the values of a column: supports, tails, rounding; every rule is free of the unit of measurement."""

import dataclasses
import math

import numpy as np

from pushforward.columns.column import Column
from pushforward.diagnostics import pareto_k
from pushforward.errors import DataError
from pushforward.rounded import rounding_of

_GAIN = 0.1  # nats a row by which a map must improve a normal law's likelihood, beside three standard errors
_FEWEST = 50  # rows from which anything is detected
_HEAVY = 0.3  # index of a tail (a Student-t of about three degrees of freedom) from which it is called heavy
_LEAST_INDEX, _MOST_INDEX = 0.03, 1.0
_MOST_VALUES = 50  # different values of a column that counts as rounded
_COPIES = 5  # rows to each of them, at least
_NEAR = 1 / 16  # of a circle, on either side, is about a point
_QUARTILE = 0.6744897501960817  # of a normal law


def detected(column: Column, x: np.ndarray, others: np.ndarray | None = None) -> Column:
    """A real column as its values x (n,) show it: rounded, within a support, with heavy tails; else as it is.

    A grid or a support that one of the `others` denies is none.
    """
    if len(x) < _FEWEST:
        return column
    others = x if others is None else others
    step = grid_step(x)
    if step and off_grid(others, step, float(x.min())).any():
        step = 0.0
    if step:
        n_values = len(np.unique(x))
        note = f"{n_values} different values in {len(x):,} rows"
        column = dataclasses.replace(column, step=step, origin=float(x.min()), source="detected", note=note)
        lower, upper = float(x.min()) - step / 2, float(x.max()) + step / 2
        if n_values == 2 and (others > lower).all() and (others < upper).all():
            return dataclasses.replace(column, kind="bounded", lower=lower, upper=upper)
        return column
    for kind, lower, upper in _candidates(x):
        if (others <= lower).any() or (kind == "bounded" and (others >= upper).any()):
            continue
        gain, error = _gain(x, kind, lower, upper)
        if gain > max(_GAIN, 3 * error):
            note = f"a normal law gains {gain:.2g} nats a row by this map"
            return dataclasses.replace(column, kind=kind, lower=lower, upper=upper, source="detected", note=note)
    below, above = tail_indices(x)
    spread = 3.0 / math.sqrt(min(0.2 * len(x), 3 * math.sqrt(len(x))))
    if max(below, above) > _HEAVY + spread:
        note = f"the largest values fall off like a power, index {max(below, above):.2g}"
        return dataclasses.replace(heavy(column, x), source="detected", note=note)
    return column


def centred(column: Column, x: np.ndarray) -> Column:
    """A real column with its median, and its scale by quartiles; by the deviation where the quartiles are one value."""
    first, centre, third = np.quantile(x, [0.25, 0.5, 0.75])
    scale = (third - first) / (2 * _QUARTILE) if third > first else x.std()
    return dataclasses.replace(column, centre=float(centre), scale=float(scale))


def heavy(column: Column, x: np.ndarray) -> Column:
    """The column with median, quartile scale and tail indices of its values."""
    below, above = (float(np.clip(index, _LEAST_INDEX, _MOST_INDEX)) for index in tail_indices(x))
    first, centre, third = np.quantile(x, [0.25, 0.5, 0.75])
    reach = sum(math.expm1(index * math.log(2.0)) / index for index in (below, above))
    if not third > first:
        raise DataError(
            f"column {column.name!r}: expected spread between the quartiles of a heavy column, got {first:g} twice: "
            "declare it real, or rounded."
        )
    scale = float(third - first) / reach
    return dataclasses.replace(column, kind="heavy", centre=float(centre), scale=scale, below=below, above=above)


def tail_indices(x: np.ndarray) -> tuple[float, float]:
    """Indices of the tails below and above the median, by generalised Pareto laws of the largest fifth at most.

    >>> import numpy as np
    >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
    >>> [0.7 < index < 1.3 for index in tail_indices(cauchy)]  # both are 1
    [True, True]
    """
    offset = x - np.median(x)
    return _tail_index(-offset), _tail_index(offset)


def _tail_index(x: np.ndarray) -> float:
    """Of the positive values; 0 where there are too few to tell."""
    with np.errstate(divide="ignore"):
        found = pareto_k(np.log(np.maximum(x, 0.0)))
    return 0.0 if math.isnan(found) else found


def grid_step(x: np.ndarray) -> float:
    """The step of the grid on which few values lie, each of them often; 0 where there is none.

    >>> import numpy as np
    >>> grid_step(np.tile([0.1, 0.2, 0.3, 0.5], 20))
    0.1
    """
    values = np.unique(x)
    if not 2 <= len(values) <= min(_MOST_VALUES, len(x) // _COPIES):
        return 0.0
    gaps = np.diff(values)
    step = float(gaps.min())
    places = (values - values[0]) / step
    allowed = 1e-3 + 1e-13 * np.abs(values).max() / step
    if (np.abs(places - np.round(places)) > allowed).any():
        return 0.0
    # over the whole width rounding of single values cancels; twelve digits are more than any table writes
    return float(f"{(values[-1] - values[0]) / round(places[-1]):.12g}")


def off_grid(x: np.ndarray, step: float, origin: float) -> np.ndarray:
    """Which of the values lie off the grid by more than a hundredth of its step, and what rounding does."""
    places = (x - origin) / step
    return np.abs(places - np.round(places)) > 0.01 + 1e-12 * np.abs(places) + rounding_of(x) * np.abs(x) / step


def emptiest(x: np.ndarray, lower: float, upper: float) -> float:
    """Where a circle has the fewest values about, in [lower, upper): the middle of a gap, the widest of those alike.

    >>> emptiest(np.repeat(np.arange(24.0), 5 + np.abs(np.arange(24) - 9)), 0.0, 24.0)  # fewest at nine
    9.5
    """
    width = upper - lower
    turned = np.sort(np.mod(x - lower, width))
    gaps = np.diff(turned, append=turned[0] + width)
    middles = turned + gaps / 2
    thrice = np.concatenate([turned - width, turned, turned + width])
    below, above = (np.searchsorted(thrice, middles + side * _NEAR * width) for side in (-1, 1))
    chosen = np.lexsort((-gaps, above - below))[0]
    return float(lower + np.mod(middles[chosen], width))


def _candidates(x: np.ndarray) -> list[tuple[str, float, float]]:
    """Supports in which all values lie, so that the next one may be trusted to."""
    low, high = float(x.min()), float(x.max())
    found = []
    for lower, upper in ((0.0, 1.0), (-1.0, 1.0), (0.0, 100.0)):
        margin = 0.05 * (upper - lower)
        if lower < low < lower + margin and upper - margin < high < upper:
            found.append(("bounded", lower, upper))
    gaps = np.diff(np.unique(x))
    # a zero would be the next value but two of a table that is written with few digits
    if low > 0 and low > 3 * gaps.min(initial=math.inf if len(gaps) == 0 else gaps[0]):
        found.append(("positive", 0.0, 1.0))
    return found


def _gain(x: np.ndarray, kind: str, lower: float, upper: float) -> tuple[float, float]:
    """Nats a row by which a normal law of the mapped values is more likely than one of the values, and its error."""
    if kind == "positive":
        z, log_slope = np.log(x - lower), -np.log(x - lower)
    else:
        z = np.log(x - lower) - np.log(upper - x)
        log_slope = math.log(upper - lower) - np.log(x - lower) - np.log(upper - x)
    difference = _normal_scores(z) + log_slope - _normal_scores(x)
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(x)))


def _normal_scores(x: np.ndarray) -> np.ndarray:
    spread = x.std()
    return -0.5 * ((x - x.mean()) / spread) ** 2 - math.log(spread)
