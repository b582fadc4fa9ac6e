"""Masses of rounded columns by way of a density: noise fills the cells, and a bound is what can be said."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.arrays import bits_of

N_DRAWS = 16  # points of a cell in a score
_OFF_GRID = 0.01  # of a step, by which a value may miss the grid
_SINGLE, _DOUBLE = float(np.finfo(np.float32).eps), 4 * float(np.finfo(np.float64).eps)


class Discretised(AbstractDistribution):
    """Rows of which some columns are rounded, or hold few values: masses in these, a density in the others.

        log P(x | c) >= E[log 1/K sum_k p(x + h (u_k - 1/2) | c)] + sum_j log h_j,    u_k in [0, 1)^D

    p is the density of the rows before they were rounded, h_j the step of column j; a column of step 0 is left as it
    is and counts with its density. A column with `values` has a cell for each of these, its edges half-way between
    them: x_j is then the middle and h_j the width of the cell, and any other value has probability 0. What `log_prob`
    returns is this BOUND (in evaluation; by one u in training): the points u_k are a lattice, moved by a shift whose
    seed is made of the bits of the row, so equal rows score equally.

    Args:
        flow: density of rows (D,).
        steps: (D,), not negative; 0 for a column that is not rounded.
        origin: (D,), a value on each column's grid: its values are origin + step * integer.
        period: (D,), of columns on a circle, a whole number of steps: there values that differ by it are one, in
            [origin, origin + period); 0 for all others.
        values: for each column the values that it can hold, increasing, or nothing; None for no such column. Their
            steps are 0.
        n_draws: K.

    Cost: K densities in evaluation, one in training; of samples one draw of the flow and its score.

    Raises:
        ShapeError: if steps, origin, period or values do not fit the flow.
        ValueError: if a step is negative, no column is rounded, a period is no whole number of steps, values do not
            increase, or n_draws < 1.
        DataError: by `log_prob`, for values that are not on the grid (under a caller's trace nothing is checked).

    Reference: Theis, van den Oord & Bethge 2016, section 3.1 (uniform noise); Burda, Grosse & Salakhutdinov 2016
        (the mean inside the logarithm); Cranley & Patterson 1976 (shifted lattices);
        Hickernell 2002 (folded ones).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> whole = pf.Discretised(pf.bases.Normal((1,), scale=3.0), steps=[1.0])
        >>> print(f"{np.exp(whole.log_prob(np.arange(-20.0, 21.0)[:, None])).sum():.2f}")
        1.00
    """

    flow: AbstractDistribution
    steps: np.ndarray | Array = frozen()
    origin: np.ndarray | Array = frozen()
    period: np.ndarray | Array = frozen()
    n_draws: int = eqx.field(static=True)
    values: np.ndarray | Array | None = frozen(default=None)  # (D, K), each row with its last one to fill

    def __init__(
        self,
        flow: AbstractDistribution,
        steps: Any,
        *,
        origin: Any = 0.0,
        period: Any = 0.0,
        values: Sequence[Sequence[float]] | None = None,
        n_draws: int = N_DRAWS,
    ) -> None:
        self.flow, self.n_draws, self.values = flow, int(n_draws), padded_values(values)
        self.steps = np.asarray(steps, np.float64)
        self.origin, self.period = (
            np.full(self.steps.shape, value, np.float64) if np.ndim(value) == 0 else np.asarray(value, np.float64)
            for value in (origin, period)
        )

    def __check_init__(self) -> None:
        if len(self.flow.shape) != 1 or {self.steps.shape, self.origin.shape, self.period.shape} != {self.flow.shape}:
            raise ShapeError(
                "steps, origin, period: expected one number for each column of a flow of rows, got "
                f"{self.steps.shape}, {self.origin.shape} and {self.period.shape} for a flow of shape "
                f"{self.flow.shape}."
            )
        if (self.steps < 0).any() or not (self.steps > 0).any() | (self.values is not None):
            raise ValueError(f"steps: expected numbers of at least 0, one of them positive, got {self.steps}.")
        if self.values is not None:
            if np.ndim(self.values) != 2 or len(self.values) != len(self.steps):
                raise ShapeError(
                    f"values: expected those of {len(self.steps)} columns, got an array of shape {self.values.shape}."
                )
            gaps = np.diff(self.values, axis=1)
            if (gaps < 0).any() or ((gaps[:, :-1] <= 0) & (gaps[:, 1:] > 0)).any():
                raise ValueError(f"values: expected numbers that increase in each column, got {self.values}.")
            if (has_values(self.values) & (self.steps > 0)).any():
                raise ValueError(f"steps: expected 0 for columns with values, got {self.steps}.")
        n_steps = self.period / np.where(self.steps > 0, self.steps, 1.0)
        if (self.period < 0).any() or (np.abs(n_steps - np.round(n_steps)) > _OFF_GRID)[self.steps > 0].any():
            raise ValueError(f"period: expected whole numbers of steps {self.steps}, got {self.period}.")
        if self.n_draws < 1:
            raise ValueError(f"n_draws: expected a whole number of at least 1, got {self.n_draws}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flow.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.flow.context_shape

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        given, x = x, self.quantise(x)
        middle, width = self._cell(x)
        log_cell = jnp.sum(log_widths(width))
        if self.values is not None:
            values = self._values(x)
            is_known = ~has_values(values) | is_value(given, x, jnp.max(jnp.abs(values), axis=1))
            log_cell = jnp.where(jnp.all(is_known), log_cell, -jnp.inf)
        if key is not None:
            first, second = jax.random.split(key)
            u = jax.random.uniform(first, x.shape, x.dtype)
            return self.flow.log_prob_one(middle + width * (u - 0.5), context, second) + log_cell
        points = bin_points(x, middle, width, self.n_draws)
        found = jax.vmap(lambda x: self.flow.log_prob_one(x, context, None))(points)
        return jax.scipy.special.logsumexp(found) - jnp.log(float(self.n_draws)) + log_cell

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        x = self.quantise(self.flow.sample_and_log_prob_one(key, context)[0])
        return x, self.log_prob_one(x, context, None)

    def centred(self) -> tuple["Discretised", np.ndarray | None]:
        inner, centre = self.flow.centred()
        if centre is None:
            return self, None
        moved = inner, np.asarray(self.origin, np.float64) - centre
        return eqx.tree_at(lambda r: (r.flow, r.origin), self, moved), centre

    def context_centred(self) -> tuple["Discretised", np.ndarray | None]:
        inner, centre = self.flow.context_centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda r: r.flow, self, inner), centre)

    def quantise(self, x: Array) -> Array:
        """The grid points next to x, once on a circle: what was read may miss them by rounding."""
        steps, origin, period = (jnp.asarray(part, x.dtype) for part in (self.steps, self.origin, self.period))
        is_rounded = steps > 0
        safe = jnp.where(is_rounded, steps, 1.0)
        places, n_steps = jnp.floor((x - origin) / safe + 0.5), jnp.round(period / safe)
        places = jnp.where(period > 0, jnp.mod(places, jnp.where(period > 0, n_steps, 1.0)), places)
        x = jnp.where(is_rounded, origin + safe * places, x)
        return x if self.values is None else nearest(x, self._values(x))[0]

    def _values(self, x: Array) -> Array:
        return jnp.asarray(self.values, x.dtype)

    def _cell(self, x: Array) -> tuple[Array, Array]:
        """Middle and width of the cell of each number of a row on the grid."""
        steps = jnp.asarray(self.steps, x.dtype)
        return (x, steps) if self.values is None else cells_of(x, steps, self._values(x))

    def check_samples(self, name: str, rows: np.ndarray | Array) -> None:
        rows = np.asarray(rows)
        is_rounded = self.steps > 0
        safe = np.where(is_rounded, self.steps, 1.0)
        places = (rows - self.origin) / safe
        rounding = max(8 * np.finfo(rows.dtype).eps, rounding_of(rows))
        allowed = _OFF_GRID + rounding * np.abs(rows) / safe
        bad = is_rounded & (np.abs(places - np.round(places)) > allowed)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(
                f"{name}: expected values on a grid of step {self.steps[column]:g} in column {column}, got "
                f"{rows[row, column]:g} at row {row} ({int(bad.sum())} such values). Round them, or fit that column as "
                "a real one."
            )

    def dequantise(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows (n, D) with uniform noise over the cells of their rounded columns: what the density in here is of."""
        return dequantise(rows, np.asarray(self.steps), self.values, random)


def rounding_of(rows: np.ndarray) -> float:
    """By which share of themselves numbers may be off: half a unit in the last place, a single one if they have that.

    >>> rounding_of(np.array([0.1])) < 1e-15 < 1e-8 < rounding_of(np.float32([0.1]).astype(float)) < 1e-7
    True
    """
    with np.errstate(over="ignore"):
        is_single = np.array_equal(rows, rows.astype(np.float32))
    return float(np.finfo(np.float32 if is_single else np.float64).eps) / 2


def padded_values(values: Sequence[Sequence[float]] | None) -> np.ndarray | None:
    """Values of each column as (D, K), each row with its last one to fill; None where no column has any.

    >>> padded_values([(1.0, 5.0, 40.0), ()])
    array([[ 1.,  5., 40.],
           [ 0.,  0.,  0.]])
    """
    if values is None or not any(len(own) for own in values):
        return None
    width = max(2, *(len(own) for own in values))
    rows = [np.asarray(own, np.float64) if len(own) else np.zeros(1) for own in values]
    return np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row in rows])


