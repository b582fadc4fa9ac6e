"""What comes into an estimator, checked by scikit-learn's rules; and the programs that take rows through a flow."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from sklearn.utils.validation import check_array, validate_data  # noqa: TID253

from pushforward.core.discretised import Discretised
from pushforward.core.distribution import AbstractDistribution, as_key, sample_batch
from pushforward.core.fields import cast
from pushforward.core.named_rows import as_floats, to_array
from pushforward.errors import DataError, NumericError
from pushforward.numerics.programs import compiled_module, run_batched
from pushforward.tabular.schema import Plan


def checked_rows(estimator: Any, x: Any, *, reset: bool = False, least: int = 1) -> np.ndarray:
    """X as finite float64 rows (n, d), of the width and with the column names that the estimator was fitted to.

    Args:
        estimator: whose `n_features_in_` and `feature_names_in_` are set (with `reset`) or compared.
        x: array, list of lists, or frame of pandas or polars.
        reset: True in `fit`.
        least: number of rows that are needed.

    Raises:
        ValueError, TypeError: scikit-learn's own, for shapes, sparse matrices, complex numbers, names, dictionaries.
        DataError: NaN or infinite values, with the first one's column and row.
    """
    rows = validate_data(
        estimator,
        _readable("X", x),
        reset=reset,
        dtype=np.float64,
        order="C",
        ensure_all_finite=False,
        ensure_min_samples=least,
    )
    return finite("X", rows, names_of(estimator))


def checked_targets(estimator: Any, y: Any) -> np.ndarray:
    """y as finite float64 of shape (n,) or (n, k)."""
    if y is None:
        raise ValueError(
            f"y: {type(estimator).__name__} models y given X and requires y to be passed, but the target y is None."
        )
    targets = check_array(
        _readable("y", y),
        ensure_2d=False,
        dtype=np.float64,
        order="C",
        ensure_all_finite=False,
        input_name="y",
        estimator=estimator,
    )
    return finite("y", targets, target_names(y))


def _readable(name: str, value: Any) -> Any:
    """What scikit-learn's checks may convert: missing values as NaN, and no whole number that float64 does not hold.

    A frame of numbers stays one, for its names; scikit-learn refuses what is no array of numbers.
    """
    _refuse_text(name, value)
    plain = to_array(value)
    array = np.asarray(plain) if isinstance(plain, np.ndarray) else None
    if array is None or array.dtype.kind not in "fiub" or array.ndim == 0:
        return value
    columns = target_names(value) if hasattr(value, "columns") else None
    array = as_floats(name, array, columns or None)
    if isinstance(value, np.ndarray | list | tuple):
        return array
    return value


def _refuse_text(name: str, value: Any) -> None:
    """Name the first column of a frame that holds text which is no number, with its row."""
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
                    "Give every text a number, such as 0 for no and 1 for yes, or leave the column out."
                ) from None


def finite(name: str, rows: np.ndarray, columns: list[str]) -> np.ndarray:
    """The rows, refused where a value is NaN or infinite."""
    flat = rows.reshape(len(rows), -1)
    bad = ~np.isfinite(flat)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        label = repr(columns[column]) if columns else str(int(column))
        kind = "NaN" if np.isnan(flat[row, column]) else "infinity" if flat[row, column] > 0 else "-infinity"
        raise DataError(
            f"{name}: expected finite numbers, got {kind} in column {label} at row {row} ({int(bad.any(1).sum())} of "
            f"{len(flat)} rows hold NaN or infinite values). Drop or fill these rows."
        )
    return rows


def names_of(estimator: Any) -> list[str]:
    """The names of X's columns in `fit`; none where X was no frame."""
    return [str(name) for name in getattr(estimator, "feature_names_in_", ())]


