"""A loss of the caller's own for `fit`: how it is checked, minimised in training, and evaluated in validation."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import DataError, ShapeError
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten
from pushforward.train.data import Rows

_FAR = 1e3  # distance of a mean from zero, in deviations, at which float32 has four digits left for the deviations


class CustomLoss(NamedTuple):
    """The caller's function as a loss of a batch; hashable, a part of the program.

    Attributes:
        function: (flow, x, context, key) -> one value for each row (B,), or one number for the batch.
    """

    function: Callable[..., Array]

    def __call__(self, flow: Any, batch: Any, shared: None, step: Array, key: Any) -> tuple[Array, Array]:
        """The weighted mean over the rows of a batch; it reports minus that."""
        x, context, weights = batch
        values = self.function(flow, x, context, key)
        value = jnp.mean(values if weights is None else weights * values)
        return value, -value

    def mean(self, flow: Any, rows: Rows, batch_size: int) -> float:
        """The weighted mean over rows, in batches and with random keys that are the same in every call.

        Of a loss that is one number for a batch, it is the mean over full batches.
        """
        arrays, static = flatten(flow)
        size, n, dtype = min(batch_size, len(rows)), len(rows), float_type(arrays)
        values: list[np.ndarray] = []
        for index, start in enumerate(range(0, n, size)):
            first = min(start, n - size)  # the last batch is full, too, so that one program serves all
            parts = (
                None if part is None else part[first : first + size].astype(dtype) for part in (rows.x, rows.context)
            )
            key = jax.random.fold_in(jax.random.key(0), index)
            value = np.asarray(_evaluate(static, self.function, arrays, *parts, key), np.float64)
            if value.ndim == 0 and first < start:
                break
            values.append(value[start - first :] if value.ndim else value[None])
        all_values = np.concatenate(values)
        return float(np.average(all_values, weights=rows.weights if len(all_values) == n else None))


@compiled(2, shapes_of=lambda static, _: static.event_shapes)
def _evaluate(static: Any, function: Callable[..., Array], arrays: Any, x: Any, context: Any, key: Any) -> Array:
    return function(unflatten(arrays, static), x, context, key)


def custom_loss(function: Callable[..., Any], flow: Any, rows: Rows, batch_size: int) -> CustomLoss:
    """The caller's loss after a check of its arguments and of its result, without compiling it.

    Args:
        function: what `fit` got as `loss`.
        flow: before training.
        rows: the training rows, in the data's units.
        batch_size: rows in a step.
    """
    if not callable(function):
        raise TypeError(f"loss: expected a function of (flow, x, context, key), got {type(function).__name__}.")
    try:
        hash(function)
    except TypeError:
        raise TypeError(
            f"loss: expected a function or another hashable callable, got {type(function).__name__}, which is not: a "
            "compiled program is cached by its loss. Put its call into a function: lambda *args: loss(*args)."
        ) from None
    arrays, static = flatten(flow)
    dtype = float_type(arrays)
    _check_offsets(rows, dtype)
    _check_arguments(function)
    n_rows = min(batch_size, len(rows))
    parts = (None if part is None else part[:n_rows].astype(dtype) for part in (rows.x, rows.context))
    result = jax.eval_shape(
        lambda arrays, *batch: function(unflatten(arrays, static), *batch, jax.random.key(0)), arrays, *parts
    )
    shape = getattr(result, "shape", None)
    if shape not in ((), (n_rows,)):
        got = f"shape {shape}" if shape is not None else type(result).__name__
        raise ShapeError(f"loss: expected one value for each of the {n_rows} rows, or one number, got {got}.")
    if not jnp.issubdtype(result.dtype, jnp.floating):
        raise ValueError(f"loss: expected real floating-point numbers, got {result.dtype}.")
    if shape == () and rows.weights is not None:
        raise ValueError(
            f"loss: expected one value for each row, ({n_rows},), since `weights` weight them, got one number."
        )
    return CustomLoss(function)


def _check_arguments(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin without one
        return
    try:
        signature.bind(None, None, None, None)
    except TypeError:
        raise TypeError(f"loss: expected a function of (flow, x, context, key), got one of {signature}.") from None


def _check_offsets(rows: Rows, dtype: np.dtype) -> None:
    """Refuse rows in whose own units single precision loses what distinguishes them."""
    for name, part in (("x", rows.x), ("context", rows.context)):
        if part is None or dtype != np.float32:
            continue
        flat = part.reshape(len(part), -1)
        far = np.flatnonzero(np.abs(flat.mean(0)) > _FAR * flat.std(0))
        if far.size and np.ptp(flat[:, far[0]]) > 0:
            raise DataError(
                f"with loss= the rows are not centred, and column {far[0]} has a mean more than {_FAR:,.0f} times its "
                "spread, of which float32 loses digits. Subtract an offset first, or build and fit the flow under "
                "jax.enable_x64(True).",
                name,
            )
