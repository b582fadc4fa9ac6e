"""Split into training and validation rows: at random, by group or by time; rows with an equal training row."""

import datetime
import warnings
from typing import Any

import numpy as np

from pushforward.core.named_rows import to_array
from pushforward.errors import DataError, ShapeError
from pushforward.train.data import Rows

_FEWEST_ROWS = 20  # fewest rows of which some are held out


def split(rows: Rows, share: float, random: np.random.Generator) -> tuple[Rows, Rows | None]:
    """Shuffle the rows and hold out a share of them for validation, uniformly; whole groups where rows have groups.

    Equal rows are no group: a duplicated record cannot be distinguished from an independent row of equal values, and if
    copies stayed together, neither part would be distributed as the data.

    Raises:
        ValueError: share outside [0, 1).
        DataError: no row is left to train on, or all rows are one group.
    """
    if not 0 <= share < 1:
        raise ValueError(f"validation: expected a share in [0, 1) or validation rows, got {share}.")
    count = max(round(share * len(rows)), int(share > 0))
    if share > 0 and len(rows) < _FEWEST_ROWS:
        warnings.warn(
            f"validation: {len(rows)} rows are too few to hold some out; training runs without early stopping and may "
            "over-fit. Add rows if there are more; in Python, validation=0 turns this warning off.",
            stacklevel=4,
        )
        count = 0
    if count == len(rows):
        raise DataError(
            f"nothing is left to train on after {count} of {len(rows)} rows are held out. Hold out fewer.", "validation"
        )
    train, validation = hold_out(len(rows), count, random, rows.groups)
    return rows.take(train), rows.take(validation) if count else None


