"""Ends of a declared support: closed if the column is rounded and rows have that value, else open."""

import dataclasses

import numpy as np

from pushforward.tabular.schema.column import Column
from pushforward.tabular.schema.decimals import decimals
from pushforward.tabular.schema.refusals import refuse
from pushforward.train.repeats import repeats_of

_MOST_DIGITS = 4  # after the point, of a grid to be suggested
_BEYOND = 0.001  # of the width, by which the suggested end lies beyond a value at an open end


def with_ends(column: Column, x: np.ndarray, every: np.ndarray, numbers: np.ndarray | None) -> Column:
    """Check the values x (n,) of a declared positive, softplus or bounded column against its support.

    An end of a rounded column is closed if a value of `every` row is that end: the support then extends half a step
    beyond it. Otherwise a value at an end has no density, and the error suggests a declaration.

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
        tolerance = 1e-9 * max(1.0, abs(column.lower) / half, abs(column.upper) / half if is_bounded else 0.0) * half
        out_of_support = x - half < column.lower - tolerance
        if is_bounded:
            out_of_support |= x + half > column.upper + tolerance
    else:
        out_of_support = x <= column.lower
        if is_bounded:
            out_of_support |= x >= column.upper
    if not is_bounded:
        bins = f", so from {column.lower + half:g} on, as bins extend half a step below" if half else ""
        expected = f"values above {column.lower:g}{bins}"
    else:
        ends = f"{column.lower + half:g} to {column.upper - half:g}"
        bins = f", so from {ends}, as bins extend half a step beyond" if half else ""
        expected = f"values inside ({column.lower:g}, {column.upper:g}){bins}"
    at_end = (x == column.lower) | ((x == column.upper) if is_bounded else False)
    suggestion = None if half or not at_end.any() else _suggest_ends(column, x)
    refuse(column, x, out_of_support, expected, numbers, suggestion)
    return column


def _suggest_ends(column: Column, x: np.ndarray) -> str:
    """The declaration to use if values at an end are correct."""
    repeats, digits = repeats_of(x), max(map(decimals, np.unique(x).tolist()))
    step = repeats.step if repeats is not None else 10.0**-digits if digits <= _MOST_DIGITS else 0.0
    ends = f":{column.lower:g}:{column.upper:g}" if column.kind == "bounded" else f":{column.lower:g}"
    start = "A density has no value at an end. If such values are correct, "
    if step:
        return f"{start}declare {column.kind}{ends}+rounded:{step:.12g}: the ends of a rounded column are values."
    move = _BEYOND * (column.upper - column.lower if column.kind == "bounded" else float(np.median(x)) - column.lower)
    moved = f":{column.lower - move:.6g}"
    if column.kind == "bounded":
        moved += f":{column.upper + move:.6g}"
    return (
        f"{start}write the column with fewer digits and declare {column.kind}{ends}+rounded:STEP, or move the ends: "
        f"{column.kind}{moved}."
    )
