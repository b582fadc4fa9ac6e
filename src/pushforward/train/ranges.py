"""Checks of the data's values against the range and the resolution of the type in which layers compute.

Rows are centred in float64 before the conversion to that type, so distances from the centre matter.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from pushforward.errors import DataError
from pushforward.numerics.moments import CONTEXT_TAILS, EVENT_TAILS, spread

_LARGEST = 1e150  # its square is finite
_LARGEST_SINGLE = 1e37
_EXTREME_SPREADS = 1e5  # deviations of the bulk from its median
_COARSE = 0.1  # share of the width of a tenth of the rows
_MOST_NUMBERS = 1 << 22


def check_range(name: str, array: np.ndarray, columns: Sequence[str] | None, single_precision: bool) -> None:
    """Refuse columns of rows (n, ...) outside the range of double precision, or of single where the flow uses that."""
    flat = array.reshape(len(array), -1)
    with np.errstate(over="ignore"):
        largest, width = np.abs(flat).max(0, initial=0.0), np.ptp(flat, 0) if len(flat) else np.zeros(flat.shape[1])
    limit, kind = (_LARGEST_SINGLE, "float32") if single_precision else (_LARGEST, "float64")
    extreme = np.flatnonzero((largest > limit) | ((width > 0) & (width < 1 / limit)))
    if extreme.size:
        far = "" if kind == "float64" else ", or build the flow under jax.enable_x64(True), in float64"
        raise DataError(
            f"expected values up to {limit:g} that differ by {1 / limit:g} or more, for a flow in {kind}, got "
            f"values up to {largest[extreme[0]]:.3g} that differ by {width[extreme[0]]:.3g} in column "
            f"{column_label(columns, extreme[0])}: write it in another unit{far}.",
            name,
        )


def warn_of_values(
    array: np.ndarray, columns: Sequence[str] | None, single_precision: bool, *, is_context: bool = False
) -> None:
    """Warn of values that are extremely far from all others, and of columns that float32 cannot resolve."""
    flat = array.reshape(len(array), -1)
    if len(flat) < 3:
        return
    what = "context column" if is_context else "column"
    centre, bulk = spread(flat, CONTEXT_TAILS if is_context else EVENT_TAILS)
    is_extreme = np.abs(flat - centre) > _EXTREME_SPREADS * np.where(bulk > 0, bulk, np.inf)
    if is_extreme.any():
        column = int(is_extreme.any(0).argmax())
        row = int(is_extreme[:, column].argmax())
        warnings.warn(
            f"fit: {int(is_extreme[:, column].sum())} values of {what} {column_label(columns, column)} lie more than "
            f"{_EXTREME_SPREADS:,.0f} times its spread from its median {centre[column]:g}, the first, "
            f"{flat[row, column]:g}, at row {row}. If they stand for missing values or are errors, drop or "
            "correct these rows.",
            stacklevel=4,
        )
    if single_precision and (unresolved := np.flatnonzero(_unresolved(flat - centre))).size:
        column = unresolved[0]
        warnings.warn(
            f"fit: {what} {column_label(columns, column)} has values so far from its median {centre[column]:g} that "
            "float32 hardly tells them apart. Build the flow under jax.enable_x64(True), and fit and score it there, "
            "in float64; or transform that column.",
            stacklevel=4,
        )


def column_label(columns: Sequence[str] | None, index: int | np.integer) -> str:
    """The name of a column in a message; its index where columns have no names."""
    return repr(columns[int(index)]) if columns else str(int(index))


def _unresolved(rows: np.ndarray) -> np.ndarray:
    """Which columns of centred rows (n, d) float32 cannot resolve (d,): for a twentieth of the rows or more its step is
    more than a tenth of the width of the nearest tenth of the rows."""
    some = np.sort(rows[:: max(1, rows.size // _MOST_NUMBERS)], axis=0)
    tenth = max(len(some) // 10, 1)
    width, step = some[tenth:] - some[:-tenth], np.finfo(np.float32).eps * np.abs(some[:-tenth])
    return ((width > 0) & (step > _COARSE * width)).mean(0) > 0.05
