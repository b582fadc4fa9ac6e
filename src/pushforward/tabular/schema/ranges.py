"""The range of the rows that a model was made of, and what of its samples or of its contexts lies outside."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.tabular.schema.column import Column
from pushforward.train.repeats import shell_quote

_NAMED_SHARE = 0.01  # of samples beyond an end of the range, from which a column is named
_TIMES = 5  # times the share 1 / (n + 1) that the next row of n + 1 independent ones is the least, or the largest
_NEGATIVE = 1e-3  # share of samples below 0, where no row is
_OPEN = ("real", "heavy")  # kinds without a lower end
_FEWEST = 3  # samples are no accident
_FAR = 0.1  # of the width of a context's range, outside of which a value is named


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
        """That of all rows of the parts, each (n, D)."""
        both = np.concatenate(parts)
        return cls(tuple(names), tuple(both.min(0).tolist()), tuple(both.max(0).tolist()), len(both))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"names": list(self.names), "low": list(self.low), "high": list(self.high), "rows": self.rows}

    @classmethod
    def from_dict(cls, found: Any, names: Sequence[str]) -> "Range | None":
        """The range of a `to_dict`; None where it is none of these columns, as in files of older versions."""
        if not isinstance(found, dict) or set(found) != {"names", "low", "high", "rows"}:
            return None
        if found["names"] != list(names) or type(found["rows"]) is not int or found["rows"] < 1:
            return None
        for part in (found["low"], found["high"]):
            if not isinstance(part, list) or len(part) != len(names) or any(type(v) not in (int, float) for v in part):
                return None
        return cls(tuple(names), tuple(map(float, found["low"])), tuple(map(float, found["high"])), found["rows"])

    def far_contexts(self, values: Sequence[float]) -> list[str]:
        """Sentences on values, one of each column, that lie a tenth of the range's width outside of it, or more.

        >>> Range(("year",), (1952.0,), (2007.0,), 100).far_contexts([2100.0])
        ['year=2100 lies outside 1952 to 2007, all that the model has seen: what it says there is a guess.']
        """
        return [
            f"{name}={value:g} lies outside {low:g} to {high:g}, all that the model has seen: what it says there is a "
            "guess."
            for name, value, low, high in zip(self.names, values, self.low, self.high, strict=True)
            if not low - _FAR * (high - low) <= value <= high + _FAR * (high - low)
        ]


def outside_range(columns: Sequence[Column], samples: np.ndarray, seen: Range) -> dict[str, tuple[float, str]]:
    """Columns of which too many samples lie outside the range of the rows: the share that does, and a sentence.

    Of n independent rows the next one is below all with probability 1 / (n + 1). A column is named if more than 1 %
    of the samples, and five times that share, lie beyond an end, or if one in a thousand is negative and no row is;
    an end that its kind keeps is none.

    Args:
        columns: of the samples, in order.
        samples: (m, D).
        seen: range of the rows.

    >>> samples = np.random.default_rng(0).normal(5.0, 5.0, size=(1000, 1))
    >>> share, sentence = outside_range([Column("hours")], samples, Range(("hours",), (0.5,), (80.0,), 900))["hours"]
    >>> sentence.split(". ")[-1]
    'If no others can come, fit with --column hours=positive.'
    """
    found, n = {}, len(samples)
    least = max(_NAMED_SHARE, _TIMES / (seen.rows + 1))
    for column, x, low, high in zip(columns, samples.T, seen.low, seen.high, strict=True):
        below, above, negative = (int(np.count_nonzero(part)) for part in (x < low, x > high, x < 0))
        is_below = below > max(_FEWEST, least * n) or (low >= 0 and negative > max(_FEWEST, _NEGATIVE * n))
        is_below = is_below and column.kind in _OPEN
        is_above = above > max(_FEWEST, least * n) and column.kind != "bounded"
        if not (is_below or is_above):
            continue
        parts = [f"{100 * negative / n:.3g} % are below 0"] if low >= 0 and negative else []
        share = (below + above) / n
        more = f" ({parts[0]})" if parts else ""
        found[column.name] = (
            share,
            (
                f"column {column.name!r}: {100 * share:.3g} % of {n:,} samples lie outside {low:g} to {high:g}, the "
                f"range of the rows{more}. {_suggestion(column, low, high, is_above)}"
            ),
        )
    return found


def _suggestion(column: Column, low: float, high: float, is_above: bool) -> str:
    """The declaration that keeps samples inside."""
    lower = 0.0 if low >= 0 else _outward(low)
    upper = next((end for end in (1.0, 100.0) if 0.9 * end < high <= end), None) or _outward(high)
    kind = f"bounded:{lower:g}:{upper:g}" if is_above or low < 0 else "positive"
    is_value = low == lower or (is_above and high == upper)  # a density has no value at an end
    option = f"--column {shell_quote(column.name)}={kind}"
    if column.step:
        return f"If no others can come, fit with {option}+rounded:{column.step:.12g}."
    if is_value:
        return (
            f"If no others can come, write the column with fewer digits and fit with {option}+rounded:STEP: without a "
            f"step no row may be exactly {low if low == lower else high:g}, and no sample is."
        )
    return f"If no others can come, fit with {option}."


def _outward(value: float) -> float:
    """The next number of two digits away from 0.

    >>> _outward(80.2), _outward(-0.123)
    (81.0, -0.13)
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.copysign(math.ceil(abs(value) / unit - 1e-9) * unit, value):.6g}")
