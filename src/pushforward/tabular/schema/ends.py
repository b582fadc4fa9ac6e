"""Ends of a declared support: closed where the column is rounded and rows have them, else values before them only."""

import dataclasses

import numpy as np

from pushforward.tabular.schema.column import Column
from pushforward.tabular.schema.decimals import decimals
from pushforward.tabular.schema.refusals import refuse
from pushforward.train.repeats import repeats_of

_MOST_DIGITS = 4  # after the point, of a grid to be suggested
_BEYOND = 0.001  # of the width, by which an open end is moved to have a value inside


def with_ends(column: Column, x: np.ndarray, every: np.ndarray, numbers: np.ndarray | None) -> Column:
    """A declared positive, softplus or bounded column, checked against its values x (n,).

    Of a rounded column an end is closed if it is on the grid and one of the values of `every` row is that end: the
    support then reaches half a step further. A density has no value at an end; then the error names the way out.

    >>> declared = Column("share", "bounded", 0.0, 100.0, step=0.5)
    >>> with_ends(declared, np.array([0.5, 100.0]), np.array([0.5, 100.0]), None).describe()
    'bounded, 0 to 100.25; rounded to 0.5'
    """
    half, is_bounded = column.step / 2, column.kind == "bounded"
    if half:
        near = half / 50
        if (np.abs(every - column.lower) < near).any():
            column = dataclasses.replace(column, lower=column.lower - half)
        if is_bounded and (np.abs(every - column.upper) < near).any():
            column = dataclasses.replace(column, upper=column.upper + half)
        rest = 1e-9 * max(1.0, abs(column.lower) / half, abs(column.upper) / half if is_bounded else 0.0) * half
        below = x - half < column.lower - rest
        outside = below | (x + half > column.upper + rest) if is_bounded else below
    else:
        outside = x <= column.lower
        outside = outside | (x >= column.upper) if is_bounded else outside
    if not is_bounded:
        cells = f", and so from {column.lower + half:g} on, for cells reach half a step below" if half else ""
        expected = f"values above {column.lower:g}{cells}"
    else:
        ends = f"{column.lower + half:g} to {column.upper - half:g}"
        cells = f", and so from {ends}, for cells reach half a step beyond" if half else ""
        expected = f"values inside ({column.lower:g}, {column.upper:g}){cells}"
    at_end = (x == column.lower) | ((x == column.upper) if is_bounded else False)
    refuse(column, x, outside, expected, numbers, None if half or not at_end.any() else _way_out(column, x))
    return column


def _way_out(column: Column, x: np.ndarray) -> str:
    """What to declare if values at an end are right."""
    repeats, digits = repeats_of(x), max(map(decimals, np.unique(x).tolist()))
    step = repeats.step if repeats is not None else 10.0**-digits if digits <= _MOST_DIGITS else 0.0
    ends = f":{column.lower:g}:{column.upper:g}" if column.kind == "bounded" else f":{column.lower:g}"
    words = "A density has no value at an end. If such values are right, "
    if step:
        return f"{words}declare {column.kind}{ends}+rounded:{step:.12g}: of a rounded column the ends are values."
    move = _BEYOND * (column.upper - column.lower if column.kind == "bounded" else float(np.median(x)) - column.lower)
    moved = f":{column.lower - move:.6g}"
    if column.kind == "bounded":
        moved += f":{column.upper + move:.6g}"
    return (
        f"{words}write the column with fewer digits and declare {column.kind}{ends}+rounded:STEP, or move the ends: "
        f"{column.kind}{moved}."
    )
