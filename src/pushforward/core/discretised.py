"""Discretised columns: lower bounds of their masses from a density of the dequantised values."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.arrays import bits_of

N_DRAWS = 16  # points in a bin for one score
_OFF_GRID = 0.01  # largest distance from the grid, in steps
_SINGLE, _DOUBLE = float(np.finfo(np.float32).eps), 4 * float(np.finfo(np.float64).eps)


class Discretised(AbstractDistribution):
    """Distribution of rows with rounded or discrete columns: masses in these, a density in the others.

        log P(x | c) >= E[log 1/K sum_k p(x + h (u_k - 1/2) | c)] + sum_j log h_j,    u_k in [0, 1)^D

    p is the density of the rows before rounding, h_j the step of column j. A column of step 0 is continuous and
    contributes its density. A column with `values` has one bin for each value, with edges half-way between them: x_j is
    then the centre and h_j the width of the bin, and any other value has probability 0. `log_prob` returns this BOUND;
    evaluation uses K points, training a single u. The points u_k are a lattice with a random shift. The seed of the
    shift is computed from the bits of the row, so equal rows have equal scores.

    Args:
        flow: density of rows (D,).
        steps: (D,), not negative; 0 for a column that is not rounded.
        origin: (D,), one grid value of each column: the grid is origin + step * integer.
        period: (D,), for circular columns an integer multiple of the step, and 0 for all others. Values that differ by
            the period are equal, and are mapped to [origin, origin + period).
        values: for each column its possible values, increasing, or an empty sequence; None if no column has any. Their
            steps are 0.
        n_draws: K.

    Cost: K densities in evaluation, one in training. A sample costs one draw of the flow and its score.

    Raises:
        ShapeError: if steps, origin, period or values do not fit the flow.
        ValueError: if a step is negative, no column is rounded, a period is not an integer multiple of the step,
            values do not increase, or n_draws < 1.
        DataError: from `log_prob`, for values off the grid (not checked under a caller's trace).

    Reference: Theis, van den Oord & Bethge 2016, section 3.1 (uniform noise); Burda, Grosse & Salakhutdinov 2016
        (the mean inside the logarithm); Cranley & Patterson 1976 (shifted lattices);
        Hickernell 2002 (folded ones).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> integers = pf.Discretised(pf.bases.Normal((1,), scale=3.0), steps=[1.0])
        >>> print(f"{np.exp(integers.log_prob(np.arange(-20.0, 21.0)[:, None])).sum():.2f}")
        1.00
    """

    flow: AbstractDistribution
    steps: np.ndarray | Array = frozen()
    origin: np.ndarray | Array = frozen()
    period: np.ndarray | Array = frozen()
    n_draws: int = eqx.field(static=True)
    values: np.ndarray | Array | None = frozen(default=None)  # (D, K), each row padded with its last value

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
                "steps, origin, period: expected one number for each column of a flow of shape (D,), got "
                f"{self.steps.shape}, {self.origin.shape} and {self.period.shape} for a flow of shape "
                f"{self.flow.shape}."
            )
        if (self.steps < 0).any() or not (self.steps > 0).any() | (self.values is not None):
            raise ValueError(f"steps: expected numbers of at least 0, one of them positive, got {self.steps}.")
        if self.values is not None:
            if np.ndim(self.values) != 2 or len(self.values) != len(self.steps):
                raise ShapeError(
                    f"values: expected {len(self.steps)} sequences, one per column, got shape {self.values.shape}."
                )
            gaps = np.diff(self.values, axis=1)
            if (gaps < 0).any() or ((gaps[:, :-1] <= 0) & (gaps[:, 1:] > 0)).any():
                raise ValueError(f"values: expected numbers that increase in each column, got {self.values}.")
            if (has_values(self.values) & (self.steps > 0)).any():
                raise ValueError(f"steps: expected 0 for columns with values, got {self.steps}.")
        n_steps = self.period / np.where(self.steps > 0, self.steps, 1.0)
        if (self.period < 0).any() or (np.abs(n_steps - np.round(n_steps)) > _OFF_GRID)[self.steps > 0].any():
            raise ValueError(f"period: expected integer multiples of the steps {self.steps}, got {self.period}.")
        if self.n_draws < 1:
            raise ValueError(f"n_draws: expected an integer of at least 1, got {self.n_draws}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flow.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.flow.context_shape

    @property
    def layers(self) -> tuple[AbstractBijection, ...]:
        """The layers of the flow; see `Flow.layers`."""
        flow: Any = self.flow
        return flow.layers

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        unrounded, x = x, self.quantise(x)
        centre, width = self._bin(x)
        log_volume = jnp.sum(log_widths(width))
        if self.values is not None:
            values = self._values(x)
            is_known = ~has_values(values) | is_value(unrounded, x, jnp.max(jnp.abs(values), axis=1))
            log_volume = jnp.where(jnp.all(is_known), log_volume, -jnp.inf)
        if key is not None:
            first, second = jax.random.split(key)
            u = jax.random.uniform(first, x.shape, x.dtype)
            return self.flow.log_prob_one(centre + width * (u - 0.5), context, second) + log_volume
        points = bin_points(x, centre, width, self.n_draws)
        log_probs = jax.vmap(lambda x: self.flow.log_prob_one(x, context, None))(points)
        return jax.scipy.special.logsumexp(log_probs) - jnp.log(float(self.n_draws)) + log_volume

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        x = self.quantise(self.flow.sample_and_log_prob_one(key, context)[0])
        return x, self.log_prob_one(x, context, None)

    def centred(self) -> tuple["Discretised", np.ndarray | None]:
        inner, centre = self.flow.centred()
        if centre is None:
            return self, None
        shifted = inner, np.asarray(self.origin, np.float64) - centre
        return eqx.tree_at(lambda d: (d.flow, d.origin), self, shifted), centre

    def context_centred(self) -> tuple["Discretised", np.ndarray | None]:
        inner, centre = self.flow.context_centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda d: d.flow, self, inner), centre)

    def quantise(self, x: Array) -> Array:
        """The grid values nearest to x, modulo the period: input read from text may be off the grid by rounding."""
        steps, origin, period = (jnp.asarray(part, x.dtype) for part in (self.steps, self.origin, self.period))
        is_rounded = steps > 0
        safe = jnp.where(is_rounded, steps, 1.0)
        index, n_steps = jnp.floor((x - origin) / safe + 0.5), jnp.round(period / safe)
        index = jnp.where(period > 0, jnp.mod(index, jnp.where(period > 0, n_steps, 1.0)), index)
        x = jnp.where(is_rounded, origin + safe * index, x)
        return x if self.values is None else nearest_value(x, self._values(x))[0]

    def _values(self, x: Array) -> Array:
        return jnp.asarray(self.values, x.dtype)

    def _bin(self, x: Array) -> tuple[Array, Array]:
        """Centre and width (D,) of the bins of a row on the grid."""
        steps = jnp.asarray(self.steps, x.dtype)
        return (x, steps) if self.values is None else bin_of(x, steps, self._values(x))

    def check_samples(self, name: str, x: np.ndarray | Array) -> None:
        x = np.asarray(x)
        is_rounded = self.steps > 0
        safe = np.where(is_rounded, self.steps, 1.0)
        index = (x - self.origin) / safe
        rounding = max(8 * np.finfo(x.dtype).eps, rounding_of(x))
        tolerance = _OFF_GRID + rounding * np.abs(x) / safe
        bad = is_rounded & (np.abs(index - np.round(index)) > tolerance)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(
                f"expected values on a grid of step {self.steps[column]:g} in column {column}, got "
                f"{x[row, column]:g} at row {row} ({int(bad.sum())} such values). Round them, or fit that column as "
                "a continuous one.",
                name,
            )

    def dequantise(self, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows x (n, D) with uniform noise over the bins of their rounded columns, as the inner flow models them."""
        return dequantise(x, np.asarray(self.steps), self.values, random)


def rounding_of(x: np.ndarray) -> float:
    """The relative rounding error of numbers: half an epsilon of float32 if float32 holds all of them, else of float64.

    >>> rounding_of(np.array([0.1])) < 1e-15 < 1e-8 < rounding_of(np.float32([0.1]).astype(float)) < 1e-7
    True
    """
    with np.errstate(over="ignore"):
        is_single = np.array_equal(x, x.astype(np.float32))
    return float(np.finfo(np.float32 if is_single else np.float64).eps) / 2


def padded_values(values: Sequence[Sequence[float]] | None) -> np.ndarray | None:
    """Values of each column as (D, K), each row padded with its last value; None if no column has any.

    >>> padded_values([(1.0, 5.0, 40.0), ()])
    array([[ 1.,  5., 40.],
           [ 0.,  0.,  0.]])
    """
    if values is None or not any(len(column) for column in values):
        return None
    width = max(2, *(len(column) for column in values))
    rows = [np.asarray(column, np.float64) if len(column) else np.zeros(1) for column in values]
    return np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row in rows])


