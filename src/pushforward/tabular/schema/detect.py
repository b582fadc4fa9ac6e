"""Detection of column types: supports, tails, rounding. No rule depends on the unit of measurement."""

import dataclasses
import functools
import math

import numpy as np

from pushforward.core.discretised import is_among, rounding_of
from pushforward.diagnostics import pareto_k
from pushforward.errors import DataError
from pushforward.tabular.schema.column import Column
from pushforward.tabular.schema.decimals import nearest_index
from pushforward.tabular.schema.grid import bulk, detect_ends, many_values

_GAIN = 0.1  # nats a row by which a map must improve the likelihood of a normal, and by three standard errors
_FEWEST = 50  # rows that detection needs
_HEAVY = 0.3  # least index of a heavy tail (that of a Student-t of about three degrees of freedom)
_LEAST_INDEX, _MOST_INDEX = 0.03, 1.0
_MOST_VALUES = 50  # different values of a column that counts as discrete
_MOST_BINS = 20  # of a grid, for each value that occurs
_DOUBLE = 4 * float(np.finfo(np.float64).eps)
_COPIES = 5  # least mean number of rows for each of these values
_NEAR = 1 / 16  # half the width of the neighbourhood of a point, as a share of the circle
_QUARTILE = 0.6744897501960817  # of the standard normal


def detect_type(column: Column, x: np.ndarray, others: np.ndarray | None = None) -> Column:
    """Detect the type of a real column in its values x (n,); a column without a detected type is returned unchanged.

    - Few values are discrete: the column has no other value. It is rounded to their grid instead if one of the `others`
      is another value, or if a value has fewer than five rows; but two values are always discrete, and so are values
      with a wide gap between them.
    - Many values are rounded if they are integers, or repeat on a grid (`many_values`).
    - The outermost value of a grid is the end of the support if five rows have it; non-negative integers end at 0.
    - A support that does not contain all `others` is not detected.
    - Otherwise the column may have heavy tails.
    """
    if len(x) < _FEWEST:
        return column
    others = x if others is None else others
    values, counts = few_values(x)
    if len(values):
        step, origin = grid_step(x), float(values[0])
        if step and off_grid(others, step, origin).any():
            step = 0.0
        note = f"{len(values)} different values in {len(x):,} rows"
        column = dataclasses.replace(column, step=step, origin=origin if step else 0.0, source="detected", note=note)
        # A value of few rows indicates values that no row has yet (Good 1953): a grid with such values stays open.
        is_closed = counts.min() >= _COPIES or len(values) == 2 or _has_wide_gap(values, step)
        if is_among(others, values).all() and (is_closed or not step):
            return as_discrete(column, x, values)
        if step:
            return _as_grid(column, x, others)
        column = dataclasses.replace(column, source="default", note="")
    elif (gridded := many_values(column, x, others)) is not None:
        if gridded.kind != "real":
            return with_shares(gridded, x)
        column = gridded
    for kind, lower, upper in _candidates(x):
        if (others <= lower).any() or (kind == "bounded" and (others >= upper).any()):
            continue
        gain, error = _gain(bulk(x), kind, lower, upper)
        if gain > max(_GAIN, 3 * error) and not column.step:
            note = f"this map raises the likelihood of a normal by {gain:.2g} nats a row"
            return dataclasses.replace(column, kind=kind, lower=lower, upper=upper, source="detected", note=note)
    below, above = tail_indices(x)
    spread = 3.0 / math.sqrt(min(0.2 * len(x), 3 * math.sqrt(len(x))))
    if max(below, above) > _HEAVY + spread:
        note = f"{column.note}; " if column.step else ""
        note += f"the largest values fall off like a power, index {max(below, above):.2g}"
        return dataclasses.replace(as_heavy(column, x), source="detected", note=note)
    return column


