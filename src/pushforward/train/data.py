"""Training data: checks, conversion to float64 on the host, and the Gaussian baseline."""

import dataclasses
import math
import warnings
from typing import Any

import jax
import numpy as np

from pushforward.bijections import ColumnMaps
from pushforward.core.chain import layers_of
from pushforward.core.dequantised import Dequantised
from pushforward.core.ensemble import Ensemble
from pushforward.core.named_rows import as_floats, to_array
from pushforward.core.scalar import boxed_parts
from pushforward.errors import DataError, OffsetWarning, ShapeError
from pushforward.numerics.moments import CONTEXT_LIMIT, CONTEXT_TAILS, compress, moments
from pushforward.train.ranges import check_range, column_label, warn_of_values


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one split, float64 on the host: events, contexts or None, weights or None; group numbers or None."""

    x: np.ndarray
    context: np.ndarray | None
    weights: np.ndarray | None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Rows":
        """The rows at these indices."""
        parts = (self.context, self.weights, self.groups)
        return Rows(self.x[index], *(None if part is None else part[index] for part in parts))

    def concatenate(self, other: "Rows") -> "Rows":
        """These rows, then the other ones."""
        pairs = ((self.context, other.context), (self.weights, other.weights), (self.groups, other.groups))
        parts = (None if a is None or b is None else np.concatenate([a, b]) for a, b in pairs)
        return Rows(np.concatenate([self.x, other.x]), *parts)


def as_rows(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Checked float64 rows (n, *shape) from NumPy, JAX, a pandas or polars frame, or anything with DLPack."""
    columns = column_names(value)
    value = to_array(value, name)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" and not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):  # bfloat16
        raise DataError(f"expected numbers, got values of type {array.dtype}. Encode or drop such columns first.", name)
    array = as_floats(name, array, columns)  # in C order: sums round alike for every memory layout
    if array.ndim == 1 and shape == (1,):
        raise ShapeError(f"{name}: expected shape (n, 1), got {array.shape}. {as_column(name)}")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape))) if shape else "n,"
        raise ShapeError(
            f"{name}: expected shape ({expected}), got {array.shape}. Select these columns, or build the flow for "
            "others."
        )
    flat = array.reshape(len(array), math.prod(shape))
    is_bad = ~np.isfinite(flat)
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise DataError(
            f"expected finite numbers, got {flat[row, column]} in column {column_label(columns, column)} at "
            f"row {row} ({int(is_bad.any(1).sum())} of {len(flat)} rows hold NaN or infinite values). Drop or fill "
            "these rows.",
            name,
        )
    return array


def as_column(name: str) -> str:
    """How one column is passed: indexing by None fails for a Series of pandas."""
    return f"Pass one column as np.asarray({name})[:, None], or as a frame of one column, df[['a']]."


def as_contexts(name: str, flow: Any, context: Any) -> np.ndarray | None:
    """Checked float64 contexts (n, *context_shape) for a flow; None if it is unconditional."""
    shape = flow.context_shape
    if (context is None) != (shape is None):
        expected = "none (the flow is unconditional)" if shape is None else f"rows of shape {shape}"
        raise DataError(f"expected {expected}, got {'none' if context is None else 'one'}.", name)
    return None if shape is None else as_rows(name, context, shape)


def dequantise_rows(flow: Any, rows: Rows, random: np.random.Generator) -> Rows:
    """The rows as the density takes them: integers of a `Dequantised` plus uniform noise, others unchanged."""
    if not isinstance(flow[0] if isinstance(flow, Ensemble) else flow, Dequantised):
        return rows
    return Rows(rows.x + random.uniform(size=rows.x.shape), rows.context, rows.weights)


def column_names(value: Any) -> list[str] | None:
    """The column names of a frame or a structured array; None for anything else."""
    names = getattr(value, "column_names", None) or getattr(value, "columns", None)
    names = getattr(getattr(value, "dtype", None), "names", None) if names is None else names
    return None if names is None else [str(name) for name in names]


def reach_in_box(flow: Any) -> float | None:
    """The outermost standardised value: nine tenths of the narrowest box outside which a layer is the identity."""
    bounds = [part.bound for part in boxed_parts(flow) if part.identity_outside]
    return 0.9 * min(bounds) if bounds else None


def warn_of_share_outside(flow: Any, z: np.ndarray, stacklevel: int) -> None:
    """Warn when more than 1 % of the standardised values lie outside the widest box of the flow's transformers.

    Args:
        flow: the flow.
        z: (n, *shape) standardised values.
        stacklevel: number of frames from here to the user's call.
    """
    if isinstance(layers_of(flow.bijection)[-1], ColumnMaps):  # z has the units of the data, not of the boxes
        return
    parts = boxed_parts(flow)
    bound = max((part.bound for part in parts), default=math.inf)
    if (share := float((np.abs(z) > bound).mean())) > 0.01:
        is_identity = all(part.identity_outside for part in parts)
        outside = "the identity and cannot learn" if is_identity else "linear and learn no shape but a slope"
        warnings.warn(
            f"fit: {share:.1%} of the standardised values lie outside the transformers' box of +-{bound:g}, where "
            f"layers are {outside}. Use a larger bound, or transform heavy-tailed columns.",
            stacklevel=stacklevel + 1,
        )


