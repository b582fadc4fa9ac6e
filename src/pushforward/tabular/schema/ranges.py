"""The range of the training rows, and the share of samples or the contexts outside it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.tabular.schema.column import Column
from pushforward.train.repeats import shell_quote

_SHARE = 0.01  # of samples beyond an end of the range, from which a column is reported
_TIMES = 5  # the probability 1 / (n + 1) that the next of n + 1 independent rows is the least, or the largest
_NEGATIVE = 1e-3  # share of samples below 0, where no row is, from which a column is reported
_OPEN = ("real", "heavy")  # types without a lower end
_FEWEST = 3  # samples; fewer may be chance
_FAR = 0.1  # of the width of a context's range, beyond which a value is reported


@dataclasses.dataclass(frozen=True)
class Range:
    """Least and largest values of rows, by column.

    Attributes:
        names: D columns.
        low, high: their least and largest values.
        rows: number of rows.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rows: int

    @classmethod
    def of(cls, names: Sequence[str], *parts: np.ndarray) -> "Range":
        """The range of all rows of the parts, each (n, D)."""
        rows = np.concatenate(parts)
        return cls(tuple(names), tuple(rows.min(0).tolist()), tuple(rows.max(0).tolist()), len(rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"names": list(self.names), "low": list(self.low), "high": list(self.high), "rows": self.rows}

    @classmethod
    def from_dict(cls, values: Any, names: Sequence[str]) -> "Range | None":
        """The range from the output of `to_dict`; None if it is not one of these columns, as in older files."""
        if not isinstance(values, dict) or set(values) != {"names", "low", "high", "rows"}:
            return None
        if values["names"] != list(names) or type(values["rows"]) is not int or values["rows"] < 1:
            return None
        for part in (values["low"], values["high"]):
            if not isinstance(part, list) or len(part) != len(names) or any(type(v) not in (int, float) for v in part):
                return None
        return cls(tuple(names), tuple(map(float, values["low"])), tuple(map(float, values["high"])), values["rows"])

    def far_contexts(self, values: Sequence[float]) -> list[str]:
        """Messages on values, one of each column, that lie outside the range by a tenth of its width or more.

        >>> Range(("year",), (1952.0,), (2007.0,), 100).far_contexts([2100.0])
        ['year=2100 lies outside 1952 to 2007, the range of the training rows: the model extrapolates there.']
        """
        return [
            f"{name}={value:g} lies outside {low:g} to {high:g}, the range of the training rows: the model "
            "extrapolates there."
            for name, value, low, high in zip(self.names, values, self.low, self.high, strict=True)
            if not low - _FAR * (high - low) <= value <= high + _FAR * (high - low)
        ]


def out_of_range(columns: Sequence[Column], samples: np.ndarray, limits: Range) -> dict[str, tuple[float, str]]:
    """Columns with too many samples outside the range of the rows: the share of these samples, and a message.

    A new row is below n independent rows with probability 1 / (n + 1). A column is reported if the share of samples
    beyond an end is more than 1 % and more than five times that probability, or if one sample in a thousand is negative
    and no row is. An end that is an end of the column's support is not tested.

    Args:
        columns: of the samples, in order.
        samples: (m, D).
        limits: range of the rows.

    >>> samples = np.random.default_rng(0).normal(5.0, 5.0, size=(1000, 1))
    >>> share, message = out_of_range([Column("hours")], samples, Range(("hours",), (0.5,), (80.0,), 900))["hours"]
    >>> message.split(". ")[-1]
    'If such values are impossible, fit with --column hours=positive.'
    """
    reports, n = {}, len(samples)
    least = max(_SHARE, _TIMES / (limits.rows + 1))
    for column, x, low, high in zip(columns, samples.T, limits.low, limits.high, strict=True):
        below, above, negative = (int(np.count_nonzero(part)) for part in (x < low, x > high, x < 0))
        is_below = below > max(_FEWEST, least * n) or (low >= 0 and negative > max(_FEWEST, _NEGATIVE * n))
        is_below = is_below and column.kind in _OPEN
        is_above = above > max(_FEWEST, least * n) and column.kind != "bounded"
        if not (is_below or is_above):
            continue
        share = (below + above) / n
        below_zero = f" ({100 * negative / n:.3g} % are below 0)" if low >= 0 and negative else ""
        reports[column.name] = (
            share,
            f"column {column.name!r}: {100 * share:.3g} % of {n:,} samples lie outside {low:g} to {high:g}, the range "
            f"of the rows{below_zero}. {_suggestion(column, low, high, is_above)}",
        )
    return reports


def _suggestion(column: Column, low: float, high: float, is_above: bool) -> str:
    """The declaration that excludes samples outside the range."""
    lower = 0.0 if low >= 0 else _round_outwards(low)
    upper = next((end for end in (1.0, 100.0) if 0.9 * end < high <= end), None) or _round_outwards(high)
    kind = f"bounded:{lower:g}:{upper:g}" if is_above or low < 0 else "positive"
    is_value = low == lower or (is_above and high == upper)  # a density has no value at an end
    option = f"--column {shell_quote(column.name)}={kind}"
    if column.step:
        return f"If such values are impossible, fit with {option}+rounded:{column.step:.12g}."
    if is_value:
        return (
            "If such values are impossible, write the column with fewer digits and fit with "
            f"{option}+rounded:STEP: without a step there is no density at {low if low == lower else high:g}."
        )
    return f"If such values are impossible, fit with {option}."


def _round_outwards(value: float) -> float:
    """Round away from 0 to two digits.

    >>> _round_outwards(80.2), _round_outwards(-0.123)
    (81.0, -0.13)
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.copysign(math.ceil(abs(value) / unit - 1e-9) * unit, value):.6g}")
