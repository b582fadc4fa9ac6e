"""Maximum likelihood in the units of the columns: split, dequantise rounded columns, map, train, map back."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.discretised import Discretised, dequantise
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.core.named_rows import NamedRows, to_array
from pushforward.errors import DataError
from pushforward.numerics.keys import as_key
from pushforward.tabular.schema.mixture import with_mixture
from pushforward.tabular.schema.schema import TableSchema
from pushforward.train import History, fit
from pushforward.train.data import Rows, as_rows, column_names, gaussian_log_likelihood
from pushforward.train.epochs import default_learning_rate
from pushforward.train.prepare import PreparedRows
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, split

_NOISY_ROWS = 4000  # number of rows to which a table with rounded columns is copied, each copy with other noise
_MOST_COPIES = 16


def fit_columns(
    schema: TableSchema,
    build: Callable[[int], Flow],
    x: Any,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    groups: Any = None,
    validation: float | tuple[np.ndarray, np.ndarray | None] = 0.1,
    learning_rate: float | None = None,
    base: str | None = None,
    **options: Any,
) -> tuple[AbstractDistribution, History]:
    """Fit a flow to a table through its schema; the result scores and samples in the units of the columns.

    Args:
        schema: of the columns, from `infer_schema`.
        build: called with the number of modelled columns; returns the initial flow of as many coordinates.
        x: rows (n, columns of the schema).
        key: a JAX key or an int.
        context: (n, c) for a conditional flow.
        groups: (n,) labels, as for `pushforward.fit`: rows with one label are on one side of the split.
        validation: share of rows for validation, or the validation rows with their contexts or None.
        learning_rate: as for `pushforward.fit`.
        base: "mixture" to replace the flow's base by a mixture of normals, which EM fits to the mapped rows. Its size
            is the best on the validation rows, or on a fifth of the rows where there are none. Training then starts
            from that mixture.
        options: of `pushforward.fit`.

    Returns:
        A distribution of the modelled columns: a `Flow`, or `Discretised` around one. `TableSchema.drop_constants` and
        `TableSchema.fill_constants` convert rows. And the `History`, whose log-likelihoods are in the units of the
        columns, bounds of log-masses where columns are rounded; its baseline is a Gaussian of the columns themselves.

    Raises:
        DataError: as `pushforward.fit`, and for a row outside the support of a column.
    """
    random = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key)), np.uint32))
    table = as_rows("x", x, (len(schema.columns),))
    numbers = None if groups is None else group_numbers(groups, len(table))
    contexts = None if context is None else _as_contexts("context", context, len(table))
    rows = Rows(schema.drop_constants(table), contexts, None, numbers)
    steps = _lattice_steps(schema, rows.x)
    if isinstance(validation, tuple):
        if groups is not None:
            raise DataError("expected None with validation rows, for then no row is split off.", "groups")
        val_x = schema.drop_constants(as_rows("validation", validation[0], (len(schema.columns),)), "validation")
        contexts = None if validation[1] is None else _as_contexts("context", validation[1], len(val_x))
        train, val = rows, Rows(val_x, contexts, None)
    else:
        train, val = split(rows, float(validation), random)
    is_copy = np.zeros(0, bool) if val is None else has_equal_row(val, train)
    start = build(len(schema.modelled_indices))
    wrapped = schema.wrap(start)
    copies = n_copies(schema, len(train))
    noisy, mapped, offset = _transform(schema, wrapped, train, copies, steps, random, "x")
    val_noisy, val_mapped, val_offset = noisy, None, offset
    if val is not None:
        val_noisy, val_mapped, val_offset = _transform(schema, wrapped, val, copies, steps, random, "validation")
    if learning_rate is None:
        learning_rate = default_learning_rate(len(train))
    if base is not None:
        start = with_mixture(start, mapped, val_mapped)
    mapped_validation: Any = 0.0
    if val_mapped is not None:
        mapped_validation = val_mapped.x if val_mapped.context is None else (val_mapped.x, val_mapped.context)
    prepared = PreparedRows(
        _with_names(schema, mapped.x), (offset, val_offset),
        gaussian_log_likelihood(noisy, val_noisy) + float(schema.log_bin_widths(val_noisy.x).mean()),
        np.repeat(is_copy, copies), copies, is_drawn=not isinstance(validation, tuple),
    )  # fmt: skip
    flow, history = fit(
        start, prepared, key=key, context=_with_names_of(context, mapped.context), validation=mapped_validation,
        learning_rate=learning_rate, **options,
    )  # fmt: skip
    history.n_train, history.n_validation = len(train), 0 if val is None else len(val)
    history.n_validation_copies = int(is_copy.sum())
    return schema.wrap(flow), history


def n_copies(schema: TableSchema, n: int) -> int:
    """Number of copies of each of n training rows, with different noise in rounded columns; 1 without such columns."""
    return min(_MOST_COPIES, max(1, math.ceil(_NOISY_ROWS / n))) if schema.is_rounded else 1


def _as_contexts(name: str, context: Any, n: int) -> np.ndarray:
    rows = np.asarray(to_array(context))
    if rows.ndim != 2 or len(rows) != n:
        raise DataError(f"expected shape ({n}, c), one context a row, got shape {rows.shape}.", name)
    return as_rows(name, rows, rows.shape[1:])


def _lattice_steps(schema: TableSchema, x: np.ndarray) -> np.ndarray:
    """Widths of the noise (modelled columns) for columns that the schema does not round, but whose values repeat.

    A warning names all such columns. Those with an end get no noise, which could leave their support.
    """
    columns = schema.modelled_columns
    is_density = np.array([column.step == 0 and not len(column.values) for column in columns])
    steps = np.zeros(len(columns))
    if is_density.any():
        continuous = [column for column, is_real in zip(columns, is_density, strict=True) if is_real]
        is_unbounded = np.array([column.kind in ("real", "heavy") for column in continuous])
        names = [column.name for column in continuous]
        steps[is_density] = repeated_steps(x[:, is_density], names, is_filled=is_unbounded, stacklevel=3)
    return steps


def _transform(
    schema: TableSchema, wrapped: AbstractDistribution, rows: Rows, copies: int, steps: np.ndarray,
    random: np.random.Generator, name: str,
) -> tuple[Rows, Rows, float]:  # fmt: skip
    """Copies of the rows with noise; the same mapped to the flow's coordinates; the mean offset of their scores.

    The score of a row in the units of the columns is that of the mapped row plus the offset, in nats.
    """
    x, context = rows.x, rows.context
    if isinstance(wrapped, Discretised):
        wrapped.check_samples(name, x)
        x = schema.dequantise(np.repeat(x, copies, axis=0), random)
        context = None if context is None else np.repeat(context, copies, axis=0)
    if steps.any():
        x = dequantise(x, steps, None, random)
    z, log_det = schema.transform(x)
    is_bad_row = np.repeat(schema.out_of_support(rows.x).any(1), len(x) // max(len(rows), 1))
    bad = np.flatnonzero(np.isneginf(log_det) | is_bad_row)
    if bad.size:
        row = rows.x[bad[0] // copies]
        index = schema.out_of_support(np.stack([x[bad[0]], row])).any(0).argmax()
        raise DataError(
            f"column {schema.modelled_columns[index].name!r} is {row[index]:g} in a row, outside the "
            f"support in its schema ({len(np.unique(bad // copies))} of {len(rows)} rows are): the density there is "
            "zero. Declare that column real, or correct these rows.",
            name,
        )
    groups = np.repeat(np.arange(len(rows)) if rows.groups is None else rows.groups, copies)
    return Rows(x, context, None), Rows(z, context, None, groups), float((log_det + schema.log_bin_widths(x)).mean())


def _with_names_of(original: Any, rows: np.ndarray | None) -> Any:
    """Rows with the column names of the caller's array or frame, if it has any."""
    names = column_names(original)
    return rows if rows is None or not names else NamedRows(rows, names)


def _with_names(schema: TableSchema, rows: np.ndarray) -> NamedRows:
    """Rows with the names of their columns, for the messages of `fit`."""
    return NamedRows(rows, [column.name for column in schema.modelled_columns])
