"""The plan of a table: what each column holds, printed, saved with the model, and turned into the outermost layer."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward.bijections import Chain, ColumnMaps
from pushforward.core.discretised import (
    Discretised,
    bin_points,
    bins_of,
    dequantise,
    is_among,
    log_widths,
    padded_values,
    rounding_of,
)
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.errors import DataError, ShapeError
from pushforward.tabular.schema.column import Column, declared
from pushforward.tabular.schema.decimals import as_read
from pushforward.tabular.schema.detect import centred, detected, discrete, emptiest, heavy, off_grid, with_shares
from pushforward.tabular.schema.ends import with_ends
from pushforward.tabular.schema.refusals import number_of, refuse, refuse_constant, refuse_extremes
from pushforward.train.repeats import Repeats, repeats_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the columns of a table become the coordinates of a flow, and back.

    A constant column is no coordinate: it has no density, is checked when rows are scored, and filled in again in
    samples. The others are mapped one by one (`ColumnMaps`); rounded and discrete ones get noise in training, and
    bounds of their masses in scores (`Discretised`). Where such a column has few values, it is mapped so that a
    standard normal has the shares of the data: a flow need not learn the jumps of a density from cell to cell, which
    it would smooth, and give rare values mass of their neighbours.

    Attributes:
        columns: one `Column` for each column of the table.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def modelled(self) -> np.ndarray:
        """Positions of the columns that are coordinates of the flow."""
        return np.flatnonzero([column.kind != "constant" for column in self.columns])

    @property
    def is_rounded(self) -> bool:
        """Whether scores are bounds of log-masses in some columns."""
        return any(column.is_rounded for column in self.columns)

    def dequantise(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows (n, modelled columns) with uniform noise over the bins of rounded columns."""
        return dequantise(rows, *self._grid(), random)

    def bin_points(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, modelled columns) as points (n, K, modelled columns): their mean density is a `Discretised` score.

        K is 1, and the points are the rows, where no column is rounded.
        """
        if not self.is_rounded:
            return rows[:, None]
        with jax.enable_x64(True):
            rows = np.asarray(rows, np.float64)
            return np.asarray(jax.jit(jax.vmap(bin_points))(rows, *bins_of(rows, *self._grid())))

    def log_volumes(self, rows: np.ndarray) -> np.ndarray:
        """Log-volumes (n,) of the bins of rows (n, modelled columns), which turn a density of dequantised rows into a
        mass."""
        return log_widths(bins_of(rows, *self._grid())[1], np).sum(1)

    def _grid(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps of the modelled columns, 0 for discrete ones, and the values of these."""
        steps = np.array([column.step * (column.kind != "discrete") for column in self._chosen])
        return steps, padded_values(self._discrete_values)

    @property
    def _chosen(self) -> list[Column]:
        return [self.columns[place] for place in self.modelled]

    @property
    def _discrete_values(self) -> list[tuple[float, ...]]:
        return [column.values if column.kind == "discrete" else () for column in self._chosen]

    def layer(self) -> ColumnMaps:
        """The outermost layer, of the modelled columns."""
        chosen = self._chosen
        return ColumnMaps(
            ["cells" if column.values else column.kind for column in chosen],
            lower=[column.lower for column in chosen],
            upper=[column.upper for column in chosen],
            centre=[column.centre for column in chosen],
            scale=[column.scale for column in chosen],
            index=[(column.below, column.above) for column in chosen],
            cells=[(column.edges, column.shares) for column in chosen if column.values],
        )

    def around(self, flow: Flow) -> AbstractDistribution:
        """A flow of mapped columns as a distribution of the columns themselves, without the constant ones."""
        inner = flow.bijection
        layers = inner.bijections if isinstance(inner, Chain) else (inner,)
        flow = eqx.tree_at(lambda f: f.bijection, flow, Chain([*layers, self.layer()]))
        chosen = self._chosen
        if not any(column.is_rounded for column in chosen):
            return flow
        return Discretised(
            flow,
            self._grid()[0],
            values=self._discrete_values,
            origin=[column.first if column.kind == "circular" else column.origin for column in chosen],
            period=[column.upper - column.lower if column.kind == "circular" else 0.0 for column in chosen],
        )

    def inside(self, distribution: AbstractDistribution) -> Flow:
        """The flow of mapped columns in a distribution that `around` made.

        Raises:
            DataError: if this plan's layer is not its outermost one.
        """
        flow = distribution.flow if isinstance(distribution, Discretised) else distribution
        layers = flow.bijection.bijections if isinstance(flow, Flow) and isinstance(flow.bijection, Chain) else ()
        if not isinstance(flow, Flow) or len(layers) < 2 or not isinstance(layers[-1], ColumnMaps):
            raise DataError("plan: expected a flow with the maps of its columns outermost, got another distribution.")
        return eqx.tree_at(lambda f: f.bijection, flow, Chain(layers[:-1]))

    def inward(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, modelled columns) as the flow inside sees them, and log-determinants (n,), in float64."""
        with jax.enable_x64(True):
            z, log_det = jax.jit(jax.vmap(self.layer().inverse_and_log_det))(np.asarray(rows, np.float64))
            return np.array(z), np.array(log_det)

    def outside(self, rows: np.ndarray) -> np.ndarray:
        """Which values of rows (n, modelled columns) have no density, for they lie outside their column's support."""
        kinds, lower, upper = (
            np.array([getattr(self.columns[place], name) for place in self.modelled])
            for name in ("kind", "lower", "upper")
        )
        has_lower, has_upper = np.isin(kinds, ["positive", "softplus", "bounded"]), kinds == "bounded"
        found = (has_lower & (rows <= lower)) | (has_upper & (rows >= upper))
        for place, column in enumerate(self._chosen):
            if column.kind == "discrete":
                found[:, place] = ~is_among(rows[:, place], np.array(column.values))
        return found

    def select(self, rows: np.ndarray, name: str = "x", numbers: np.ndarray | None = None) -> np.ndarray:
        """The modelled columns of rows (n, columns); refuses what has no density: off a constant's value, off a grid.

        A value on the grid of a discrete column that no training row had has probability 0: a warning names it.

        `name` and `numbers`, those of the rows, (n,), are for its sentences; None counts the rows from 0.
        """
        if rows.shape[-1] != len(self.columns):
            raise ShapeError(f"{name}: expected {len(self.columns)} columns, got {rows.shape[-1]}.")
        for place, column in enumerate(self.columns):
            if column.kind == "constant" and (bad := np.flatnonzero(_differs(rows[:, place], column.centre))).size:
                raise DataError(
                    f"{name}: column {column.name!r} was {column.centre:.9g} in every row of the training data, got "
                    f"{rows[bad[0], place]:.9g} at row {number_of(numbers, bad[0])} ({bad.size} such rows), which has "
                    "no density. Leave such rows out, or fit again without that column."
                )
            if column.step and (bad := np.flatnonzero(off_grid(rows[:, place], column.step, column.origin))).size:
                raise DataError(
                    f"{name}: column {column.name!r} is rounded to {column.step:g}, got {rows[bad[0], place]:.12g} at "
                    f"row {number_of(numbers, bad[0])} ({bad.size} such rows). Round them, or fit it as a real column."
                )
            if column.kind == "discrete":
                bad = np.flatnonzero(~is_among(rows[:, place], np.array(column.values)))
                if bad.size:
                    warnings.warn(
                        f"{name}: column {column.name!r} is {rows[bad[0], place]:.9g} at row "
                        f"{number_of(numbers, bad[0])} ({bad.size} such rows), which it was in no training row "
                        f"({column.describe()}): its probability is 0. If other values can come, declare the column "
                        "whole, count, real, or rounded with a step.",
                        stacklevel=3,
                    )
        return rows[:, self.modelled]

    def whole(self, rows: np.ndarray) -> tuple[str, ...]:
        """Names of the columns of whole numbers, where those in rows (n, columns) are small enough to be exact."""
        return tuple(
            column.name
            for column, values in zip(self.columns, rows.T, strict=True)
            if column.is_whole and (np.abs(values) < 2**53).all() and (values % 1 == 0).all()
        )

    def expand(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the modelled columns (..., modelled) with the constant ones filled in: (..., columns).

        Values on a grid are the numbers that the data's decimals are read as, so that tables can be joined by them.
        """
        whole = np.empty((*rows.shape[:-1], len(self.columns)))
        whole[...] = [column.centre for column in self.columns]
        whole[..., self.modelled] = rows
        for place, column in enumerate(self.columns):
            if column.is_rounded:
                whole[..., place] = as_read(column, whole[..., place])
        return whole

    def repeating(self, rows: np.ndarray) -> dict[str, Repeats]:
        """The columns of rows (n, modelled columns) whose values repeat though they count with a density, by name.

        A density has no bound at such values, so a likelihood of these columns is no measure, and no gain over another
        model is.
        """
        found = {
            column.name: repeats_of(rows[:, place])
            for place, column in enumerate(self._chosen)
            if not column.is_rounded
        }
        return {name: repeats for name, repeats in found.items() if repeats is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"columns": [column.to_dict() for column in self.columns]}

    @classmethod
    def from_dict(cls, values: Any) -> "Plan":
        """The plan of `to_dict`, checked.

        Raises:
            DataError: if it is none.
        """
        if not isinstance(values, dict) or set(values) != {"columns"} or not isinstance(values["columns"], list):
            raise DataError(f"plan: expected a dict with a list of columns, got {values!r}.")
        return cls(tuple(Column.from_dict(column) for column in values["columns"]))

    def __str__(self) -> str:
        lines = [("column", "kind", "", "why")]
        lines += [(column.label, column.describe(), column.source, column.note) for column in self.columns]
        widths = [max(len(line[place]) for line in lines) for place in range(3)]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, (*widths, 0), strict=True)).rstrip()
            for line in lines
        )


def infer_schema(
    x: np.ndarray,
    names: Sequence[str],
    *,
    declarations: Mapping[str, Any] | None = None,
    detect: bool = True,
    others: np.ndarray | None = None,
    units: Sequence[str] | None = None,
    numbers: np.ndarray | None = None,
) -> Plan:
    """What each column of a table holds: as declared, else as its values show, else a real number.

    Detected are, from 50 rows on: a discrete column (at most 50 different values, five rows to each), which can hold
    these values only, or, where `others` have more values on the same grid, a rounded one; a support (the positives,
    (0, 1), (-1, 1), (0, 100)) by which a normal law gains 0.1 nats a row; and tails that fall off like a power.
    Constant columns and circles must be declared.

    Args:
        x: rows (n, columns), finite.
        names: of the columns.
        declarations: names of columns with their kinds, such as {"income": "positive", "share": "bounded:0:1"}.
        detect: whether columns that are not declared are looked at; otherwise they are real.
        others: rows (m, columns) that the plan will meet, such as a test's. No number is taken from them but the codes
            of declared categories; and a grid or a support that they deny is not detected, or they had no density.
        units: of the columns, in words.
        numbers: of the rows in sentences, (n,); None counts them from 0.

    Raises:
        DataError: for a name or a declaration that is unknown, and for values outside a declared support, off a
            declared grid, or not constant; the sentence names the column and the row.

    >>> x = np.random.default_rng(0).lognormal(size=(500, 1))
    >>> print(infer_schema(x, ["income"]).columns[0].describe())
    positive, above 0
    """
    declarations = dict(declarations or {})
    for name in declarations:
        if name not in names:
            raise DataError(f"columns: there is no column {name!r}: name one of {', '.join(map(repr, names))}.")
    found = []
    for place, name in enumerate(names):
        column = Column(name) if name not in declarations else declared(name, declarations[name])
        if column.kind != "constant":
            refuse_constant(column, x[:, place])
            refuse_extremes(column, x[:, place])
        if name in declarations:
            any_origin = "rounded" in str(declarations[name])  # of whole numbers it is 0
            column = _completed(column, x[:, place], numbers, None if others is None else others[:, place], any_origin)
        elif detect:
            column = detected(column, x[:, place], None if others is None else others[:, place])
        if column.kind == "real":
            column = centred(column, x[:, place])
        found.append(dataclasses.replace(column, unit="" if units is None else units[place]))
    if all(column.kind == "constant" for column in found):
        raise DataError("columns: every column is constant, so nothing is left to model. Declare fewer constants.")
    return Plan(tuple(found))


def _differs(x: np.ndarray, value: float) -> np.ndarray:
    """Whether numbers are not a constant; a broken one may have been read in single precision at one of two times."""
    return np.abs(x - value) > (0.0 if value % 1 == 0 else np.finfo(np.float32).eps * abs(value))


def _completed(
    column: Column, x: np.ndarray, numbers: np.ndarray | None, others: np.ndarray | None, any_origin: bool
) -> Column:
    """A declared column with what its data decide, checked against them."""
    if column.kind == "constant":
        if (x != x[0]).any():
            refuse(column, x, x != x[0], f"{x[0]:g} in every row as it is declared constant", numbers)
        return dataclasses.replace(column, centre=float(x[0]))
    if column.kind == "heavy":
        column = heavy(column, x)
    if column.note == "category":
        off = off_grid(x, 1.0, 0.0)
        refuse(column, x, off, "whole numbers", numbers)
        codes = np.unique(np.round(x if others is None else np.concatenate([x, others[~off_grid(others, 1.0, 0.0)]])))
        return discrete(column, x, codes)
    if column.step:
        is_whole = column.step == 1.0 and not any_origin
        origin = 0.0 if is_whole else float(x[0])
        nearest = column.step * round(origin / column.step)
        if abs(nearest - origin) <= rounding_of(x) * abs(origin):  # it was read with an error that others have not
            origin = nearest
        off = off_grid(x, column.step, origin)
        refuse(column, x, off, "whole numbers" if is_whole else f"values on a grid of step {column.step:g}", numbers)
        column = dataclasses.replace(column, origin=origin)
    if column.kind in ("positive", "softplus", "bounded"):
        column = with_ends(column, x, x if others is None else np.concatenate([x, others]), numbers)
    if column.kind == "circular":
        cut = emptiest(x, column.lower, column.upper)
        column = dataclasses.replace(column, centre=cut, note="cut where rows are rarest")
    return with_shares(column, x) if column.step else column