def has_values(values: Any) -> Any:
    """Which of D columns have values, by their array (D, K)."""
    return values[:, -1] > values[:, 0]


def nearest(x: Array, values: Array) -> tuple[Array, Array]:
    """The value of its column next to each number of a row (D,), and its index; numbers of other columns stay.

    A number half-way between two values counts to the upper one, as the edge of a cell does to the cell above it.
    """
    n_values = 1 + jnp.sum(values[:, 1:] > values[:, :-1], axis=1)
    place = jnp.sum(x[:, None] >= (values[:, 1:] + values[:, :-1]) / 2, axis=1)
    place = jnp.minimum(place, n_values - 1)
    found = jnp.take_along_axis(values, place[:, None], axis=1)[:, 0]
    return jnp.where(has_values(values), found, x), place


def is_value(x: Any, value: Any, largest: Any, xp: Any = jnp) -> Any:
    """Whether numbers are a value of a column whose largest one is `largest` in size, up to single precision.

    A whole number is only itself: single precision holds it, or rounds both alike.
    """
    allowed = xp.where(value % 1 == 0, 0.0, _SINGLE * xp.abs(value)) + _DOUBLE * largest
    return xp.abs(x - value) <= allowed


def is_among(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which numbers (n,) are one of increasing values (K,).

    >>> is_among(np.array([1.0, 2.0]), np.array([1.0, 5.0, 40.0]))
    array([ True, False])
    """
    nearby = values[np.searchsorted((values[1:] + values[:-1]) / 2, x, side="right")]
    return is_value(x, nearby, np.abs(values).max(), np)


def cells_of(x: Array, steps: Array, values: Array) -> tuple[Array, Array]:
    """Middle and width (D,) of the cell of each number of a row (D,), by steps (D,) and values (D, K)."""
    x, place = nearest(x, values)
    place = place[:, None]
    here = jnp.take_along_axis(values, place, axis=1)[:, 0]
    gaps = values[:, 1:] - values[:, :-1]
    n_gaps = jnp.sum(gaps > 0, axis=1, keepdims=True)
    last = jnp.maximum(n_gaps - 1, 0)
    below = jnp.take_along_axis(gaps, jnp.clip(place - 1, 0, last), axis=1)[:, 0]
    above = jnp.take_along_axis(gaps, jnp.clip(place, 0, last), axis=1)[:, 0]
    is_own = has_values(values)
    middle = jnp.where(is_own, here + (above - below) / 4, x)
    return middle, jnp.where(is_own, (above + below) / 2, steps)


def log_widths(width: Any, xp: Any = jnp) -> Any:
    """The logarithms of widths of cells, 0 where a column has none."""
    return xp.where(width > 0, xp.log(xp.where(width > 0, width, 1.0)), 0.0)


def bin_points(x: Array, middle: Array, width: Array, n: int = N_DRAWS) -> Array:
    """Points (n, D) that fill the cell of a row (D,) evenly, the same for equal rows."""
    shift = jax.random.uniform(jax.random.key(bits_of(x)), x.shape, x.dtype)
    u = jnp.mod(jnp.asarray(_lattice(n, x.size), x.dtype) + shift[None], 1.0)
    u = 1.0 - jnp.abs(2.0 * u - 1.0)  # folded: the cell's two ends then meet, and the lattice errs by 1 / n^2
    return middle[None] + width[None] * (u - 0.5)


def bins_of(rows: np.ndarray, steps: np.ndarray, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Middles and widths (n, D) of the cells of rows (n, D), in float64: by steps (D,), or by values (D, K) or None."""
    middle, width = rows.copy(), np.broadcast_to(steps, rows.shape).copy()
    if values is not None:
        for place in np.flatnonzero(has_values(values)):
            own = np.unique(values[place])
            ends = edges_of(own)
            index = np.searchsorted((own[1:] + own[:-1]) / 2, rows[:, place], side="right")
            middle[:, place] = (ends[index + 1] + ends[index]) / 2
            width[:, place] = ends[index + 1] - ends[index]
    return middle, width


def edges_of(values: np.ndarray) -> np.ndarray:
    """Edges (K + 1,) of the cells of increasing values (K,): half-way between them, the outer ones as wide outwards.

    >>> edges_of(np.array([1.0, 5.0, 40.0]))
    array([-1. ,  3. , 22.5, 57.5])
    """
    half = np.diff(values) / 2
    return np.concatenate([values[:1] - half[0], values[:-1] + half, values[-1:] + half[-1]])


def dequantise(rows: np.ndarray, steps: np.ndarray, values: Any, random: np.random.Generator) -> np.ndarray:
    """Rows (n, D) with uniform noise over their cells; a column without steps and values stays as it is."""
    middle, width = bins_of(rows, steps, values)
    return middle + width * (random.uniform(size=rows.shape) - 0.5)


def _lattice(n: int, dim: int) -> np.ndarray:
    """(n, dim) points of the unit cube that fill it evenly: multiples of 1 / n, in each column in another order.

    Column j has k a_j mod n for a number a_j prime to n, so that each column by itself is a grid of n.
    """
    steps = [step for step in range(1, n + 1) if np.gcd(step, n) == 1]
    # beyond the golden section of n the orders repeat: then columns share one, and lie apart by their shifts
    order = sorted(steps, key=lambda step: abs(step - 0.618 * n))
    chosen = np.array([1, *order])[np.arange(dim) % max(len(steps), 1)]
    return (np.arange(n)[:, None] * chosen % n) / n