def few_values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different values of x (n,) and their counts, if they are few and occur five times in the mean; else empty arrays.

    Values that differ by a rounding error count as one.

    >>> few_values(np.tile([0.1 + 0.2, 0.3, 0.5], 20))
    (array([0.3, 0.5]), array([40, 20]))
    """
    values, counts = np.unique(x, return_counts=True)
    is_new = np.append(True, np.diff(values) > _DOUBLE * np.abs(values).max(initial=0.0))
    starts = np.flatnonzero(is_new)
    values, counts = values[starts], np.add.reduceat(counts, starts)
    is_few = 2 <= len(values) <= min(_MOST_VALUES, len(x) // _COPIES)
    return (values, counts) if is_few else (values[:0], counts[:0])


def _has_wide_gap(values: np.ndarray, step: float) -> bool:
    """Whether a gap is at least half as wide as the range of the values, as between codes such as 1, 2, 99."""
    gap, width = float(np.diff(values).max()), float(np.ptp(values))
    return len(values) > 2 and gap > 3.5 * step and gap >= 0.5 * width


def _as_grid(column: Column, x: np.ndarray, others: np.ndarray) -> Column:
    """The column rounded to a grid of few values, with the ends of its support that these indicate."""
    half, low = column.step / 2, float(x.min())
    is_integer = column.step % 1 == column.origin % 1 == 0
    first, last = detect_ends(x, others, low % column.step if is_integer else None)
    if first is not None and last is not None:
        column = dataclasses.replace(column, kind="bounded", lower=first - half, upper=last + half)
    elif first is not None:
        column = dataclasses.replace(column, kind="softplus", lower=first - half)
    return with_shares(column, x, end=last)


def as_discrete(column: Column, x: np.ndarray, values: np.ndarray) -> Column:
    """The column with these values (K,) and no others, each with its share of x; a value without a row counts half."""
    shares = (0.0, *_shares(np.bincount(nearest_index(x, values), minlength=len(values))), 0.0)
    return dataclasses.replace(column, kind="discrete", values=tuple(map(float, values)), shares=shares)


def with_shares(column: Column, x: np.ndarray, end: float | None = None) -> Column:
    """The rounded column with the values of its grid and their shares of x, if they are few with many rows for each.

    The flow starts from these shares. An open end of the support gets half a row beyond it; `end` closes the upper one.
    """
    index = np.round((x - column.origin) / column.step).astype(np.int64)
    first, last = int(index.min()), int(index.max())
    has_lower = column.kind in ("positive", "softplus", "bounded")
    if has_lower:
        first = min(first, math.ceil((column.lower - column.origin) / column.step + 0.5 - 1e-9))
    if column.kind == "bounded":
        last = max(last, math.floor((column.upper - column.origin) / column.step - 0.5 + 1e-9))
    n_values = last - first + 1
    if column.kind not in ("real", "positive", "softplus", "bounded") or not (
        2 <= n_values <= min(_MOST_VALUES, len(x) // _COPIES)
    ):
        return column
    values = column.origin + column.step * np.arange(first, last + 1)
    tails = (0.0 if has_lower else 0.5), (0.0 if column.kind == "bounded" or end is not None else 0.5)
    shares = _shares(np.concatenate([tails[:1], np.bincount(index - first, minlength=n_values), tails[1:]]), tails)
    return dataclasses.replace(column, values=tuple(map(float, values)), shares=shares)


def _shares(counts: np.ndarray, ends: tuple[float, ...] = ()) -> tuple[float, ...]:
    """Shares of counts; a count of 0 becomes a half, and `ends` replace the first and the last count."""
    counts = np.maximum(counts, 0.5)
    if ends:
        counts[0], counts[-1] = ends
    return tuple(map(float, counts / counts.sum()))


def with_centre(column: Column, x: np.ndarray) -> Column:
    """A real column with its median and quartile scale, or standard deviation where the quartiles are equal."""
    first, centre, third = np.quantile(x, [0.25, 0.5, 0.75])
    scale = (third - first) / (2 * _QUARTILE) if third > first else x.std()
    return dataclasses.replace(column, centre=float(centre), scale=float(scale))


def as_heavy(column: Column, x: np.ndarray) -> Column:
    """The column as heavy-tailed, with median, quartile scale and tail indices of its values."""
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
    """Indices of the tails below and above the median, by generalised Pareto fits to at most the largest fifth.

    >>> import numpy as np
    >>> cauchy = np.random.default_rng(0).standard_cauchy(10_000)
    >>> [0.7 < index < 1.3 for index in tail_indices(cauchy)]  # the true indices are 1
    [True, True]
    """
    offset = x - np.median(x)
    return _tail_index(-offset), _tail_index(offset)


def _tail_index(x: np.ndarray) -> float:
    """Tail index of the positive values; 0 if there are too few to estimate it."""
    with np.errstate(divide="ignore"):
        index = pareto_k(np.log(np.maximum(x, 0.0)))
    return 0.0 if math.isnan(index) else index


def grid_step(x: np.ndarray) -> float:
    """The step of the grid of few, frequent values: the greatest common divisor of their gaps.

    0 if there is none, or if the grid has more than 20 bins for each value: any decimals lie on so fine a grid.

    >>> import numpy as np
    >>> grid_step(np.tile([0.1, 0.2, 0.3, 0.5], 20)), grid_step(np.tile([10.0, 25.0, 50.0], 20))
    (0.1, 5.0)
    """
    values, _ = few_values(x)
    if not len(values):
        return 0.0
    gaps = np.diff(values)
    error = 4 * rounding_of(values) * float(np.abs(values).max()) + 1e-4 * float(gaps.min())
    step = functools.reduce(lambda step, gap: _common_divisor(step, gap, error), np.unique(gaps).tolist())
    step = float(values[-1] - values[0]) / max(round((values[-1] - values[0]) / step), 1)
    positions = (values - values[0]) / step
    allowed = 1e-3 + 4 * rounding_of(values) * np.abs(values).max() / step
    errors = np.abs(positions - np.round(positions))
    if round(positions[-1]) > _MOST_BINS * len(values) or (errors > allowed).any():
        return 0.0
    # over the full range rounding errors of single values cancel; twelve digits are more than tables have
    return float(f"{(values[-1] - values[0]) / round(positions[-1]):.12g}")


def _common_divisor(a: float, b: float, error: float) -> float:
    """The greatest common divisor of two numbers by Euclid's algorithm; a remainder below `error` counts as 0."""
    while b > error:
        remainder = a % b
        a, b = b, min(remainder, b - remainder)
    return a