def check_spread(name: str, array: np.ndarray, columns: list[str] | None, single_precision: bool) -> None:
    """Refuse constant columns and linear dependence; warn where float32 cannot represent the data."""
    check_range(name, array, columns, single_precision)
    warn_of_values(array, columns, single_precision)
    flat = array.reshape(len(array), -1)
    spread, centre = flat.std(0), np.abs(flat.mean(0))
    constant = np.flatnonzero(np.ptp(flat, 0) == 0)
    if constant.size:
        column = column_label(columns, constant[0])
        raise DataError(
            f"column {column} is constant ({flat[0, constant[0]]:g} in all {len(flat)} rows), so it has no "
            "density. Drop it, or add the noise it was rounded from.",
            name,
        )
    if single_precision and (centre > 1e4 * spread).any():
        column = column_label(columns, np.flatnonzero(centre > 1e4 * spread)[0])
        warnings.warn(
            f"fit: column {column} has a mean more than 10,000 times its spread: float32 has few digits left for its "
            "samples, and for its rows inside jax.jit. Draw samples under jax.enable_x64(True), which gives them in "
            "float64, or subtract an offset first. Scores of float64 rows are exact.",
            OffsetWarning,
            stacklevel=4,
        )
    n, dim = flat.shape
    if dim > 1 and n > dim and dim <= 512:
        correlation = np.corrcoef(flat, rowvar=False)
        values, vectors = np.linalg.eigh(correlation)
        if values[0] < 1e-12 * dim:
            parts = [column_label(columns, c) for c in np.flatnonzero(np.abs(vectors[:, 0]) > 0.05)]
            raise DataError(
                f"columns {', '.join(parts[:6])} are linearly dependent: the data lie in a lower-dimensional "
                "subspace, where a density is infinite. Drop one of them, or reduce the dimension (PCA) first.",
                name,
            )
    elif dim > 1 and n <= dim:
        warnings.warn(
            f"fit: {n} rows in {dim} dimensions lie in a lower-dimensional subspace; expect a poor fit. Use more "
            "rows or fewer columns.",
            stacklevel=4,
        )


def gaussian_log_likelihood(train: Rows, validation: Rows) -> float:
    """Mean log-density of validation rows under the Gaussian of `gaussian_log_probs`."""
    return float(np.average(gaussian_log_probs(train, validation), weights=validation.weights))


def gaussian_log_probs(train: Rows, validation: Rows) -> np.ndarray:
    """Log-densities (n,) of validation rows under a full Gaussian, linear in the context, fitted to the training rows.

    Contexts are standardised as in `Standardise`. A row with an extreme context is not used for the fit, and such a
    context counts as 0 in a validation row. With fewer than two rows to a column the sample correlations are next to
    singular, and are shrunk. With fewer than two rows to a coefficient of the context, the context is omitted: it would
    explain every row.
    """
    x, y = train.x.reshape(len(train), -1), validation.x.reshape(len(validation), -1)
    weights = np.ones(len(x)) if train.weights is None else train.weights
    (design, is_sound), (validation_design, _) = _design(train, train), _design(validation, train)
    if is_sound.any():
        x, design, weights = x[is_sound], design[is_sound], weights[is_sound]
    if len(x) < 2 * design.shape[1]:
        design, validation_design = design[:, :1], validation_design[:, :1]
    root = np.sqrt(weights / weights.mean())[:, None]
    coefficients = np.linalg.lstsq(design * root, x * root, rcond=None)[0]
    residuals, validation_residuals = (x - design @ coefficients) * root, y - validation_design @ coefficients
    scale = np.maximum(residuals.std(0), 1e-300)
    covariance = np.atleast_2d((residuals / scale).T @ (residuals / scale) / len(x))
    if len(x) < 2 * x.shape[1]:
        covariance = _shrink(covariance, residuals / scale)
    factor = np.linalg.cholesky(covariance + 1e-10 * np.eye(x.shape[1]))
    white = np.linalg.solve(factor, (validation_residuals / scale).T)
    log_norm = np.log(np.diag(factor)).sum() + np.log(scale).sum() + 0.5 * x.shape[1] * np.log(2 * np.pi)
    return -0.5 * (white**2).sum(0) - log_norm


def _shrink(covariance: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The covariance of standardised rows (n, D), shrunk to the identity in proportion to its estimated error.

    Reference: Ledoit and Wolf 2004, section 3.3.
    """
    n, dim = rows.shape
    distance = float(np.square(covariance - np.eye(dim)).sum())
    error = float((np.square(np.square(rows).sum(1)).sum() / n - np.square(covariance).sum()) / n)
    share = 1.0 if distance == 0.0 else min(max(error, 0.0) / distance, 1.0)
    return (1 - share) * covariance + share * np.eye(dim)


def _design(rows: Rows, train: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The design matrix (1, standardised context) of the rows, and which rows have no extreme context."""
    ones = np.ones((len(rows), 1))
    if rows.context is None or train.context is None:
        return ones, np.ones(len(rows), bool)
    mean, scale = moments(train.context.reshape(len(train), -1), CONTEXT_TAILS)
    context = (rows.context.reshape(len(rows), -1) - mean) / np.where(scale > 0, scale, 1.0)
    context = compress(context, np)[0]
    is_sound = (np.abs(context) <= CONTEXT_LIMIT).all(1)
    return np.hstack([ones, np.where(np.abs(context) <= CONTEXT_LIMIT, context, 0.0)]), is_sound