def target_names(y: Any) -> list[str]:
    """The names of the columns of y; none where it is no frame and no series with a name, or where one is no text."""
    columns = getattr(y, "columns", None)
    if columns is None:
        name = getattr(y, "name", None)
        columns = [] if name is None or name == "" else [name]
    return [str(name) for name in columns] if all(isinstance(name, str) for name in columns) else []


def modelled(plan: Plan | None, x: np.ndarray, name: str = "X") -> np.ndarray:
    """The columns that the flow has: all, where there is no plan; rows that differ in a constant one are refused."""
    return x if plan is None else plan.select(x, name)


def supported(plan: Plan | None, rows: np.ndarray) -> np.ndarray:
    """The rows (n, modelled columns), refused where a value lies outside the support of its column."""
    bad = np.zeros(rows.shape, bool) if plan is None else plan.outside(rows)
    if plan is not None and bad.any():
        row, place = np.argwhere(bad)[0]
        column = plan.columns[plan.modelled[place]]
        raise DataError(
            f"X: column {column.name!r} is {rows[row, place]:g} at row {row} ({int(bad.any(1).sum())} such rows), "
            f"outside its support ({column.describe()}): the density there is zero, and no z leads there. Drop them."
        )
    return rows


def whole(plan: Plan | None, rows: np.ndarray) -> np.ndarray:
    """Rows of the flow with the constant columns filled in."""
    return rows if plan is None else plan.expand(rows)


def to_base(flow: Any, x: np.ndarray) -> np.ndarray:
    """z = T^-1(x) of every row, float64."""
    return _mapped(_base_rows, "transform", _density(flow), x)


def from_base(flow: Any, z: np.ndarray) -> np.ndarray:
    """x = T(z) of every row, float64."""
    return _mapped(_data_rows, "inverse_transform", _density(flow), z)


def _density(flow: Any) -> Any:
    """The flow, which a `Discretised` has inside: its bijection knows no rounding."""
    return flow.flow if isinstance(flow, Discretised) else flow


def common_draws(flow: Any, context: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Samples (rows, n, k), float64, from p(. | context_i), where draw j of every row comes from one draw of the base.

    A row's samples so depend on no other row, and what two rows differ in is not blurred by chance.
    """
    size = len(context) * n
    indices = np.tile(np.arange(n, dtype=np.uint32), len(context))
    with jax.enable_x64(True):
        module = compiled_module(cast(flow, np.float64))
        rows = [indices, np.repeat(context, n, axis=0)]
        out = np.asarray(_ran(run_batched(_drawn_rows, module, rows, size, flow.shape[0], as_key(seed))))
    return _finite_result("sample", out).reshape(len(context), n, flow.shape[0])


def _mapped(batched: Any, name: str, flow: Any, rows: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        double = cast(flow, np.float64)
        out = np.array(_ran(run_batched(batched, compiled_module(double), [rows], len(rows), rows.shape[1])))
    return _finite_result(name, out)


def _ran(out: tuple[Any, ...] | None) -> Any:
    if out is None:
        raise TypeError("an estimator works on numbers: call it outside jax.jit, jax.grad and jax.vmap.")
    return out[0]


def _finite_result(name: str, out: np.ndarray) -> np.ndarray:
    bad = ~np.isfinite(out).all(1)
    if bad.any():
        raise NumericError(
            f"{name}: {int(bad.sum())} of {len(out)} finite rows give no finite numbers, first at row "
            f"{int(bad.argmax())}: pushforward.check(estimator.flow_) says more."
        )
    return out


def _base_rows(flow: Any, x: Array) -> tuple[Array, ...]:
    return (jax.vmap(flow.bijection.inverse)(x),)


def _data_rows(flow: Any, z: Array) -> tuple[Array, ...]:
    return (jax.vmap(flow.bijection.forward)(z),)


def _drawn_rows(
    distribution: AbstractDistribution, key: PRNGKeyArray, indices: Array, context: Array
) -> tuple[Array, ...]:
    return sample_batch(distribution, key, indices, context)[:1]
