"""Masses of rounded columns by way of a density: noise fills the cells, and a bound is what can be said."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.distribution import AbstractDistribution
from pushforward.errors import DataError, ShapeError
from pushforward.fields import fixed
from pushforward.numerics import bits_of

N_DRAWS = 16  # points of a cell in a score
_OFF_GRID = 0.01  # of a step, by which a value may miss the grid


class Rounded(AbstractDistribution):
    """Rows of which some columns are rounded to multiples of a step: masses in these, a density in the others.

        log P(x | c) >= E[log 1/K sum_k p(x + h (u_k - 1/2) | c)] + sum_j log h_j,    u_k in [0, 1)^D

    p is the density of the rows before they were rounded, h_j the step of column j; a column of step 0 is left as it
    is and counts with its density. What `log_prob` returns is this BOUND (in evaluation; by one u in training): the
    points u_k are a lattice, moved by a shift whose seed is made of the bits of the row, so equal rows score equally.

    Args:
        flow: density of rows (D,).
        steps: (D,), not negative; 0 for a column that is not rounded.
        origin: (D,), a value on each column's grid: its values are origin + step * integer.
        period: (D,), of columns on a circle, a whole number of steps: there values that differ by it are one, in
            [origin, origin + period); 0 for all others.
        n_draws: K.

    Cost: K densities in evaluation, one in training; of samples one draw of the flow and its score.

    Raises:
        ShapeError: if steps, origin or period do not fit the flow.
        ValueError: if a step is negative, none is positive, a period is no whole number of steps, or n_draws < 1.
        DataError: by `log_prob`, for values that are not on the grid (under a caller's trace nothing is checked).

    Reference: Theis, van den Oord & Bethge 2016, section 3.1 (uniform noise); Burda, Grosse & Salakhutdinov 2016
        (the mean inside the logarithm); Cranley & Patterson 1976 (shifted lattices);
        Hickernell 2002 (folded ones).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> whole = pf.Rounded(pf.bases.Normal((1,), scale=3.0), steps=[1.0])
        >>> print(f"{np.exp(whole.log_prob(np.arange(-20.0, 21.0)[:, None])).sum():.2f}")
        1.00
    """

    flow: AbstractDistribution
    steps: np.ndarray | Array = fixed()
    origin: np.ndarray | Array = fixed()
    period: np.ndarray | Array = fixed()
    n_draws: int = eqx.field(static=True)

    def __init__(
        self,
        flow: AbstractDistribution,
        steps: Any,
        *,
        origin: Any = 0.0,
        period: Any = 0.0,
        n_draws: int = N_DRAWS,
    ) -> None:
        self.flow, self.n_draws = flow, int(n_draws)
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
        if (self.steps < 0).any() or not (self.steps > 0).any():
            raise ValueError(f"steps: expected numbers of at least 0, one of them positive, got {self.steps}.")
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

    def score_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        steps = jnp.asarray(self.steps, x.dtype)
        log_cell = jnp.sum(jnp.where(steps > 0, jnp.log(jnp.where(steps > 0, steps, 1.0)), 0.0))
        x = self._snapped(x)
        if key is not None:
            first, second = jax.random.split(key)
            u = jax.random.uniform(first, x.shape, x.dtype)
            return self.flow.score_one(x + steps * (u - 0.5), context, second) + log_cell
        found = jax.vmap(lambda x: self.flow.score_one(x, context, None))(cell_points(x, steps, self.n_draws))
        return jax.scipy.special.logsumexp(found) - jnp.log(float(self.n_draws)) + log_cell

    def draw_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        x = self._snapped(self.flow.draw_one(key, context)[0])
        return x, self.score_one(x, context, None)

    def centred(self) -> tuple["Rounded", np.ndarray | None]:
        inner, centre = self.flow.centred()
        if centre is None:
            return self, None
        moved = inner, np.asarray(self.origin, np.float64) - centre
        return eqx.tree_at(lambda r: (r.flow, r.origin), self, moved), centre

    def context_centred(self) -> tuple["Rounded", np.ndarray | None]:
        inner, centre = self.flow.context_centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda r: r.flow, self, inner), centre)

    def _snapped(self, x: Array) -> Array:
        """The grid points next to x, once on a circle: what was read may miss them by rounding."""
        steps, origin, period = (jnp.asarray(part, x.dtype) for part in (self.steps, self.origin, self.period))
        is_rounded = steps > 0
        safe = jnp.where(is_rounded, steps, 1.0)
        places, n_steps = jnp.floor((x - origin) / safe + 0.5), jnp.round(period / safe)
        places = jnp.where(period > 0, jnp.mod(places, jnp.where(period > 0, n_steps, 1.0)), places)
        return jnp.where(is_rounded, origin + safe * places, x)

    def check_rows(self, name: str, rows: np.ndarray | Array) -> None:
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

    def filled(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows (n, D) with uniform noise over the cells of their rounded columns: what the density in here is of."""
        return fill_cells(rows, np.asarray(self.steps), random)


def rounding_of(rows: np.ndarray) -> float:
    """By which share of themselves numbers may be off: half a unit in the last place, a single one if they have that.

    >>> rounding_of(np.array([0.1])) < 1e-15 < 1e-8 < rounding_of(np.float32([0.1]).astype(float)) < 1e-7
    True
    """
    with np.errstate(over="ignore"):
        is_single = np.array_equal(rows, rows.astype(np.float32))
    return float(np.finfo(np.float32 if is_single else np.float64).eps) / 2


def cell_points(x: Array, steps: Array, n: int = N_DRAWS) -> Array:
    """Points (n, D) that fill the cell of widths `steps` (D,) about a row (D,) evenly, the same for equal rows."""
    shift = jax.random.uniform(jax.random.key(bits_of(x)), x.shape, x.dtype)
    u = jnp.mod(jnp.asarray(_lattice(n, x.size), x.dtype) + shift[None], 1.0)
    u = 1.0 - jnp.abs(2.0 * u - 1.0)  # folded: the cell's two ends then meet, and the lattice errs by 1 / n^2
    return x[None] + steps[None] * (u - 0.5)


def fill_cells(rows: np.ndarray, steps: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows (n, D) with uniform noise over cells of width `steps` (D,); a column of step 0 stays as it is."""
    return rows + steps * (random.uniform(size=rows.shape) - 0.5)


def _lattice(n: int, dim: int) -> np.ndarray:
    """(n, dim) points of the unit cube that fill it evenly: multiples of 1 / n, in each column in another order.

    Column j has k a_j mod n for a number a_j prime to n, so that each column by itself is a grid of n.
    """
    steps = [step for step in range(1, n + 1) if np.gcd(step, n) == 1]
    # beyond the golden section of n the orders repeat: then columns share one, and lie apart by their shifts
    order = sorted(steps, key=lambda step: abs(step - 0.618 * n))
    chosen = np.array([1, *order])[np.arange(dim) % max(len(steps), 1)]
    return (np.arange(n)[:, None] * chosen % n) / n
