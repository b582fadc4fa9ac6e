"""Columns with repeated values: a warning that names them, and the lattice steps of their values."""

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.core.discretised import rounding_of

_COPIES = 0.05  # share of a column's rows that repeat values, above which the column counts as repeating
_FEW_COPIES = 3  # number of copies that may be chance
_FREQUENT = 1e-3  # share of rows that makes a value frequent: layers resolve no finer grid than of a thousand values
_MOST_ROWS, _MOST_COLUMNS = 100_000, 512  # searched for repeated values
_OFF_LATTICE = 1e-3  # tolerance of a gap as a multiple of the step, in steps
_FINER = 100  # least gap over least step
_MAX_EXACT_INTEGER = 2.0**53  # of float64
_NAMED = 6


@dataclass(frozen=True)
class Repeats:
    """How the values of one column repeat.

    Attributes:
        share: of the rows that repeat the value of an earlier row.
        n_values: number of distinct values.
        values: the most frequent ones, most frequent first, at most six.
        frequency: share of the rows with the first of them.
        step: of the lattice on which all values lie; 0 for none.
    """

    share: float
    n_values: int
    values: tuple[float, ...]
    frequency: float
    step: float

    def describe(self) -> str:
        """The figures as text.

        >>> Repeats(0.9, 3, (0.0, 1.5, 4.0), 0.5, 0.5).describe()
        '90% of rows repeat a value; 3 different values, 0 in 50.0%, 1.5, 4'
        """
        first, *rest = (f"{value:.6g}" for value in self.values)
        shown = ", ".join([f"{first} in {self.frequency:.1%}", *rest])
        more = ", ..." if self.n_values > len(self.values) else ""
        return f"{self.share:.0%} of rows repeat a value; {self.n_values:,} different values, {shown}{more}"

    def suggestion(self, name: str, lowest: float = -1.0) -> str:
        """Advice for the column; `lowest` is its least value.

        >>> Repeats(0.9, 3, (0.0, 1.5, 4.0), 0.5, 0.5).suggestion("dose", 0.0)
        'declare it with --column dose=positive+rounded:0.5'
        """
        if self.step:
            kind = "positive+" if lowest >= 0 else ""
            return f"declare it with --column {shell_quote(name)}={kind}rounded:{self.step:.12g}"
        return "its values lie on no grid: write it with fewer digits, then declare it rounded:STEP, or leave it out"


def shell_quote(name: str) -> str:
    """A name, quoted for a shell.

    >>> shell_quote("wage"), shell_quote("hours a week")
    ('wage', "'hours a week'")
    """
    return shlex.quote(name)


def repeats_of(x: np.ndarray) -> Repeats | None:
    """How values x (n,) repeat, if too often for a density; else None.

    A value is frequent if at least two rows have it, and more than expected of one of a thousand equally likely values:
    n / 1000 plus three standard errors. A column repeats if more than 5 % of its rows, and more than three, repeat a
    frequent value of an earlier row. Of long columns 100,000 evenly spaced rows are counted.

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


def has_copies(x: np.ndarray) -> bool:
    """Whether more than 5 % of the values x (n,) repeat others, frequent or not.

    The likelihood of a mixture of normals is then unbounded: a component may narrow to a value of only two rows.
    `repeats_of` counts frequent values only, because a flow does not resolve others.
    """
    return len(np.unique(x)) < (1 - _COPIES) * len(x)


def repeated_steps(
    x: np.ndarray, columns: Sequence[str] | None, *, is_filled: np.ndarray | bool = True, stacklevel: int = 2
) -> np.ndarray:
    """Steps (D,) of the columns in which values of the rows (n, ...) repeat on a lattice, else 0; and one warning.

    A density is unbounded at repeated values, so its likelihood there is no measure: a flow that fits them may put the
    rest of its mass anywhere. Noise over a step restores a density, that of the values before rounding, to within a
    step. `repeats_of` defines repeated values. Of wide rows 512 evenly spaced columns are searched.

    Args:
        x: (n, ...) finite rows, D numbers each.
        columns: D names, or None for column indices.
        is_filled: which columns may get noise, (D,) or one bool for all; others have step 0.
        stacklevel: of the warning.
    """
    flat = x.reshape(len(x), -1)
    width = flat.shape[1]
    steps, may_be_filled, messages = np.zeros(width), np.broadcast_to(is_filled, width), []
    for index in range(0, width, -(-width // _MOST_COLUMNS)):
        repeats = repeats_of(flat[:, index])
        if repeats is None:
            continue
        if may_be_filled[index]:
            steps[index] = repeats.step
        label = repr(columns[index]) if columns else str(index)
        noise = f"; fitted with noise over a step of {steps[index]:.6g}" if steps[index] else ""
        fix = f"; {repeats.suggestion(columns[index], float(flat[:, index].min()))}" if columns else ""
        messages.append(f"{label} ({repeats.describe()}{noise}{fix})")
    if messages:
        named = ("column " if len(messages) == 1 else "columns ") + ", ".join(messages[:_NAMED])
        more = f" and {len(messages) - _NAMED} more" if len(messages) > _NAMED else ""
        warnings.warn(
            f"fit: values repeat in {named}{more}. A "
            "density has no bound at repeated values, so likelihoods of such columns are no measure, and no sample has "
            "exactly such a value. Declare them rounded (--column NAME=rounded:STEP; columns= of FlowDensity), or add "
            "the noise they were rounded from.",
            stacklevel=stacklevel + 1,
        )
    return steps


def lattice_step(values: np.ndarray) -> float:
    """The greatest step of which all gaps between sorted distinct values are multiples; 0 where there is none.

    A step of less than a hundredth of the least gap does not count.

    >>> lattice_step(np.array([10.0, 25.0, 50.0])), lattice_step(np.array([0.1, 0.2, 0.7])).__round__(12)
    (5.0, 0.1)
    >>> lattice_step(np.array([0.0, 1.0, 2.718]))
    0.0
    """
    gaps = np.diff(values)
    if len(gaps) and (values % 1 == 0).all() and np.abs(values).max() < _MAX_EXACT_INTEGER:  # these are exact
        step = float(np.gcd.reduce(gaps.astype(np.int64)))
        return step if step * _FINER >= gaps.min() else 0.0
    error = 4 * max(rounding_of(values), np.finfo(float).eps) * float(np.abs(values).max())
    gaps = gaps[gaps > 4 * error]
    if not len(gaps):
        return 0.0
    step = float(gaps.min())
    finest = max(step / _FINER, 4 * error)
    while step > finest:
        remainder = np.abs(gaps - step * np.round(gaps / step))
        off = remainder[remainder > _OFF_LATTICE * step + 2 * error]
        if not len(off):
            n_steps = round(float(np.ptp(values)) / step)  # over the whole width the errors of single values cancel
            return float(np.ptp(values)) / n_steps
        step = float(off.min())
    return 0.0