def off_grid(x: np.ndarray, step: float, origin: float) -> np.ndarray:
    """Mask of the values that miss the grid by more than a hundredth of its step plus rounding errors."""
    positions = (x - origin) / step
    allowed = 0.01 + 1e-12 * np.abs(positions) + rounding_of(x) * np.abs(x) / step
    return np.abs(positions - np.round(positions)) > allowed


def sparsest_point(x: np.ndarray, lower: float, upper: float) -> float:
    """The point of the circle [lower, upper) with the fewest values near it: the middle of a gap, of equals the widest.

    >>> sparsest_point(np.repeat(np.arange(24.0), 5 + np.abs(np.arange(24) - 9)), 0.0, 24.0)  # fewest at nine
    9.5
    """
    width = upper - lower
    offsets = np.sort(np.mod(x - lower, width))
    gaps = np.diff(offsets, append=offsets[0] + width)
    middles = offsets + gaps / 2
    repeated = np.concatenate([offsets - width, offsets, offsets + width])
    below, above = (np.searchsorted(repeated, middles + side * _NEAR * width) for side in (-1, 1))
    best = np.lexsort((-gaps, above - below))[0]
    return float(lower + np.mod(middles[best], width))


def _candidates(x: np.ndarray) -> list[tuple[str, float, float]]:
    """Supports that contain all values and are likely to contain the next one: (kind, lower, upper)."""
    low, high = float(x.min()), float(x.max())
    candidates = []
    for lower, upper in ((0.0, 1.0), (-1.0, 1.0), (0.0, 100.0)):
        margin = 0.05 * (upper - lower)
        if lower < low < lower + margin and upper - margin < high < upper:
            candidates.append(("bounded", lower, upper))
    gaps = np.diff(np.unique(x))
    # in a table of few digits a small value may be two steps above a zero that no row has yet
    if low > 0 and low > 3 * gaps.min(initial=math.inf if len(gaps) == 0 else gaps[0]):
        candidates.append(("positive", 0.0, 1.0))
    return candidates


def _gain(x: np.ndarray, kind: str, lower: float, upper: float) -> tuple[float, float]:
    """Gain in log-likelihood per row, in nats, of a normal of the mapped values over one of x; its standard error."""
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
