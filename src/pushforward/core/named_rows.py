"""Conversion of arrays, frames and lists to float arrays with NaN for missing values; rows with column names.

Integers are converted to float64 only if that is exact: else different values would silently become equal.
"""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from pushforward.core.dlpack import from_dlpack, has_dlpack
from pushforward.errors import DataError

_EXACT = 2**53  # float64 represents every integer up to this size


@dataclasses.dataclass(frozen=True, eq=False)
class NamedRows:
    """Rows (n, d) with optional column names, which messages and reports use.

    Attributes:
        rows: (n, d).
        columns: d names, or an empty sequence.
        numbers: row numbers (n,) for messages, such as the lines of a file; None counts from 0.

    >>> NamedRows(np.zeros((2, 1)), ["a"]).to_numpy().shape
    (2, 1)
    """

    rows: np.ndarray
    columns: Sequence[str]
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def to_numpy(self) -> np.ndarray:
        """The rows."""
        return self.rows


def to_array(value: Any, name: str = "values") -> Any:
    """Convert a frame, series, list, tensor, masked or structured array to a plain array; others are unchanged.

    Tensors of other libraries are read by DLPack; arrays of JAX are returned unchanged.

    Missing values become NaN: null, None, pandas' NA, and masked entries of `numpy.ma`. The fields of a structured
    array are its columns. Values that are not numbers are left as they are, for the caller to refuse.

    Args:
        value: what a user passed.
        name: name of the argument for error messages about tensors.

    Raises:
        DataError: for an integer that float64 cannot represent, in a column that is converted to floats; for a tensor
            whose memory cannot be read.

    >>> to_array(np.ma.masked_array([1, 2], mask=[False, True]))
    array([ 1., nan])
    >>> to_array([[1, None]])
    array([[ 1., nan]])
    """
    if isinstance(value, np.ndarray):
        return _plain(value)
    if isinstance(value, list | tuple):
        return _from_list(value)
    if _is_arrow(value):
        import polars

        value = polars.from_arrow(value)
        if isinstance(value, polars.Series) and isinstance(value.dtype, polars.Struct):  # a stream of record batches
            value = value.struct.unnest()
    if not hasattr(value, "to_numpy"):
        return from_dlpack(value, name) if has_dlpack(value) else value
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        return _from_frame(value)
    return _from_series(value)


def as_floats(name: str, value: Any, columns: Sequence[str] | None = None, numbers: Any = None) -> np.ndarray:
    """Convert an array of real numbers to a C-ordered float64 array.

    Args:
        name: name of the argument for the error message, or "".
        value: array of a real dtype, (n, ...).
        columns: names of its columns for the error message, or None.
        numbers: row numbers (n,) for the error message; None counts from 0.

    Raises:
        DataError: for an integer that float64 cannot represent.

    >>> as_floats("x", np.array([[2**60]]))
    array([[1.1529215e+18]])
    """
    array = np.asarray(value)
    if (bad := first_inexact(array)) is not None:
        row, column = bad
        if array.ndim > 1:
            where = f"column {columns[column]!r}" if columns else f"column {column}"
        else:
            where = f"column {columns[0]!r}" if columns else ""
        number = row if numbers is None else int(numbers[row])
        cell = array.reshape(len(array), -1)[row, column] if array.ndim else array[()]
        reason = inexact_message(f"{cell} at row {number}")
        raise DataError(f"{where}: {reason}" if where else reason, name or ("" if where else "values"))
    return array.astype(np.float64, order="C")


def inexact_error(where: str, cell: str) -> DataError:
    """The error for an integer that float64 cannot represent."""
    return DataError(f"{inexact_message(cell)}", where)


def inexact_message(cell: str) -> str:
    """The error message for an integer that float64 cannot represent."""
    return (
        f"{cell} is a whole number beyond 2^53, which float64 does not hold: different values would become equal. "
        "Leave the column out if it is an identifier, or subtract an offset from it first."
    )


def is_exact(number: Any) -> bool:
    """Whether float64 represents a number exactly; non-integers count as exact."""
    try:
        return not abs(number) > _EXACT or number != int(number) or int(float(number)) == int(number)
    except OverflowError:  # float(): beyond 1e308; int(): infinite
        return not isinstance(number, int)


