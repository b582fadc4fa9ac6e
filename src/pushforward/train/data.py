"""From what a caller has to what training needs: checked, split, standardised on the host in float64."""

import dataclasses
import math
import warnings
from typing import Any

import jax
import numpy as np

from pushforward.bijections import RationalQuadraticSpline
from pushforward.dequantise import Dequantised
from pushforward.errors import DataError, ShapeError
from pushforward.named_rows import as_floats, unframed

_LARGEST = 1e150  # whose square is a number
_COPIES = 0.05  # share of rows that are copies of others from which a warning is given


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one split: events, contexts or None, weights or None; float64 on the host."""

    x: np.ndarray
    context: np.ndarray | None
    weights: np.ndarray | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Rows":
        """The rows of an index array."""
        context, weights = (None if part is None else part[index] for part in (self.context, self.weights))
        return Rows(self.x[index], context, weights)


def as_rows(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Checked float64 rows (n, *shape) from NumPy, JAX, a pandas or polars frame, or anything with DLPack."""
    columns = column_names(value)
    value = unframed(value)
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray) and not hasattr(value, "addressable_shards"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"{name}: expected numbers, got values of type {array.dtype}. Encode or drop such columns first."
        )
    array = as_floats(name, array, columns)  # in C order: sums round alike, however the caller's memory lies
    if array.ndim == 1 and shape == (1,):
        raise ShapeError(f"{name}: expected shape (n, 1), got {array.shape}. Pass {name}[:, None].")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        wanted = ", ".join(map(str, ("n", *shape))) if shape else "n,"
        raise ShapeError(
            f"{name}: expected shape ({wanted}), got {array.shape}. Select these columns, or build the flow for others."
        )
    flat = array.reshape(len(array), math.prod(shape))
    bad = ~np.isfinite(flat)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{name}: expected finite numbers, got {flat[row, column]} in column {_column(columns, column)} at row "
            f"{row} ({int(bad.any(1).sum())} of {len(flat)} rows hold NaN or infinite values). Drop or fill these rows."
        )
    return array


def filled(flow: Any, rows: Rows, random: np.random.Generator) -> Rows:
    """Rows as the density sees them: whole numbers of a `Dequantised` with uniform noise, others as they are."""
    if not isinstance(flow, Dequantised):
        return rows
    return Rows(rows.x + random.uniform(size=rows.x.shape), rows.context, rows.weights)


def column_names(value: Any) -> list[str] | None:
    """The column names of a frame or a structured array; None for anything else."""
    found = getattr(value, "column_names", None) or getattr(value, "columns", None)
    found = getattr(getattr(value, "dtype", None), "names", None) if found is None else found
    return None if found is None else [str(name) for name in found]


def spline_bounds(flow: Any) -> list[float]:
    """The half-widths of the boxes of a flow's splines."""
    nodes = jax.tree.leaves(flow, is_leaf=lambda node: isinstance(node, RationalQuadraticSpline))
    return [node.bound for node in nodes if isinstance(node, RationalQuadraticSpline)]


def share_outside(flow: Any, z: np.ndarray) -> None:
    """Warn when more than 1 % of the standardised values lie outside the box of the flow's splines."""
    bounds = spline_bounds(flow)
    if bounds and (share := float((np.abs(z) > max(bounds)).mean())) > 0.01:
        warnings.warn(
            f"fit: {share:.1%} of the standardised values lie outside the splines' box of +-{max(bounds):g}, where "
            "layers are the identity and cannot learn. Use a larger bound, or transform heavy-tailed columns.",
            stacklevel=3,
        )


def check_spread(name: str, array: np.ndarray, columns: list[str] | None, single_precision: bool) -> None:
    """Refuse constant columns and linear dependence; warn where float32 cannot hold the data."""
    flat = array.reshape(len(array), -1)
    with np.errstate(over="ignore"):
        largest, width = np.abs(flat).max(0, initial=0.0), np.ptp(flat, 0)
    extreme = np.flatnonzero((largest > _LARGEST) | ((width > 0) & (width < 1 / _LARGEST)))
    if extreme.size:
        raise DataError(
            f"{name}: expected values up to {_LARGEST:g} that differ by {1 / _LARGEST:g} or more, got values up to "
            f"{largest[extreme[0]]:.3g} that differ by {width[extreme[0]]:.3g} in column "
            f"{_column(columns, extreme[0])}: write it in another unit."
        )
    spread, centre = flat.std(0), np.abs(flat.mean(0))
    constant = np.flatnonzero(np.ptp(flat, 0) == 0)
    if constant.size:
        column = _column(columns, constant[0])
        raise DataError(
            f"{name}: column {column} is constant ({flat[0, constant[0]]:g} in all {len(flat)} rows), so it has no "
            "density. Drop it, or add the noise it was rounded from."
        )
    if single_precision and (centre > 1e4 * spread).any():
        column = _column(columns, np.flatnonzero(centre > 1e4 * spread)[0])
        warnings.warn(
            f"fit: column {column} has a mean more than 10,000 times its spread; in float32 its rows are hardly "
            "told apart when scored. Subtract an offset first, or score under jax.enable_x64(True).",
            stacklevel=4,
        )
    n, dim = flat.shape
    if dim > 1 and n > dim and dim <= 512:
        correlation = np.corrcoef(flat, rowvar=False)
        values, vectors = np.linalg.eigh(correlation)
        if values[0] < 1e-12 * dim:
            parts = [_column(columns, c) for c in np.flatnonzero(np.abs(vectors[:, 0]) > 0.05)]
            raise DataError(
                f"{name}: columns {', '.join(parts[:6])} are linearly dependent: the data lie in a lower-dimensional "
                "subspace, where a density is infinite. Drop one of them, or reduce the dimension (PCA) first."
            )
    elif dim > 1 and n <= dim:
        warnings.warn(
            f"fit: {n} rows in {dim} dimensions lie in a lower-dimensional subspace; expect a poor fit. Use more "
            "rows or fewer columns.",
            stacklevel=4,
        )


