"""Infers the schema of a table: declared types are completed from the values, others detected."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.core.discretised import rounding_of
from pushforward.errors import DataError
from pushforward.tabular.schema.column import Column, parse_declaration
from pushforward.tabular.schema.detect import (
    as_discrete,
    as_heavy,
    detect_type,
    off_grid,
    sparsest_point,
    with_centre,
    with_shares,
)
from pushforward.tabular.schema.ends import with_ends
from pushforward.tabular.schema.refusals import refuse, refuse_constant, refuse_extremes
from pushforward.tabular.schema.schema import TableSchema


def infer_schema(
    x: np.ndarray,
    names: Sequence[str],
    *,
    declarations: Mapping[str, Any] | None = None,
    detect: bool = True,
    others: np.ndarray | None = None,
    units: Sequence[str] | None = None,
    numbers: np.ndarray | None = None,
) -> TableSchema:
    """Infer the type of each column of a table: declared, else detected in its values, else a real number.

    With 50 rows or more these are detected: a discrete column (at most 50 different values, five rows to each; no other
    value is possible), or a rounded one if `others` have more values on the same grid; a support (the positive numbers,
    (0, 1), (-1, 1), (0, 100)) whose map raises the likelihood of a normal by 0.1 nats a row; and power-law tails.
    Constant and circular columns must be declared.

    Args:
        x: rows (n, columns), finite.
        names: of the columns.
        declarations: names of columns with their types, such as {"income": "positive", "share": "bounded:0:1"}.
        detect: whether the types of undeclared columns are detected; otherwise these columns are real.
        others: rows (m, columns) that will be scored later, such as test rows. They contribute the codes of declared
            categories and nothing else; and a grid or a support that would leave them without density is not detected.
        units: of the columns, as text.
        numbers: (n,) of the rows, for messages; None counts them from 0.

    Raises:
        DataError: for an unknown name or declaration, and for values outside a declared support, off a declared grid,
            or not constant; the message names the column and the row.

    >>> x = np.random.default_rng(0).lognormal(size=(500, 1))
    >>> print(infer_schema(x, ["income"]).columns[0].describe())
    positive, above 0
    """
    declarations = dict(declarations or {})
    for name in declarations:
        if name not in names:
            raise DataError(f"there is no column {name!r}: name one of {', '.join(map(repr, names))}.", "columns")
    columns = []
    for index, name in enumerate(names):
        column = Column(name) if name not in declarations else parse_declaration(name, declarations[name])
        values, other_values = x[:, index], None if others is None else others[:, index]
        if column.kind != "constant":
            refuse_constant(column, values)
            refuse_extremes(column, values)
        if name in declarations:
            any_origin = "rounded" in str(declarations[name])  # the origin of integers is 0
            column = _complete(column, values, numbers, other_values, any_origin)
        elif detect:
            column = detect_type(column, values, other_values)
        if column.kind == "real":
            column = with_centre(column, values)
        columns.append(dataclasses.replace(column, unit="" if units is None else units[index]))
    if all(column.kind == "constant" for column in columns):
        raise DataError("every column is constant, so nothing is left to model. Declare fewer constants.", "columns")
    return TableSchema(tuple(columns))


def _complete(
    column: Column, x: np.ndarray, numbers: np.ndarray | None, others: np.ndarray | None, any_origin: bool
) -> Column:
    """Check a declared column against its values, and set the attributes that these determine."""
    if column.kind == "constant":
        if (x != x[0]).any():
            refuse(column, x, x != x[0], f"{x[0]:g} in every row as it is declared constant", numbers)
        return dataclasses.replace(column, centre=float(x[0]))
    if column.kind == "heavy":
        column = as_heavy(column, x)
    if column.note == "category":
        off = off_grid(x, 1.0, 0.0)
        refuse(column, x, off, "whole numbers", numbers)
        codes = np.unique(np.round(x if others is None else np.concatenate([x, others[~off_grid(others, 1.0, 0.0)]])))
        return as_discrete(column, x, codes)
    if column.step:
        is_integer = column.step == 1.0 and not any_origin
        origin = 0.0 if is_integer else float(x[0])
        nearest = column.step * round(origin / column.step)
        if abs(nearest - origin) <= rounding_of(x) * abs(origin):  # x[0] has a rounding error
            origin = nearest
        off = off_grid(x, column.step, origin)
        refuse(column, x, off, "whole numbers" if is_integer else f"values on a grid of step {column.step:g}", numbers)
        column = dataclasses.replace(column, origin=origin)
    if column.kind in ("positive", "softplus", "bounded"):
        column = with_ends(column, x, x if others is None else np.concatenate([x, others]), numbers)
    if column.kind == "circular":
        cut = sparsest_point(x, column.lower, column.upper)
        column = dataclasses.replace(column, centre=cut, note="cut where rows are rarest")
    return with_shares(column, x) if column.step else column
