"""Maximum likelihood in the columns' own units: split, fill the cells of rounded columns, map, train, map back."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.discretised import Discretised, dequantise
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.flow import Flow
from pushforward.core.named_rows import NamedRows, to_array
from pushforward.errors import DataError
from pushforward.tabular.schema.mixture import with_mixture
from pushforward.tabular.schema.schema import Plan
from pushforward.train import History, fit
from pushforward.train.data import CompiledModule, Rows, as_rows, column_names, gaussian_log_likelihood
from pushforward.train.loop import default_learning_rate
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, split

_NOISY_ROWS = 4000  # to which rows with rounded columns are multiplied, each with its own noise
_MOST_COPIES = 16


def fit_columns(
    plan: Plan,
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
    """Fit a flow to a table through its plan; the result scores and samples in the columns' own units.

    Args:
        plan: of the columns, from `infer_schema`.
        build: makes the flow to start from, of as many coordinates as it is told: those of the plan that are modelled.
        x: rows (n, columns of the plan).
        key: a JAX key or an int.
        context: (n, c) for a conditional flow.
        groups: (n,) labels, as for `pushforward.fit`: rows with one label are on one side of the split.
        validation: share of rows to hold out, or held-out rows with their contexts or None.
        learning_rate: as for `pushforward.fit`.
        base: "mixture" to give the flow, in place of its own base, a mixture of normals that EM has fitted to the
            mapped rows (of the size that is best on held-out ones, or on a fifth of the rows where there are none);
            training then starts from that mixture.
        options: of `pushforward.fit`.

    Returns:
        A distribution of the modelled columns (`Plan.select`, `Plan.expand` lead there and back): a `Flow`, or
        `Discretised` around one; and the `History`, whose likelihoods are in the columns' own units. Its floor is a
        Gaussian of the columns as they are. Where columns are rounded they are bounds of log-masses.

    Raises:
        DataError: as `pushforward.fit`, and for a row outside the support of a column.
    """
    random = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key)), np.uint32))
    whole = as_rows("x", x, (len(plan.columns),))
    numbers = None if groups is None else group_numbers(groups, len(whole))
    given = None if context is None else _contexts("context", context, len(whole))
    rows = Rows(plan.select(whole), given, None, numbers)
    steps = _lattices(plan, rows.x)
    if isinstance(validation, tuple):
        if groups is not None:
            raise DataError("groups: expected none where validation rows are given, for then no row is to be held out.")
        held_x = plan.select(as_rows("validation", validation[0], (len(plan.columns),)), "validation")
        given = validation[1]
        train, held = rows, Rows(held_x, None if given is None else _contexts("context", given, len(held_x)), None)
    else:
        train, held = split(rows, float(validation), random)
    is_copy = np.zeros(0, bool) if held is None else has_equal_row(held, train)
    start = build(len(plan.modelled))
    outer = plan.around(start)
    copies = n_copies(plan, len(train))
    noisy, mapped, added = _mapped(plan, outer, train, copies, steps, random, "x")
    noisy_held, mapped_held, held_added = noisy, None, added
    if held is not None:
        noisy_held, mapped_held, held_added = _mapped(plan, outer, held, copies, steps, random, "validation")
    if learning_rate is None:
        learning_rate = default_learning_rate(len(train))
    if base is not None:
        start = with_mixture(start, mapped, mapped_held)
    inner_validation: Any = 0.0
    if mapped_held is not None:
        inner_validation = mapped_held.x if mapped_held.context is None else (mapped_held.x, mapped_held.context)
    prepared = CompiledModule(
        (added, held_added), gaussian_log_likelihood(noisy, noisy_held) + float(plan.log_volumes(noisy_held.x).mean()),
        np.repeat(is_copy, copies), copies, is_drawn=not isinstance(validation, tuple),
    )  # fmt: skip
    flow, history = fit(
        start, _named(plan, mapped.x), key=key, context=_like(context, mapped.context), validation=inner_validation,
        learning_rate=learning_rate, prepared=prepared, **options,
    )  # fmt: skip
    history.n_train, history.n_validation = len(train), 0 if held is None else len(held)
    history.n_validation_copies = int(is_copy.sum())
    return plan.around(flow), history


def n_copies(plan: Plan, n: int) -> int:
    """How often each of n training rows is taken, each time with other noise in its rounded columns; 1 without such."""
    return min(_MOST_COPIES, max(1, math.ceil(_NOISY_ROWS / n))) if plan.is_rounded else 1


def _contexts(name: str, context: Any, n: int) -> np.ndarray:
    rows = np.asarray(to_array(context))
    if rows.ndim != 2 or len(rows) != n:
        raise DataError(f"{name}: expected {n} rows (n, c) as the rows have, got shape {rows.shape}.")
    return as_rows(name, rows, rows.shape[1:])


def _lattices(plan: Plan, x: np.ndarray) -> np.ndarray:
    """Steps of noise (modelled columns) for values of columns that are not rounded by plan, but repeat on a lattice.

    A warning names all columns that repeat and are not rounded by plan; noise could lead out of a support.
    """
    columns = [plan.columns[place] for place in plan.modelled]
    is_density = np.array([column.step == 0 and not len(column.values) for column in columns])
    steps = np.zeros(len(columns))
    if is_density.any():
        chosen = [column for column, is_real in zip(columns, is_density, strict=True) if is_real]
        is_line = np.array([column.kind in ("real", "heavy") for column in chosen])
        names = [column.name for column in chosen]
        steps[is_density] = repeated_steps(x[:, is_density], names, is_filled=is_line, stacklevel=3)
    return steps


def _mapped(
    plan: Plan, outer: AbstractDistribution, rows: Rows, copies: int, steps: np.ndarray, random: np.random.Generator,
    name: str,
) -> tuple[Rows, Rows, float]:  # fmt: skip
    """Rows, each as often as told with noise of its own; these as the flow inside sees them; the mean nats to add."""
    x, context = rows.x, rows.context
    if isinstance(outer, Discretised):
        outer.check_samples(name, x)
        x = plan.dequantise(np.repeat(x, copies, axis=0), random)
        context = None if context is None else np.repeat(context, copies, axis=0)
    if steps.any():
        x = dequantise(x, steps, None, random)
    z, log_det = plan.inward(x)
    unseen = np.repeat(plan.outside(rows.x).any(1), len(x) // max(len(rows), 1))
    outside = np.flatnonzero(np.isneginf(log_det) | unseen)
    if outside.size:
        row = rows.x[outside[0] // copies]
        bad = plan.outside(np.stack([x[outside[0]], row])).any(0)
        raise DataError(
            f"{name}: column {plan.names[plan.modelled[bad.argmax()]]!r} is {row[bad.argmax()]:g} somewhere, outside "
            f"the support that the plan gives it (of {len(np.unique(outside // copies))} of {len(rows)} rows): the "
            "density there is zero. Declare that column real, or correct these rows."
        )
    groups = np.repeat(np.arange(len(rows)) if rows.groups is None else rows.groups, copies)
    return Rows(x, context, None), Rows(z, context, None, groups), float((log_det + plan.log_volumes(x)).mean())


def _like(given: Any, rows: np.ndarray | None) -> Any:
    """Rows with the names of columns that the caller's have, if they have any."""
    names = column_names(given)
    return rows if rows is None or not names else NamedRows(rows, names)


def _named(plan: Plan, rows: np.ndarray) -> NamedRows:
    """Rows with the names of their columns, which the sentences of `fit` then use."""
    return NamedRows(rows, [plan.names[place] for place in plan.modelled])
