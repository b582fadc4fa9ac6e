"""Looking at the values of a column: supports, tails, rounding; every rule is free of the unit of measurement."""

import dataclasses
import functools
import math

import numpy as np

from pushforward.columns.column import Column
from pushforward.columns.decimals import nearest_index
from pushforward.columns.grid import bulk, many_values, shown_ends
from pushforward.diagnostics import pareto_k
from pushforward.errors import DataError
from pushforward.rounded import is_among, rounding_of

_GAIN = 0.1  # nats a row by which a map must improve a normal law's likelihood, beside three standard errors
_FEWEST = 50  # rows from which anything is detected
_HEAVY = 0.3  # index of a tail (a Student-t of about three degrees of freedom) from which it is called heavy
_LEAST_INDEX, _MOST_INDEX = 0.03, 1.0
_MOST_VALUES = 50  # different values of a column that counts as discrete
_MOST_CELLS = 20  # of a grid, to each of its values
_DOUBLE = 4 * float(np.finfo(np.float64).eps)
_COPIES = 5  # rows to each of them, at least
_NEAR = 1 / 16  # of a circle, on either side, is about a point
_QUARTILE = 0.6744897501960817  # of a normal law


def detected(column: Column, x: np.ndarray, others: np.ndarray | None = None) -> Column:
    """A real column as its values x (n,) show it: discrete, rounded, within a support, with heavy tails; else as it is.

    More values than that are rounded where they are whole numbers, or repeat on a grid (`many_values`).
    Few values are discrete: the column can hold no other. Where one of the `others` is another value, or a value on a
    grid has fewer than five rows, it is rounded to the grid, and can; two values are discrete in any case, and so are
    values of which some are far from the others. An end of a grid that five rows have is the end of its support, and
    whole numbers of which none is negative have none.
    A support that one of the `others` denies is none.
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
        # A value of few rows is a sign of others that no row has yet (Good 1953): a grid with such values stays open.
        is_closed = counts.min() >= _COPIES or len(values) == 2 or _is_torn(values, step)
        if is_among(others, values).all() and (is_closed or not step):
            return discrete(column, x, values)
        if step:
            return _grid(column, x, others)
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
            note = f"a normal law gains {gain:.2g} nats a row by this map"
            return dataclasses.replace(column, kind=kind, lower=lower, upper=upper, source="detected", note=note)
    below, above = tail_indices(x)
    spread = 3.0 / math.sqrt(min(0.2 * len(x), 3 * math.sqrt(len(x))))
    if max(below, above) > _HEAVY + spread:
        note = f"{column.note}; " if column.step else ""
        note += f"the largest values fall off like a power, index {max(below, above):.2g}"
        return dataclasses.replace(heavy(column, x), source="detected", note=note)
    return column


def few_values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of x (n,) and how often each occurs, if they are few and each is there five times in the mean; else
    none. Values that differ by rounding alone are one.

    >>> few_values(np.tile([0.1 + 0.2, 0.3, 0.5], 20))
    (array([0.3, 0.5]), array([40, 20]))
    """
    values, counts = np.unique(x, return_counts=True)
    apart = np.append(True, np.diff(values) > _DOUBLE * np.abs(values).max(initial=0.0))
    starts = np.flatnonzero(apart)
    values, counts = values[starts], np.add.reduceat(counts, starts)
    is_few = 2 <= len(values) <= min(_MOST_VALUES, len(x) // _COPIES)
    return (values, counts) if is_few else (values[:0], counts[:0])


def _is_torn(values: np.ndarray, step: float) -> bool:
    """Whether values of a grid lie in two parts, as far from each other as all of them are wide together: codes."""
    gap, width = float(np.diff(values).max()), float(np.ptp(values))
    return len(values) > 2 and gap > 3.5 * step and gap >= 0.5 * width


def _grid(column: Column, x: np.ndarray, others: np.ndarray) -> Column:
    """A column rounded to a grid of few values, within the ends that these show."""
    half, low = column.step / 2, float(x.min())
    is_whole = column.step % 1 == column.origin % 1 == 0
    first, last = shown_ends(x, others, low % column.step if is_whole else None)
    if first is not None and last is not None:
        column = dataclasses.replace(column, kind="bounded", lower=first - half, upper=last + half)
    elif first is not None:
        column = dataclasses.replace(column, kind="softplus", lower=first - half)
    return with_shares(column, x, end=last)


def discrete(column: Column, x: np.ndarray, values: np.ndarray) -> Column:
    """The column with these values (K,) and no others, each with its share of x; half a row where it has none there."""
    shares = (0.0, *_shares(np.bincount(nearest_index(x, values), minlength=len(values))), 0.0)
    return dataclasses.replace(column, kind="discrete", values=tuple(map(float, values)), shares=shares)


def with_shares(column: Column, x: np.ndarray, end: float | None = None) -> Column:
    """A rounded column with the values of its grid and their shares of x, if they are few with many rows to each.

    From these a flow starts. An end at which the support goes on has half a row beyond it; none goes on above `end`.
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
    """Of counts, that are half a row where they are 0, but for the first and last one if `ends` are these."""
    counts = np.maximum(counts, 0.5)
    if ends:
        counts[0], counts[-1] = ends
    return tuple(map(float, counts / counts.sum()))


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
    """The step of the grid on which few values lie, each of them often: the greatest common divisor of their gaps.

    0 where there is none, or where it has more than 20 cells for each value: any decimals lie on so fine a grid.

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
    places = (values - values[0]) / step
    allowed = 1e-3 + 4 * rounding_of(values) * np.abs(values).max() / step
    if round(places[-1]) > _MOST_CELLS * len(values) or (np.abs(places - np.round(places)) > allowed).any():
        return 0.0
    # over the whole width rounding of single values cancels; twelve digits are more than any table writes
    return float(f"{(values[-1] - values[0]) / round(places[-1]):.12g}")


def _common_divisor(a: float, b: float, error: float) -> float:
    """The greatest common divisor of two numbers, by Euclid; a rest below `error` is none."""
    while b > error:
        rest = a % b
        a, b = b, min(rest, b - rest)
    return a


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
