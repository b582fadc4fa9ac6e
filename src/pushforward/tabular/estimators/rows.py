"""Checks of an estimator's inputs by scikit-learn's rules, and the compiled programs that map rows by a flow."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from sklearn.utils.validation import check_array, validate_data  # noqa: TID253

from pushforward.core.discretised import Discretised
from pushforward.core.distribution import samples_only
from pushforward.core.dlpack import has_dlpack
from pushforward.core.float64 import in_float64
from pushforward.core.named_rows import as_floats, to_array
from pushforward.errors import DataError, NumericError
from pushforward.numerics.batches import run_batched
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import compiled_module
from pushforward.tabular.schema import TableSchema


def check_rows(estimator: Any, x: Any, *, reset: bool = False, least: int = 1) -> np.ndarray:
    """X as finite float64 rows (n, d), with the number and names of columns of the fitted estimator.

    Args:
        estimator: its `n_features_in_` and `feature_names_in_` are set (with `reset`) or compared.
        x: array, list of lists, or frame of pandas or polars.
        reset: True in `fit`.
        least: least number of rows.

    Raises:
        ValueError, TypeError: by scikit-learn, for shapes, sparse matrices, complex numbers, names, dictionaries.
        DataError: for NaN or infinite values, with column and row of the first one.
    """
    rows = validate_data(
        estimator,
        _to_floats("X", x),
        reset=reset,
        dtype=np.float64,
        order="C",
        ensure_all_finite=False,
        ensure_min_samples=least,
    )
    return check_finite("X", rows, feature_names(estimator))


def check_targets(estimator: Any, y: Any) -> np.ndarray:
    """y as finite float64 of shape (n,) or (n, k)."""
    if y is None:
        raise ValueError(
            f"y: {type(estimator).__name__} models y given X and requires y to be passed, but the target y is None."
        )
    targets = check_array(
        _to_floats("y", y),
        ensure_2d=False,
        dtype=np.float64,
        order="C",
        ensure_all_finite=False,
        input_name="y",
        estimator=estimator,
    )
    return check_finite("y", targets, target_names(y))


def _to_floats(name: str, value: Any) -> Any:
    """An input for scikit-learn's checks: missing values as NaN, integers checked to be exact in float64.

    A frame of numbers remains a frame, for its names. Other input is returned unchanged, for scikit-learn to refuse.
    """
    _check_no_text(name, value)
    plain = to_array(value)
    array = np.asarray(plain) if isinstance(plain, np.ndarray) else None
    if array is None or array.dtype.kind not in "fiub" or array.ndim == 0:
        return value
    columns = target_names(value) if hasattr(value, "columns") else None
    array = as_floats(name, array, columns or None)
    return array if isinstance(value, np.ndarray | list | tuple) or has_dlpack(value) else value


def _check_no_text(name: str, value: Any) -> None:
    """Raise a ValueError that names column and row of the first text of a frame that is not a number."""
    columns = getattr(value, "columns", None)
    if columns is None or not hasattr(value, "__getitem__"):
        return
    for column in columns:
        cells = np.asarray(value[column])
        if cells.ndim != 1 or cells.dtype.kind not in "OUST":
            continue
        for row, cell in enumerate(cells.tolist()):
            if not isinstance(cell, str):
                continue
            try:
                float(cell)
            except ValueError:
                raise ValueError(
                    f"{name}: could not convert string to float: {cell!r} in column {column!r} at row {row}. "
                    "Encode text as numbers, such as 0 for no and 1 for yes, or leave the column out."
                ) from None


def check_finite(name: str, rows: np.ndarray, columns: list[str]) -> np.ndarray:
    """The rows; a DataError if a value is NaN or infinite."""
    flat = rows.reshape(len(rows), -1)
    bad = ~np.isfinite(flat)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        label = repr(columns[column]) if columns else str(int(column))
        kind = "NaN" if np.isnan(flat[row, column]) else "infinity" if flat[row, column] > 0 else "-infinity"
        raise DataError(
            f"expected finite numbers, got {kind} in column {label} at row {row} ({int(bad.any(1).sum())} of "
            f"{len(flat)} rows hold NaN or infinite values). Drop or fill these rows.",
            name,
        )
    return rows


def feature_names(estimator: Any) -> list[str]:
    """The names of X's columns in `fit`; empty if X was not a frame."""
    return [str(name) for name in getattr(estimator, "feature_names_in_", ())]


