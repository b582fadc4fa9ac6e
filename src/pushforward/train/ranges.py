"""What numbers must be before training starts: within the range and the resolution of the type in which layers compute.

Rows are centred in float64 before they take that type, so it is distances from the centre that count.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from pushforward.errors import DataError
from pushforward.numerics.moments import CONTEXT_TAILS, EVENT_TAILS, spread

_LARGEST = 1e150  # whose square is a number
_LARGEST_SINGLE = 1e37
_ABSURD = 1e5  # deviations of the bulk from its median
_COARSE = 0.1  # of the width of a tenth of the rows
_MOST_NUMBERS = 1 << 22


def check_range(name: str, array: np.ndarray, columns: Sequence[str] | None, single_precision: bool) -> None:
    """Refuse columns of rows (n, ...) whose numbers are beyond double precision, or single where that computes."""
    flat = array.reshape(len(array), -1)
    with np.errstate(over="ignore"):
        largest, width = np.abs(flat).max(0, initial=0.0), np.ptp(flat, 0) if len(flat) else np.zeros(flat.shape[1])
    limit, kind = (_LARGEST_SINGLE, "float32") if single_precision else (_LARGEST, "float64")
    extreme = np.flatnonzero((largest > limit) | ((width > 0) & (width < 1 / limit)))
    if extreme.size:
        far = "" if kind == "float64" else ", or build the flow under jax.enable_x64(True), in float64"
        raise DataError(
            f"{name}: expected values up to {limit:g} that differ by {1 / limit:g} or more, for a flow in {kind}, got "
            f"values up to {largest[extreme[0]]:.3g} that differ by {width[extreme[0]]:.3g} in column "
            f"{called(columns, extreme[0])}: write it in another unit{far}."
        )


def warn_of_values(
    array: np.ndarray, columns: Sequence[str] | None, single_precision: bool, *, is_context: bool = False
) -> None:
    """Warn of values that are absurdly far from all others, and of columns that single precision blurs."""
    flat = array.reshape(len(array), -1)
    if len(flat) < 3:
        return
    what = "context column" if is_context else "column"
    centre, bulk = spread(flat, CONTEXT_TAILS if is_context else EVENT_TAILS)
    absurd = np.abs(flat - centre) > _ABSURD * np.where(bulk > 0, bulk, np.inf)
    if absurd.any():
        place = int(absurd.any(0).argmax())
        row = int(absurd[:, place].argmax())
        warnings.warn(
            f"fit: {int(absurd[:, place].sum())} values of {what} {called(columns, place)} lie more than "
            f"{_ABSURD:,.0f} times its spread from its median {centre[place]:g}, the first, {flat[row, place]:g}, at "
            f"row {row}. If they stand for missing values or are errors, drop or correct these rows.",
            stacklevel=4,
        )
    if single_precision and (blurred := np.flatnonzero(_blurred(flat - centre))).size:
        warnings.warn(
            f"fit: {what} {called(columns, blurred[0])} has values so far from its median {centre[blurred[0]]:g} that "
            "float32 hardly tells them apart. Build the flow under jax.enable_x64(True), and fit and score it there, "
            "in float64; or transform that column.",
            stacklevel=4,
        )


def called(columns: Sequence[str] | None, index: int | np.integer) -> str:
    """What a column is called in a sentence."""
    return repr(columns[int(index)]) if columns else str(int(index))


def _blurred(rows: np.ndarray) -> np.ndarray:
    """Of centred rows (n, d): whether the step of float32 is coarse (d,), for a twentieth of the rows or more, beside
    the width of the tenth of the rows that is next to them."""
    some = np.sort(rows[:: max(1, rows.size // _MOST_NUMBERS)], axis=0)
    tenth = max(len(some) // 10, 1)
    width, step = some[tenth:] - some[:-tenth], np.finfo(np.float32).eps * np.abs(some[:-tenth])
    return ((width > 0) & (step > _COARSE * width)).mean(0) > 0.05