def hold_out(
    n: int, count: int, random: np.random.Generator, groups: np.ndarray | None = None, *, leave: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of n rows in random order, in two parts: the remaining rows, and about `count` that are held out.

    Without groups exactly `count` rows are held out, chosen uniformly. Groups are visited in random order, and each is
    held out if that brings the number of rows nearer to `count`. A group of 2 * count rows or more is not, unless all
    are as large: then the smallest is. A warning reports a number that is off by more than half.

    Args:
        n, count: numbers of rows.
        random: generates the order.
        groups: (n,) integers, equal within a group; see `group_numbers`.
        leave: least number of remaining groups.

    Raises:
        DataError: there are no more than `leave` groups.
    """
    order = random.permutation(n)
    if groups is None or count == 0:
        return order[count:], order[:count]
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) <= leave:
        raise DataError(
            f"expected at least {leave + 1} groups to hold one out, got {len(numbers)} of {n} rows. Leave "
            "groups out, make them smaller, or hold out nothing (validation=0).",
            "groups",
        )
    chosen: list[int] = []
    total = 0
    shuffled = random.permutation(len(numbers))
    for group in shuffled:
        if abs(total + sizes[group] - count) < abs(total - count) and len(chosen) < len(numbers) - leave:
            chosen.append(group)
            total += int(sizes[group])
    if not chosen:
        chosen = [shuffled[sizes[shuffled].argmin()]]
        total = int(sizes[chosen[0]])
    if abs(total - count) > 0.5 * count:
        warnings.warn(
            f"groups: {total} of {n} rows are held out where {count} were asked for: the {len(numbers)} groups, the "
            f"largest of {sizes.max()} rows, cannot be cut nearer. Use smaller groups, or another share.",
            stacklevel=5,
        )
    is_chosen = np.isin(groups[order], numbers[chosen])
    return order[~is_chosen], order[is_chosen]


def latest_rows(times: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the earlier rows, and of about `count` latest ones; rows of equal time are in one part.

    Args:
        times: (n,) sortable numbers, see `time_numbers`.
        count: number of rows; the nearest cut between two times is used.

    Raises:
        DataError: all times are equal.
    """
    values, sizes = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise DataError(f"expected at least two different times to cut between, got one in {len(times)} rows.", "time")
    n_from = np.cumsum(sizes[::-1])[::-1]
    cut = values[1 + np.abs(n_from[1:] - count).argmin()]
    return np.flatnonzero(times < cut), np.flatnonzero(times >= cut)


def folds(
    n: int, k: int, random: np.random.Generator, groups: np.ndarray | None = None, times: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(training, validation, test) indices of n rows for each of k folds.

    With k > 1 each row is a test row once; with k = 1 a fifth of the rows are test rows. A fifth of the other rows are
    validation rows. Groups are not divided by either cut, and folds have nearly equal numbers of rows. With times both
    cuts select the latest rows, in one fold.

    Raises:
        DataError: fewer than three groups, or fewer than k; only one group remains without a fold; more than one fold
            with times.
    """
    if times is not None:
        if k > 1:
            raise DataError(f"expected 1 with times, whose latest rows are the test, got {k}.", "folds")
        rest, test = latest_rows(times, n // 5)
        train, validation = latest_rows(times[rest], max(1, len(rest) // 5))
        return [(rest[train], rest[validation], test)]
    if groups is None:
        parts = np.array_split(random.permutation(n), k if k > 1 else 5)
    else:
        n_groups = len(np.unique(groups))
        if n_groups < max(k, 3):
            raise DataError(
                f"expected at least {max(k, 3)} groups for {k} folds with validation and training rows of "
                f"other groups, got {n_groups}. Use fewer folds, or smaller groups.",
                "groups",
            )
        parts = [*hold_out(n, n // 5, random, groups, leave=2)][::-1] if k == 1 else _group_parts(groups, k, random)
    splits = []
    for fold, test in enumerate(parts[:k]):
        rest = np.concatenate([*parts[fold + 1 :], *parts[:fold]])  # validation rows differ between folds
        count = max(1, len(rest) // 5)
        if groups is not None and len(np.unique(groups[rest])) < 2:
            raise DataError(
                f"without fold {fold + 1} of {k} one group of {len(rest)} rows is left, and validation and "
                "training rows must be of different groups. Use fewer folds, or smaller groups.",
                "groups",
            )
        if groups is None:
            splits.append((rest[count:], rest[:count], test))
        else:
            train, validation = hold_out(len(rest), count, random, groups[rest])
            splits.append((rest[train], rest[validation], test))
    return splits


def _group_parts(groups: np.ndarray, k: int, random: np.random.Generator) -> list[np.ndarray]:
    """k parts of undivided groups: the largest first, each to the part with the fewest rows."""
    numbers, sizes = np.unique(groups, return_counts=True)
    shuffled = random.permutation(len(numbers))
    part_of, totals = np.empty(len(numbers), int), np.zeros(k, int)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[group] = totals.argmin()
        totals[part_of[group]] += sizes[group]
    order = random.permutation(len(groups))
    parts = part_of[np.searchsorted(numbers, groups)][order]
    return [order[parts == part] for part in range(k)]


def group_numbers(groups: Any, n: int, name: str = "groups") -> np.ndarray:
    """(n,) integers from 0, equal where the labels are equal; labels are of any hashable type.

    Args:
        groups: (n,) labels: an array, a list, a column of a frame, or rows of one named column.
        n: number of rows.
        name: of the argument, for errors.

    Raises:
        ShapeError: not one label for each row.
        DataError: a missing label, or one that cannot be hashed.

    >>> group_numbers(["b", "a", "b"], 3)
    array([0, 1, 0])
    """
    labels = _labels(groups, n, name)
    if labels.dtype.kind != "O":
        return np.unique(labels, return_inverse=True)[1].reshape(-1)
    numbers: dict[Any, int] = {}
    try:
        return np.array([numbers.setdefault(label, len(numbers)) for label in labels], int)
    except TypeError as error:
        raise DataError(f"expected labels that can be hashed, such as numbers or text ({error}).", name) from error


def time_numbers(times: Any, n: int, name: str = "time", numbers: np.ndarray | None = None) -> np.ndarray:
    """(n,) numbers in the order of the times, which are numbers, dates, or text of numbers or ISO 8601 dates.

    Args:
        times: (n,), an array, a list, or a column of a frame.
        n: number of rows.
        name: of the argument, for errors.
        numbers: (n,) row numbers for errors; None counts from 0.

    Raises:
        ShapeError: not one time for each row.
        DataError: a missing time, text that is neither a number nor an ISO date, or dates with and without a time zone.

    >>> time_numbers(["2024-03-01", "2023-12-31T10:00"], 2).argsort()
    array([1, 0])
    """
    labels = _labels(times, n, name)
    if labels.dtype.kind in "fiu":
        if labels.dtype.kind == "f" and np.isinf(labels).any():
            raise DataError(f"expected finite times, got infinity at row {np.isinf(labels).argmax()}.", name)
        return labels
    if labels.dtype.kind == "M":
        return labels.astype(np.int64)  # without conversion: distant dates would overflow in a finer unit
    try:
        values = np.array([_number(label) for label in labels])
    except (TypeError, ValueError):
        return _dates(labels, name, np.arange(n) if numbers is None else numbers)
    is_finite = np.isfinite(values.astype(float))
    if not is_finite.all():
        raise DataError(f"expected finite times, got {str(labels[~is_finite][0])!r}.", name)
    return values


def _number(label: Any) -> int | float:
    """A label as a number; integers are exact."""
    try:
        return int(label) if isinstance(label, str) else float(label)
    except ValueError:
        return float(label)


def _dates(labels: np.ndarray, name: str, numbers: np.ndarray) -> np.ndarray:
    dates = []
    for row, label in zip(numbers.tolist(), labels, strict=True):
        try:
            date = datetime.datetime.fromisoformat(label if isinstance(label, str) else label.isoformat())
        except (AttributeError, ValueError) as error:
            raise DataError(
                f"expected numbers, or ISO 8601 dates (2024-03-31, 2024-03-31T12:00), got {str(label)[:40]!r} "
                f"at row {row}. Write them so.",
                name,
            ) from error
        dates.append(date)
    if len({date.tzinfo is None for date in dates}) > 1:
        raise DataError("expected a time zone for all dates or for none, got both. Write them alike.", name)
    start = datetime.datetime(1970, 1, 1, tzinfo=None if dates[0].tzinfo is None else datetime.UTC)
    return np.array([(date - start) // datetime.timedelta(microseconds=1) for date in dates], np.int64)


def _labels(values: Any, n: int, name: str) -> np.ndarray:
    """(n,) labels, none of them missing; those of a list are objects, so that 1 and "1" differ."""
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "O" and getattr(values, "shape", None) in ((n,), (n, 1)):
        values = np.asarray(values).reshape(-1).tolist()  # as objects: integers beyond float64 stay distinct
    if not isinstance(values, list | tuple):
        values = to_array(values)
    if isinstance(values, list | tuple):
        labels = np.empty(len(values), object)
        for row, value in enumerate(values):
            labels[row] = value
    else:
        labels = np.asarray(values)
    if labels.ndim == 2 and labels.shape[1:] == (1,):
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise ShapeError(f"{name}: expected {n} labels, one for each row, got shape {labels.shape}.")
    if labels.dtype.kind == "O":
        missing = np.array([_is_missing(label) for label in labels], bool)
    elif labels.dtype.kind in "mM":
        missing = np.isnat(labels)
    else:
        missing = np.isnan(labels) if labels.dtype.kind in "fc" else np.zeros(n, bool)
    if missing.any():
        raise DataError(
            f"expected a label for each row, got none at row {missing.argmax()} ({int(missing.sum())} of {n} "
            "are missing). Fill these in, or drop the rows.",
            name,
        )
    return labels


def _is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT, or the NA of pandas, whose comparison with itself has no truth value."""
    return label is None or type(label).__name__ == "NAType" or (np.isscalar(label) and label != label)


def has_equal_row(rows: Rows, others: Rows) -> np.ndarray:
    """(n,) whether a row, its context included, has an equal row among the others; by 64-bit hashes."""
    return np.isin(_hashes(rows), _hashes(others))


def _hashes(rows: Rows) -> np.ndarray:
    hashed = np.zeros(len(rows), np.uint64)
    for part in (rows.x, rows.context):
        if part is None:
            continue
        for column in part.reshape(len(part), -1).T:
            bits = (np.asarray(column, np.float64) + 0.0).view(np.uint64)  # + 0.0: -0 equals 0
            hashed = (hashed ^ bits) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(32)
    return hashed