def split(
    rows: Rows, share: float, random: np.random.Generator, *, may_repeat: bool = False
) -> tuple[Rows, Rows | None]:
    """Shuffle and hold out a share for validation; below 20 rows nothing can be held out, and a warning says so.

    Equal rows stay together, on one side of the split: held-out copies of training rows would hide over-fitting. Not
    so where rows may well repeat (whole numbers): there the copies tell how probable a row is.
    """
    if not 0 <= share < 1:
        raise ValueError(f"validation: expected a share in [0, 1) or held-out rows, got {share}.")
    order = random.permutation(len(rows))
    n_held = round(share * len(rows))
    if share > 0 and len(rows) < 20:
        warnings.warn(
            f"validation: {len(rows)} rows are too few to hold some out; training runs without early stopping and may "
            "over-fit. Add rows if there are more; in Python, validation=0 says that this is meant.",
            stacklevel=4,
        )
        n_held = 0
    if n_held == 0:
        return rows.take(order), None
    if may_repeat:
        return rows.take(order[n_held:]), rows.take(order[:n_held])
    kind = _equal_rows(rows)
    n_copies = len(rows) - int(kind.max()) - 1
    if n_copies > _COPIES * len(rows):
        warnings.warn(
            f"fit: {n_copies} of {len(rows)} rows are copies of others. They are held out together, but a density has "
            "no bound at repeated values: drop the copies and count them by weights=, or add the noise they were "
            "rounded from.",
            stacklevel=4,
        )
    place = np.empty(len(rows), int)
    place[order] = np.arange(len(rows))
    first = np.full(int(kind.max()) + 1, len(rows))
    np.minimum.at(first, kind, place)
    is_held = first[kind[order]] < n_held
    if is_held.all():
        raise DataError(
            f"validation: nothing is left to train on after {n_held} of {len(rows)} rows (and their copies) are held "
            "out. Hold out fewer, or drop the copies."
        )
    return rows.take(order[~is_held]), rows.take(order[is_held])


def _equal_rows(rows: Rows) -> np.ndarray:
    """(n,) numbers from 0 up, the same for equal rows: a 64-bit hash of each row, then its rank."""
    parts = [part.reshape(len(part), -1) for part in (rows.x, rows.context) if part is not None]
    hashed = np.zeros(len(rows), np.uint64)
    for column in np.hstack(parts).T:
        bits = (column + 0.0).view(np.uint64)  # + 0.0: -0 equals 0
        hashed = (hashed ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(32)
    return np.unique(hashed, return_inverse=True)[1]


def gaussian_nats(train: Rows, held: Rows) -> float:
    """Mean log-density of held-out rows under the Gaussian of `gaussian_scores`."""
    return float(np.average(gaussian_scores(train, held), weights=held.weights))


def gaussian_scores(train: Rows, held: Rows) -> np.ndarray:
    """Log-densities (n,) of held-out rows under a full Gaussian, linear in the context, fitted to the training rows.

    Where there are fewer than two rows to a column, the correlations, which are then next to singular, are shrunk;
    where there are fewer than two to a coefficient of the context, it is left out, for it would explain every row.
    """
    x, y = train.x.reshape(len(train), -1), held.x.reshape(len(held), -1)
    design, design_held = _design(train), _design(held)
    if len(x) < 2 * design.shape[1]:
        design, design_held = design[:, :1], design_held[:, :1]
    weights = np.ones(len(x)) if train.weights is None else train.weights / train.weights.mean()
    root = np.sqrt(weights)[:, None]
    coefficients = np.linalg.lstsq(design * root, x * root, rcond=None)[0]
    rest, rest_held = (x - design @ coefficients) * root, y - design_held @ coefficients
    scale = np.maximum(rest.std(0), 1e-300)
    covariance = np.atleast_2d((rest / scale).T @ (rest / scale) / len(x))
    if len(x) < 2 * x.shape[1]:
        covariance = _shrunk(covariance, rest / scale)
    factor = np.linalg.cholesky(covariance + 1e-10 * np.eye(x.shape[1]))
    white = np.linalg.solve(factor, (rest_held / scale).T)
    log_norm = np.log(np.diag(factor)).sum() + np.log(scale).sum() + 0.5 * x.shape[1] * np.log(2 * np.pi)
    return -0.5 * (white**2).sum(0) - log_norm


def _shrunk(covariance: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The covariance of standardised rows (n, D), moved to the identity as far as its own error tells.

    Reference: Ledoit and Wolf 2004, section 3.3.
    """
    n, dim = rows.shape
    distance = float(np.square(covariance - np.eye(dim)).sum())
    error = float((np.square(np.square(rows).sum(1)).sum() / n - np.square(covariance).sum()) / n)
    share = 1.0 if distance == 0.0 else min(max(error, 0.0) / distance, 1.0)
    return (1 - share) * covariance + share * np.eye(dim)


def _design(rows: Rows) -> np.ndarray:
    ones = np.ones((len(rows), 1))
    return ones if rows.context is None else np.hstack([ones, rows.context.reshape(len(rows), -1)])


def _column(columns: list[str] | None, index: int | np.integer) -> str:
    return repr(columns[index]) if columns else str(int(index))
