"""The schema of a table: the type of each column, from which the outermost layer of a flow is built."""

import dataclasses
import warnings
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
)
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.errors import DataError, ShapeError
from pushforward.tabular.schema.column import Column
from pushforward.tabular.schema.decimals import as_read
from pushforward.tabular.schema.detect import off_grid
from pushforward.tabular.schema.refusals import number_of
from pushforward.train.repeats import Repeats, repeats_of


@dataclasses.dataclass(frozen=True)
class TableSchema:
    """The types of a table's columns, and the maps between these columns and the coordinates of a flow.

    A constant column is not a coordinate, for it has no density: it is checked when rows are scored, and filled in
    again in samples. The other columns are mapped one by one (`ColumnMaps`). Rounded and discrete columns are
    dequantised in training, and scored by bounds of their masses (`Discretised`). Such a column with few values is
    mapped so that a standard normal has the shares of the data: otherwise the flow would smooth the jumps of the
    density from bin to bin, and give rare values the mass of their neighbours.

    Attributes:
        columns: one `Column` for each column of the table.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def modelled_indices(self) -> np.ndarray:
        """Indices of the columns that are coordinates of the flow: all but the constant ones."""
        return np.flatnonzero([column.kind != "constant" for column in self.columns])

    @property
    def is_rounded(self) -> bool:
        """Whether scores are bounds of log-masses in some columns."""
        return any(column.is_rounded for column in self.columns)

    def dequantise(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows (n, modelled columns) with uniform noise over the bins of rounded columns."""
        return dequantise(rows, *self._grid(), random)

    def bin_points(self, rows: np.ndarray) -> np.ndarray:
        """Points (n, K, modelled columns) in the bins of rows (n, modelled columns); `Discretised` averages over them.

        If no column is rounded, K is 1 and the points are the rows.
        """
        if not self.is_rounded:
            return rows[:, None]
        with jax.enable_x64(True):
            rows = np.asarray(rows, np.float64)
            return np.asarray(jax.jit(jax.vmap(bin_points))(rows, *bins_of(rows, *self._grid())))

    def log_bin_widths(self, rows: np.ndarray) -> np.ndarray:
        """Sums (n,) of the log bin widths of rows (n, modelled columns): log-mass = log-density + sum, in nats."""
        return log_widths(bins_of(rows, *self._grid())[1], np).sum(1)

    def _grid(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps of the modelled columns, 0 for discrete ones, and the values of the discrete ones."""
        steps = np.array([column.step * (column.kind != "discrete") for column in self.modelled_columns])
        return steps, padded_values(self._discrete_values)

    @property
    def modelled_columns(self) -> list[Column]:
        """The columns that are coordinates of the flow."""
        return [self.columns[index] for index in self.modelled_indices]

    @property
    def _discrete_values(self) -> list[tuple[float, ...]]:
        return [column.values if column.kind == "discrete" else () for column in self.modelled_columns]

    def layer(self) -> ColumnMaps:
        """The maps of the modelled columns: the outermost layer of the flow."""
        columns = self.modelled_columns
        return ColumnMaps(
            ["cells" if column.values else column.kind for column in columns],
            lower=[column.lower for column in columns],
            upper=[column.upper for column in columns],
            centre=[column.centre for column in columns],
            scale=[column.scale for column in columns],
            index=[(column.below, column.above) for column in columns],
            cells=[(column.edges, column.shares) for column in columns if column.values],
        )

    def wrap(self, flow: Flow) -> AbstractDistribution:
        """Turn a flow of mapped columns into a distribution of the modelled columns themselves."""
        inner = flow.bijection
        layers = inner.bijections if isinstance(inner, Chain) else (inner,)
        flow = eqx.tree_at(lambda f: f.bijection, flow, Chain([*layers, self.layer()]))
        columns = self.modelled_columns
        if not any(column.is_rounded for column in columns):
            return flow
        return Discretised(
            flow,
            self._grid()[0],
            values=self._discrete_values,
            origin=[column.first if column.kind == "circular" else column.origin for column in columns],
            period=[column.upper - column.lower if column.kind == "circular" else 0.0 for column in columns],
        )

    def unwrap(self, distribution: AbstractDistribution) -> Flow:
        """The flow of mapped columns in a distribution that `wrap` returned.

        Raises:
            DataError: if this schema's layer is not its outermost one.
        """
        flow = distribution.flow if isinstance(distribution, Discretised) else distribution
        layers = flow.bijection.bijections if isinstance(flow, Flow) and isinstance(flow.bijection, Chain) else ()
        if not isinstance(flow, Flow) or len(layers) < 2 or not isinstance(layers[-1], ColumnMaps):
            raise DataError(
                "expected a flow with the maps of its columns outermost, got another distribution.", "schema"
            )
        return eqx.tree_at(lambda f: f.bijection, flow, Chain(layers[:-1]))

    def transform(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the flow for rows (n, modelled columns), and log-determinants (n,), both in float64."""
        with jax.enable_x64(True):
            z, log_det = jax.jit(jax.vmap(self.layer().inverse_and_log_det))(np.asarray(rows, np.float64))
            return np.array(z), np.array(log_det)

    def out_of_support(self, rows: np.ndarray) -> np.ndarray:
        """Mask of the values of rows (n, modelled columns) that lie outside their column's support."""
        columns = self.modelled_columns
        kinds, lower, upper = (np.array([getattr(c, name) for c in columns]) for name in ("kind", "lower", "upper"))
        has_lower, has_upper = np.isin(kinds, ["positive", "softplus", "bounded"]), kinds == "bounded"
        mask = (has_lower & (rows <= lower)) | (has_upper & (rows >= upper))
        for index, column in enumerate(columns):
            if column.kind == "discrete":
                mask[:, index] = ~is_among(rows[:, index], np.array(column.values))
        return mask

    def drop_constants(self, rows: np.ndarray, name: str = "x", numbers: np.ndarray | None = None) -> np.ndarray:
        """Check rows (n, columns), and drop their constant columns: (n, modelled columns).

        A warning names a value of a discrete column that no training row had: its probability is 0. `name` and
        `numbers` (n,) of the rows are for messages; None counts them from 0.

        Raises:
            ShapeError, DataError: for another number of columns; for a value that is not the constant, or off a grid.
        """
        if rows.shape[-1] != len(self.columns):
            raise ShapeError(f"{name}: expected {len(self.columns)} columns, got {rows.shape[-1]}.")
        for index, column in enumerate(self.columns):
            values = rows[:, index]
            if column.kind == "constant" and (bad := np.flatnonzero(_differs(values, column.centre))).size:
                raise DataError(
                    f"column {column.name!r} was {column.centre:.9g} in every row of the training data, got "
                    f"{values[bad[0]]:.9g} at row {number_of(numbers, bad[0])} ({bad.size} such rows), which has "
                    "no density. Leave such rows out, or fit again without that column.",
                    name,
                )
            if column.step and (bad := np.flatnonzero(off_grid(values, column.step, column.origin))).size:
                raise DataError(
                    f"column {column.name!r} is rounded to {column.step:g}, got {values[bad[0]]:.12g} at "
                    f"row {number_of(numbers, bad[0])} ({bad.size} such rows). Round them, or fit it as a real column.",
                    name,
                )
            if column.kind == "discrete":
                bad = np.flatnonzero(~is_among(values, np.array(column.values)))
                if bad.size:
                    warnings.warn(
                        f"{name}: column {column.name!r} is {values[bad[0]]:.9g} at row "
                        f"{number_of(numbers, bad[0])} ({bad.size} such rows), a value of no training row "
                        f"({column.describe()}): its probability is 0. If other values can occur, declare the column "
                        "whole, count, real, or rounded with a step.",
                        stacklevel=3,
                    )
        return rows[:, self.modelled_indices]

    def integer_columns(self, rows: np.ndarray) -> tuple[str, ...]:
        """Names of the integer columns whose values in rows (n, columns) float64 represents exactly."""
        return tuple(
            column.name
            for column, values in zip(self.columns, rows.T, strict=True)
            if column.is_integer and (np.abs(values) < 2**53).all() and (values % 1 == 0).all()
        )

    def fill_constants(self, rows: np.ndarray) -> np.ndarray:
        """Add the constant columns to rows (..., modelled columns): (..., columns).

        Values on a grid become the float64 numbers that the data's decimals are read as, so that tables can be joined
        by them.
        """
        filled = np.empty((*rows.shape[:-1], len(self.columns)))
        filled[...] = [column.centre for column in self.columns]
        filled[..., self.modelled_indices] = rows
        for index, column in enumerate(self.columns):
            if column.is_rounded:
                filled[..., index] = as_read(column, filled[..., index])
        return filled

    def repeated_values(self, rows: np.ndarray) -> dict[str, Repeats]:
        """Repeats by column name, of those columns of rows (n, modelled columns) that have a density but repeat values.

        The density at repeated values has no upper bound. The likelihood of such a column, and a gain over another
        model, mean nothing.
        """
        columns = enumerate(self.modelled_columns)
        by_name = {column.name: repeats_of(rows[:, index]) for index, column in columns if not column.is_rounded}
        return {name: repeats for name, repeats in by_name.items() if repeats is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"columns": [column.to_dict() for column in self.columns]}

    @classmethod
    def from_dict(cls, values: Any) -> "TableSchema":
        """The schema from the output of `to_dict`.

        Raises:
            DataError: if the values are not a valid schema.
        """
        if not isinstance(values, dict) or set(values) != {"columns"} or not isinstance(values["columns"], list):
            raise DataError(f"expected a dict with a list of columns, got {values!r}.", "schema")
        return cls(tuple(Column.from_dict(column) for column in values["columns"]))

    def __str__(self) -> str:
        lines = [("column", "kind", "", "why")]
        lines += [(column.label, column.describe(), column.source, column.note) for column in self.columns]
        widths = [max(len(line[index]) for line in lines) for index in range(3)]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, (*widths, 0), strict=True)).rstrip()
            for line in lines
        )


def _differs(x: np.ndarray, value: float) -> np.ndarray:
    """Which values differ from a constant; a fraction may have been read in single precision, then in double."""
    return np.abs(x - value) > (0.0 if value % 1 == 0 else np.finfo(np.float32).eps * abs(value))