def first_inexact(array: np.ndarray) -> tuple[int, int] | None:
    """Row and column, in the shape (n, -1), of the first integer that float64 cannot represent, or None."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return None
    flat = array.reshape(len(array) if array.ndim else 1, -1)
    if flat.max() <= _EXACT and flat.min() >= -_EXACT:
        return None
    for row, column in np.argwhere((flat > _EXACT) | (flat < -_EXACT)):
        if not is_exact(int(flat[row, column])):
            return int(row), int(column)
    return None


def _plain(array: np.ndarray) -> np.ndarray:
    """The array without mask, fields or objects, if it holds numbers."""
    if array.dtype.names:
        columns = [_plain(array[name]) for name in array.dtype.names]
        if any(column.ndim != 1 or column.dtype.kind not in "fiub" for column in columns):
            return np.asarray(array)
        return _stack_columns(columns, array.dtype.names)
    plain = np.asarray(array)
    if plain.dtype.kind == "O":
        plain = _from_objects(np.ma.filled(array, None) if isinstance(array, np.ma.MaskedArray) else plain)
    elif isinstance(array, np.ma.MaskedArray) and array.mask.any() and plain.dtype.kind in "fiub":
        mask = np.ma.getmaskarray(array)
        plain = as_floats("", np.where(mask, np.zeros((), plain.dtype), plain))
        plain[mask] = np.nan
    return plain


def _from_list(value: Any) -> Any:
    unmasked = _unmask(value)
    try:
        array = np.asarray(unmasked)
    except ValueError:  # rows of unequal length: the caller raises the error
        return value
    is_large = array.dtype.kind == "f" and (np.abs(array) >= _EXACT).any()
    if array.dtype.kind == "O" or is_large:  # large integers among floats have already lost digits
        array = _from_objects(np.array(unmasked, dtype=object))
    return array


def _unmask(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_unmask(part) for part in value]
    return _plain(value) if isinstance(value, np.ma.MaskedArray) else value


def _from_frame(frame: Any) -> np.ndarray:
    """A pandas or polars frame, converted column by column: together they would be cast to a common dtype first."""
    names = [str(name) for name in frame.columns]
    column_at = frame.to_series if hasattr(frame, "to_series") else lambda index: frame.iloc[:, index]
    columns = [_from_series(column_at(index), name) for index, name in enumerate(names)]
    if any(column.ndim != 1 or column.dtype.kind not in "fiub" for column in columns):
        return np.asarray(frame.to_numpy())
    return _stack_columns(columns, names) if columns else np.empty((len(frame), 0))


def _from_series(series: Any, name: str = "") -> np.ndarray:
    """A pandas or polars series, or another object with `to_numpy`."""
    array = _plain(np.asanyarray(series.to_numpy()))
    if array.dtype.kind == "f" and (np.abs(array) >= _EXACT).any():  # a column of integers and nulls was cast to floats
        for fill, missing in (("fill_null", "is_null"), ("fillna", "isna")):
            if hasattr(series, fill) and hasattr(series, missing):
                filled, mask = getattr(series, fill)(0), getattr(series, missing)().to_numpy()
                array = as_floats("", np.asarray(filled.to_numpy()), [name] if name else None)
                array[mask] = np.nan
                break
    return array


def _stack_columns(columns: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    return np.stack([as_floats("", column, [name]) for column, name in zip(columns, names, strict=True)], axis=1)


def _from_objects(array: np.ndarray) -> np.ndarray:
    """An object array as float64 if all entries are numbers or missing; else unchanged."""
    floats = np.empty(array.shape)
    for index, item in np.ndenumerate(array):
        if item is None or item is np.ma.masked or type(item).__name__ == "NAType":
            floats[index] = np.nan
        elif isinstance(item, Real | Decimal | np.bool_):
            if abs(item) > _EXACT and not is_exact(item):
                where = f"column {index[1]}" if array.ndim > 1 else "values"
                raise inexact_error(where, f"{item} at row {index[0] if index else 0}")
            floats[index] = float(item)
        else:
            return array
    return floats


def _is_arrow(value: Any) -> bool:
    """Whether a value has the Arrow C interface but is not a frame or series."""
    has_stream = hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")
    return has_stream and not (hasattr(value, "to_numpy") and hasattr(value, "dtype")) and not hasattr(value, "dtypes")