def has_values(values: Any) -> Any:
    """Whether each of D columns has values, from the padded array (D, K)."""
    return values[:, -1] > values[:, 0]


def nearest_value(x: Array, values: Array) -> tuple[Array, Array]:
    """The nearest value of its column for each entry of a row (D,), and its index; columns without values stay.

    An entry half-way between two values belongs to the upper one, as the edge of a bin belongs to the bin above it.
    """
    n_values = 1 + jnp.sum(values[:, 1:] > values[:, :-1], axis=1)
    index = jnp.sum(x[:, None] >= (values[:, 1:] + values[:, :-1]) / 2, axis=1)
    index = jnp.minimum(index, n_values - 1)
    nearest = jnp.take_along_axis(values, index[:, None], axis=1)[:, 0]
    return jnp.where(has_values(values), nearest, x), index


def is_value(x: Any, value: Any, largest: Any, xp: Any = jnp) -> Any:
    """Whether x equals a value up to single precision; `largest` is the largest absolute value of the column.

    Integer values must match to double precision: float32 represents them exactly, or rounds both alike.
    """
    tolerance = xp.where(value % 1 == 0, 0.0, _SINGLE * xp.abs(value)) + _DOUBLE * largest
    return xp.abs(x - value) <= tolerance


def is_among(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each number (n,) is one of the increasing values (K,).

    >>> is_among(np.array([1.0, 2.0]), np.array([1.0, 5.0, 40.0]))
    array([ True, False])
    """
    nearest = values[np.searchsorted((values[1:] + values[:-1]) / 2, x, side="right")]
    return is_value(x, nearest, np.abs(values).max(), np)


def bin_of(x: Array, steps: Array, values: Array) -> tuple[Array, Array]:
    """Centre and width (D,) of the bins of a row (D,), from steps (D,) and values (D, K)."""
    x, index = nearest_value(x, values)
    index = index[:, None]
    value = jnp.take_along_axis(values, index, axis=1)[:, 0]
    gaps = values[:, 1:] - values[:, :-1]
    n_gaps = jnp.sum(gaps > 0, axis=1, keepdims=True)
    last = jnp.maximum(n_gaps - 1, 0)
    below = jnp.take_along_axis(gaps, jnp.clip(index - 1, 0, last), axis=1)[:, 0]
    above = jnp.take_along_axis(gaps, jnp.clip(index, 0, last), axis=1)[:, 0]
    is_discrete = has_values(values)
    centre = jnp.where(is_discrete, value + (above - below) / 4, x)
    return centre, jnp.where(is_discrete, (above + below) / 2, steps)


def log_widths(width: Any, xp: Any = jnp) -> Any:
    """Logarithms of bin widths, 0 for a continuous column (width 0)."""
    return xp.where(width > 0, xp.log(xp.where(width > 0, width, 1.0)), 0.0)


def bin_points(x: Array, centre: Array, width: Array, n: int = N_DRAWS) -> Array:
    """Points (n, D) spread evenly over the bin of a row (D,), the same for equal rows."""
    shift = jax.random.uniform(jax.random.key(bits_of(x)), x.shape, x.dtype)
    u = jnp.mod(jnp.asarray(_lattice(n, x.size), x.dtype) + shift[None], 1.0)
    u = 1.0 - jnp.abs(2.0 * u - 1.0)  # folded: periodic in each coordinate, so the lattice error is O(1 / n^2)
    return centre[None] + width[None] * (u - 0.5)


def bins_of(rows: np.ndarray, steps: np.ndarray, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Centres and widths (n, D) of the bins of rows (n, D) in float64, from steps (D,) and values (D, K) or None."""
    centre, width = rows.copy(), np.broadcast_to(steps, rows.shape).copy()
    if values is not None:
        for column in np.flatnonzero(has_values(values)):
            distinct = np.unique(values[column])
            edges = bin_edges(distinct)
            index = np.searchsorted((distinct[1:] + distinct[:-1]) / 2, rows[:, column], side="right")
            centre[:, column] = (edges[index + 1] + edges[index]) / 2
            width[:, column] = edges[index + 1] - edges[index]
    return centre, width


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Edges (K + 1,) of the bins of increasing values (K,): half-way between them; the outer bins are symmetric.

    >>> bin_edges(np.array([1.0, 5.0, 40.0]))
    array([-1. ,  3. , 22.5, 57.5])
    """
    half = np.diff(values) / 2
    return np.concatenate([values[:1] - half[0], values[:-1] + half, values[-1:] + half[-1]])


def dequantise(rows: np.ndarray, steps: np.ndarray, values: Any, random: np.random.Generator) -> np.ndarray:
    """Rows (n, D) with uniform noise over their bins; continuous columns stay as they are."""
    centre, width = bins_of(rows, steps, values)
    return centre + width * (random.uniform(size=rows.shape) - 0.5)


def _lattice(n: int, dim: int) -> np.ndarray:
    """Rank-1 lattice of n points in the unit cube (n, dim): each column is a permutation of the multiples of 1 / n.

    Column j is k a_j mod n, with a generator a_j coprime to n.
    """
    coprime = [a for a in range(1, n + 1) if np.gcd(a, n) == 1]
    # with more columns than generators, columns share a generator and differ by their shifts
    by_golden_section = sorted(coprime, key=lambda a: abs(a - 0.618 * n))
    generators = np.array([1, *by_golden_section])[np.arange(dim) % max(len(coprime), 1)]
    return (np.arange(n)[:, None] * generators % n) / n