def target_names(y: Any) -> list[str]:
    """The column names of y; empty if it is neither a frame nor a named series, or if a name is not text."""
    columns = getattr(y, "columns", None)
    if columns is None:
        name = getattr(y, "name", None)
        columns = [] if name is None or name == "" else [name]
    return [str(name) for name in columns] if all(isinstance(name, str) for name in columns) else []


def drop_constants(schema: TableSchema | None, x: np.ndarray, name: str = "X") -> np.ndarray:
    """The modelled columns of checked rows, as `TableSchema.drop_constants`; without a schema all columns."""
    return x if schema is None else schema.drop_constants(x, name)


def check_support(schema: TableSchema | None, rows: np.ndarray) -> np.ndarray:
    """The rows (n, modelled columns); a DataError if a value lies outside the support of its column."""
    bad = np.zeros(rows.shape, bool) if schema is None else schema.out_of_support(rows)
    if schema is not None and bad.any():
        row, index = np.argwhere(bad)[0]
        column = schema.modelled_columns[index]
        raise DataError(
            f"column {column.name!r} is {rows[row, index]:g} at row {row} ({int(bad.any(1).sum())} such rows), "
            f"outside its support ({column.describe()}): the density there is zero, and no z maps to it. Drop them.",
            "X",
        )
    return rows


def fill_constants(schema: TableSchema | None, rows: np.ndarray) -> np.ndarray:
    """Rows of the flow with the constant columns filled in; without a schema unchanged."""
    return rows if schema is None else schema.fill_constants(rows)


def to_base(flow: Any, x: np.ndarray) -> np.ndarray:
    """z = T^-1(x) of every row, float64."""
    return _map_rows(_inverse_batch, "transform", _density(flow), x)


def from_base(flow: Any, z: np.ndarray) -> np.ndarray:
    """x = T(z) of every row, float64."""
    return _map_rows(_forward_batch, "inverse_transform", _density(flow), z)


def _density(flow: Any) -> Any:
    """The flow of a `Discretised`, whose bijection maps the columns without rounding; else the flow itself."""
    return flow.flow if isinstance(flow, Discretised) else flow


def common_samples(flow: Any, context: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Samples (rows, n, k), float64, from p(. | context_i), with common random numbers.

    Sample j of every row is the image of the same sample of the base. So the samples of a row do not depend on other
    rows, and differences between rows have little sampling noise.
    """
    size = len(context) * n
    indices = np.tile(np.arange(n, dtype=np.uint32), len(context))
    with jax.enable_x64(True):
        module = compiled_module(in_float64(flow))
        rows = [indices, np.repeat(context, n, axis=0)]
        out = np.asarray(_first_output(run_batched(samples_only, module, rows, size, flow.shape[0], as_key(seed))))
    return _check_output("sample", out).reshape(len(context), n, flow.shape[0])


def _map_rows(batched: Any, name: str, flow: Any, rows: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        module = compiled_module(in_float64(flow))
        out = np.array(_first_output(run_batched(batched, module, [rows], len(rows), rows.shape[1])))
    return _check_output(name, out)


def _first_output(out: tuple[Any, ...] | None) -> Any:
    if out is None:
        raise TypeError("an estimator works on numbers: call it outside jax.jit, jax.grad and jax.vmap.")
    return out[0]


def _check_output(name: str, out: np.ndarray) -> np.ndarray:
    bad = ~np.isfinite(out).all(1)
    if bad.any():
        raise NumericError(
            f"{name}: {int(bad.sum())} of {len(out)} rows give NaN or infinite numbers, the first at row "
            f"{int(bad.argmax())}: pushforward.check(estimator.flow_) reports more."
        )
    return out


def _inverse_batch(flow: Any, x: Array) -> tuple[Array, ...]:
    return (jax.vmap(flow.bijection.inverse)(x),)


def _forward_batch(flow: Any, z: Array) -> tuple[Array, ...]:
    return (jax.vmap(flow.bijection.forward)(z),)
