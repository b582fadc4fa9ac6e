"""Columns whose values repeat: a warning that names them, and the steps of those that lie on a lattice."""

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.core.discretised import rounding_of

_COPIES = 0.05  # share of a column's rows that repeat frequent values, above which a warning names the column
_FEW_COPIES = 3  # may always be an accident
_FREQUENT = 1e-3  # share of rows that makes a value frequent: layers resolve no finer grid than of a thousand values
_MOST_ROWS, _MOST_COLUMNS = 100_000, 512  # that are searched for repeated values
_OFF_LATTICE = 1e-3  # of a step, by which a gap may miss a multiple
_FINER = 100  # times than the least gap may a step be
_WHOLE = 2.0**53
_NAMED = 6


@dataclass(frozen=True)
class Repeats:
    """How the values of one column repeat.

    Attributes:
        share: of the rows, that have a value which another row has already.
        n_values: different values.
        values: the most frequent ones, most frequent first, at most six.
        frequency: share of the rows that have the first of them.
        step: of the lattice on which all values lie; 0 for none.
    """

    share: float
    n_values: int
    values: tuple[float, ...]
    frequency: float
    step: float

    def describe(self) -> str:
        """The figures in words.

        >>> Repeats(0.9, 3, (0.0, 1.5, 4.0), 0.5, 0.5).describe()
        '90% of rows repeat a value; 3 different values, 0 in 50.0%, 1.5, 4'
        """
        first, *rest = (f"{value:.6g}" for value in self.values)
        shown = ", ".join([f"{first} in {self.frequency:.1%}", *rest])
        more = ", ..." if self.n_values > len(self.values) else ""
        return f"{self.share:.0%} of rows repeat a value; {self.n_values:,} different values, {shown}{more}"

    def suggestion(self, name: str, lowest: float = -1.0) -> str:
        """What to do about it; `lowest` is the least value of the column.

        >>> Repeats(0.9, 3, (0.0, 1.5, 4.0), 0.5, 0.5).suggestion("dose", 0.0)
        'declare it with --column dose=positive+rounded:0.5'
        """
        if self.step:
            kind = "positive+" if lowest >= 0 else ""
            return f"declare it with --column {quoted(name)}={kind}rounded:{self.step:.12g}"
        return "its values lie on no grid: write it with fewer digits, then declare it rounded:STEP, or leave it out"


def quoted(name: str) -> str:
    """A name as a shell takes it.

    >>> quoted("wage"), quoted("hours a week")
    ('wage', "'hours a week'")
    """
    return shlex.quote(name)


def repeats_of(x: np.ndarray) -> Repeats | None:
    """How values x (n,) repeat, if they do so too often for a density; else None.

    A value is frequent if two rows have it, and more than chance gives to one of a thousand equally likely values:
    n / 1000 and three standard errors. A column repeats if more than 5 % of its rows, and more than three, repeat a
    frequent value that another row has already. Of long columns 100,000 rows are counted, evenly spaced.

    >>> repeats_of(np.random.default_rng(0).normal(size=1000)) is None
    True
    """
    part = x[:: -(-len(x) // _MOST_ROWS)]
    n = len(part)
    least = max(2.0, _FREQUENT * n + 3 * (_FREQUENT * n) ** 0.5)
    values, counts = np.unique(part, return_counts=True)
    if (counts[counts >= least] - 1).sum() <= max(_FEW_COPIES, _COPIES * n):
        return None
    top = [index for index in np.argsort(-counts, kind="stable")[:_NAMED].tolist() if counts[index] > 1]
    step = lattice_step(np.unique(x))
    return Repeats(1 - len(values) / n, len(values), tuple(values[top].tolist()), float(counts[top[0]] / n), step)


def repeated_steps(
    x: np.ndarray, columns: Sequence[str] | None, *, is_filled: np.ndarray | bool = True, stacklevel: int = 2
) -> np.ndarray:
    """Steps (D,) of the columns in which values of the rows (n, ...) repeat on a lattice, else 0; and one warning.

    A density has no bound at repeated values, and its likelihood there is no measure: a flow that follows them puts the
    rest of its mass anywhere. Noise over a step gives the rows a density again, that of the values before they were
    rounded, to within a step. What counts as repeated says `repeats_of`. Of wide rows 512 columns are looked at, evenly
    spaced.

    Args:
        x: (n, ...) finite rows, D numbers each.
        columns: D names, or None for their numbers.
        is_filled: which columns may have noise, (D,) or for all; others have step 0.
        stacklevel: of the warning.
    """
    flat = x.reshape(len(x), -1)
    width = flat.shape[1]
    steps, may_be_filled, found = np.zeros(width), np.broadcast_to(is_filled, width), []
    for index in range(0, width, -(-width // _MOST_COLUMNS)):
        repeats = repeats_of(flat[:, index])
        if repeats is None:
            continue
        if may_be_filled[index]:
            steps[index] = repeats.step
        label = repr(columns[index]) if columns else str(index)
        noise = f"; fitted with noise over a step of {steps[index]:.6g}" if steps[index] else ""
        fix = f"; {repeats.suggestion(columns[index], float(flat[:, index].min()))}" if columns else ""
        found.append(f"{label} ({repeats.describe()}{noise}{fix})")
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        warnings.warn(
            f"fit: values repeat in {'column' if len(found) == 1 else 'columns'} {', '.join(found[:_NAMED])}{more}. A "
            "density has no bound at repeated values, so likelihoods of such columns are no measure, and no sample has "
            "exactly such a value. Declare them rounded (--column NAME=rounded:STEP; columns= of FlowDensity), or add "
            "the noise they were rounded from.",
            stacklevel=stacklevel + 1,
        )
    return steps


def lattice_step(values: np.ndarray) -> float:
    """The greatest step of which all gaps between sorted different values are multiples; 0 where there is none.

    A step of less than a hundredth of the least gap is none.

    >>> lattice_step(np.array([10.0, 25.0, 50.0])), lattice_step(np.array([0.1, 0.2, 0.7])).__round__(12)
    (5.0, 0.1)
    >>> lattice_step(np.array([0.0, 1.0, 2.718]))
    0.0
    """
    gaps = np.diff(values)
    if len(gaps) and (values % 1 == 0).all() and np.abs(values).max() < _WHOLE:  # these have no rounding
        step = float(np.gcd.reduce(gaps.astype(np.int64)))
        return step if step * _FINER >= gaps.min() else 0.0
    error = 4 * max(rounding_of(values), np.finfo(float).eps) * float(np.abs(values).max())
    gaps = gaps[gaps > 4 * error]
    if not len(gaps):
        return 0.0
    step = float(gaps.min())
    finest = max(step / _FINER, 4 * error)
    while step > finest:
        rest = np.abs(gaps - step * np.round(gaps / step))
        off = rest[rest > _OFF_LATTICE * step + 2 * error]
        if not len(off):
            n_steps = round(float(np.ptp(values)) / step)  # over the whole width the errors of single values cancel
            return float(np.ptp(values)) / n_steps
        step = float(off.min())
    return 0.0
