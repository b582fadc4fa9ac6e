"""Tables of rows against samples: each column, and the correlations that differ most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from pushforward.diagnostics.calibration import uniform_distances
from pushforward.reporting.html import Markup, name_html, number_html, render, table_html
from pushforward.reporting.plots.pit import effective_count, kolmogorov_band
from pushforward.reporting.report.calibration import probabilities, references
from pushforward.reporting.report.influential_columns import rank_correlations
from pushforward.reporting.report.sections import Section
from pushforward.reporting.text import MINUS, clean, decimals

_LEVEL = 0.95
_MAX_UNFOLDED, _MAX_LISTED, _MAX_PAIRS = 12, 100, 8
_MOST_CORRELATED = 400  # columns: more have too many pairs for a table
_LARGE, _LONGEST_NAME = 1e7, 60
_FAR = Markup("<span class=far>{}</span>")


@dataclass(frozen=True)
class Gaps:
    """How far the samples of each column are from the rows.

    Attributes:
        values: (d,) largest differences of the shares of rows and of samples below a value.
        band: what chance allows in all of them with a probability of 95 %.
    """

    values: np.ndarray
    band: float

    @classmethod
    def of(cls, rows: np.ndarray, samples: np.ndarray, draws: Any = None) -> "Gaps":
        """Of rows (n, d), samples (m, d) and, for a flow with a context, `draws` (k, n', d) for the first rows."""
        reference, count = references(rows, samples, draws)
        pit = probabilities(rows[: reference.shape[1]] if count is None else rows, reference, np.eye(rows.shape[1]))
        band = kolmogorov_band(effective_count(len(pit), count), pit.shape[1], _LEVEL)
        return cls(uniform_distances(pit), band)

    def describe(self, columns: Sequence[str]) -> str:
        """The column that the model reproduces worst."""
        worst = int(self.values.argmax())
        chance = "within" if self.values[worst] <= self.band else "beyond"
        return (
            f"The column that the model reproduces worst is {clean(columns[worst], 60)!r}: the shares of rows and of "
            f"samples below a value differ by up to {self.values[worst]:.1%}, {chance} what chance allows "
            f"({self.band:.1%})."
        )


def columns_table_section(
    rows: np.ndarray, samples: np.ndarray, columns: Sequence[str], gaps: Gaps, extent: Any = None
) -> Section:
    """Least, mean and largest value, shares of zeros, of repeated values and outside the range, for rows and samples.

    The columns with the largest differences come first; those after the twelfth are folded.

    Args:
        rows: (n, d).
        samples: (m, d).
        columns: d names.
        gaps: of the columns.
        extent: (2, d) least and largest values of all rows of the table, if there are more than `rows`.
    """
    low, high = (rows.min(0), rows.max(0)) if extent is None else np.asarray(extent, np.float64)
    order = np.argsort(-gaps.values, kind="stable")[:_MAX_LISTED]
    shares = [np.stack(_shares(part[:, order], low[order], high[order])) for part in (rows, samples)]
    shown = [True, *(max(part[index].max() for part in shares) > 0 for index in (0, 1)), True]
    lines = []
    for rank, index in enumerate(order):
        digits = _digits(rows[:, index])
        cells = [
            [_number(value, digits) for value in (part.min(), part.mean(), part.max())]
            + [_percent(share[kind, rank]) for kind in range(3) if shown[kind + 1]]
            for part, share in zip((rows[:, index], samples[:, index]), shares, strict=True)
        ]
        gap = _percent(gaps.values[index])
        lines.append((_name(columns[index]), *cells, _FAR.format(gap) if gaps.values[index] > gaps.band else gap))
    optional = [head for head, is_shown in zip(("Zeros", "Repeated values"), shown[1:], strict=False) if is_shown]
    heads = ["Least", "Mean", "Largest", *optional, "Outside the range"]
    body = render(
        "marginals.html", heads=heads, lines=lines[:_MAX_UNFOLDED], folded=lines[_MAX_UNFOLDED:], n=f"{len(rows):,}",
        m=f"{len(samples):,}", band=_percent(gaps.band), n_left_out=rows.shape[1] - len(lines),
        range_of="all rows of the table" if extent is not None else "these rows",
    )  # fmt: skip
    return Section("Column by column", body)


def correlations_section(rows: np.ndarray, samples: np.ndarray, columns: Sequence[str]) -> Section | None:
    """The pairs of columns whose rank correlations in rows and in samples differ most."""
    width = rows.shape[1]
    if not 2 <= width <= _MOST_CORRELATED:
        return None
    real, sampled = (rank_correlations(part) for part in (rows, samples))
    left, right = np.triu_indices(width, 1)
    differences = (sampled - real)[left, right]
    error = math.sqrt(sum(1 / max(len(part) - 3, 1) for part in (rows, samples)))
    chance = min(NormalDist().inv_cdf(1 - (1 - _LEVEL) / 2 / len(left)) * error, 2.0)
    order = np.argsort(-np.abs(differences), kind="stable")[:_MAX_PAIRS]
    lines = []
    for pair in order:
        names = Markup("{} and {}").format(*(_name(columns[side[pair]]) for side in (left, right)))
        both = [decimals(part[left[pair], right[pair]], 2) for part in (real, sampled)]
        difference = decimals(differences[pair], 2, sign=True)
        lines.append([names, *both, _FAR.format(difference) if abs(differences[pair]) > chance else difference])
    n_pairs = f"The {len(order)} of {len(left):,} pairs that differ most." if len(left) > len(order) else ""
    caption = Markup("<p>{} Rank correlations, from {}1 to 1; differences up to {} may be chance.</p>").format(
        n_pairs, MINUS, decimals(chance, 2)
    )
    return Section("Correlations", caption + table_html(["Columns", "Rows", "Samples", "Difference"], lines))


def _shares(part: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Shares (d,) of zeros, of values that occur more than once, and of values outside the range."""
    repeated = np.empty(part.shape[1])
    for index, column in enumerate(part.T):
        counts = np.unique(column, return_counts=True)[1]
        repeated[index] = counts[counts > 1].sum() / len(column)
    return [(part == 0).mean(0), repeated, ((part < low) | (part > high)).mean(0)]


def _digits(column: np.ndarray) -> int:
    """Decimals that show a hundredth of the spread of the rows, and no more than they have."""
    low, high = np.quantile(column, [0.05, 0.95])
    spread = float(high - low) or float(np.ptp(column))
    digits = min(max(2 - math.floor(math.log10(spread)), 0), 12) if spread > 0 else 6
    while digits and (np.round(column, digits - 1) == column).all():
        digits -= 1
    return digits


def _name(name: object) -> Markup:
    return name_html(clean(name, _LONGEST_NAME))


def _number(value: float, digits: int) -> Any:
    return number_html(value) if abs(value) >= _LARGE or digits > 6 else f"{value:,.{digits}f}".replace("-", MINUS)


def _percent(share: float) -> str:
    """A share in per cent; small ones are not rounded to zero.

    >>> _percent(0.0), _percent(0.0004), _percent(0.123), _percent(1.0)
    ('0%', '<0.1%', '12.3%', '100%')
    """
    if 0 < share < 5e-4:
        return "<0.1%"
    return f"{share:.1%}".replace(".0%", "%") if share in (0.0, 1.0) else f"{share:.1%}"
