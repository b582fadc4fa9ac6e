"""Preparation of a fit: rows are checked, split, and get noise where values repeat; then the Gaussian baseline."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pushforward.core.dequantised import Dequantised
from pushforward.core.discretised import dequantise
from pushforward.core.ensemble import Ensemble
from pushforward.errors import DataError
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.data import (
    Rows,
    as_contexts,
    as_rows,
    check_spread,
    column_names,
    dequantise_rows,
    gaussian_log_likelihood,
)
from pushforward.train.ranges import check_range, warn_of_values
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, split
from pushforward.train.units import flows_in


@dataclass(frozen=True)
class PreparedRows:
    """Rows that the library itself has split and transformed before `fit`, as `fit_columns` does, in place of x.

    Attributes:
        x: the training rows.
        offsets: nats to add to the reported log-likelihoods of training and of validation rows: mean log-determinants
            of the transformations.
        baseline_log_likelihood: reported as that of the Gaussian; None for a full Gaussian of the transformed rows.
        is_copy: (m,) bools, whether a validation row has an equal training row; None where `fit` looks for repeated
            values.
        replicates: how many consecutive rows are one row with different noise; standard errors and the BIC count them
            once.
        is_drawn: whether the validation rows are a share of the caller's rows.
    """

    x: Any
    offsets: tuple[float, float] = (0.0, 0.0)
    baseline_log_likelihood: float | None = None
    is_copy: np.ndarray | None = None
    replicates: int = 1
    is_drawn: bool = False


@dataclass(frozen=True)
class FitData:
    """What `fit` trains on, in the data's units: float64 rows on the host.

    Attributes:
        train, validation: rows; None without validation.
        gaussian: log-likelihood of the Gaussian baseline.
        is_copy: (m,) whether a validation row has an equal training row; None without validation rows.
        offsets, replicates: as for `PreparedRows`.
        is_drawn: whether the validation rows are a share of the caller's rows, so that a returned baseline may be
            fitted to all rows.
    """

    train: Rows
    validation: Rows | None
    gaussian: float
    is_copy: np.ndarray | None = None
    offsets: tuple[float, float] = (0.0, 0.0)
    replicates: int = 1
    is_drawn: bool = False


def prepare(
    flow: Any, x: Any, context: Any, weights: Any, groups: Any, validation: Any, random: np.random.Generator
) -> tuple[FitData, Rows]:
    """Check and split the caller's arguments.

    Returns:
        The data, and the training rows as the density takes them: integers of a `Dequantised` plus uniform noise.
    """
    is_drawn = isinstance(validation, int | float | np.number)
    prepared = x if isinstance(x, PreparedRows) else PreparedRows(x, is_drawn=is_drawn)
    rows, columns = rows_of(flow, "x", prepared.x, "context", context, weights, groups), column_names(prepared.x)
    if len(rows) < 2:
        raise DataError(f"expected at least 2 rows to fit, got {len(rows)} (1 sample has no spread).", "x")
    single, steps = float_type(flatten(flow)[0]) == np.float32, np.zeros(flow.shape)
    if not isinstance(flow[0] if isinstance(flow, Ensemble) else flow, Dequantised):
        check_spread("x", rows.x, columns, single)
        if prepared.is_copy is None:  # noise could leave the support of a flow without `Standardise`
            may_add_noise = bool(flows_in(flow))
            steps = repeated_steps(rows.x, columns, is_filled=may_add_noise, stacklevel=3).reshape(flow.shape)
    if rows.context is not None:
        check_range("context", rows.context, column_names(context), single)
        warn_of_values(rows.context, column_names(context), single, is_context=True)
    if is_drawn:
        train, held_out = split(rows, float(validation), random)
    else:
        if groups is not None:
            raise DataError("expected none where validation rows are given, which need no split.", "groups")
        train, held_out = rows, _validation_rows(flow, validation, single)
    is_copy = prepared.is_copy
    if held_out is not None and is_copy is None:
        is_copy = has_equal_row(held_out, train)
    if steps.any():
        train = replace(train, x=dequantise(train.x, steps, None, random))
        held_out = held_out and replace(held_out, x=dequantise(held_out.x, steps, None, random))
    noisy, gaussian = dequantise_rows(flow, train, random), prepared.baseline_log_likelihood
    if gaussian is None:
        noisy_validation = noisy if held_out is None else dequantise_rows(flow, held_out, random)
        gaussian = gaussian_log_likelihood(noisy, noisy_validation) + prepared.offsets[held_out is not None]
    if held_out is not None and prepared.replicates > 1:
        held_out = replace(held_out, groups=np.arange(len(held_out)) // prepared.replicates)
    return FitData(train, held_out, gaussian, is_copy, prepared.offsets, prepared.replicates, prepared.is_drawn), noisy


def _validation_rows(flow: Any, validation: Any, single: bool) -> Rows:
    """The caller's validation rows, checked."""
    x, context = validation if isinstance(validation, tuple) else (validation, None)
    rows = rows_of(flow, "validation", x, "validation context", context, None)
    if len(rows) == 0:
        raise DataError("expected at least one row, got none. Pass 0 to train without validation.", "validation")
    check_range("validation", rows.x, column_names(x), single)
    if rows.context is not None:
        check_range("validation context", rows.context, column_names(context), single)
    return rows


def rows_of(flow: Any, name: str, x: Any, context_name: str, context: Any, weights: Any, groups: Any = None) -> Rows:
    """The caller's rows, whose shapes and numbers are checked, in float64; without those of weight zero."""
    events = as_rows(name, x, flow.shape)
    flow.check_samples(name, events)
    contexts = as_contexts(context_name, flow, context)
    weights = None if weights is None else as_rows("weights", weights, ())
    for part, values in ((context_name, contexts), ("weights", weights)):
        if values is not None and len(values) != len(events):
            raise DataError(f"expected {len(events)} rows as {name} has, got {len(values)}.", part)
    numbers = None if groups is None else group_numbers(groups, len(events))
    if weights is not None:
        if (weights < 0).any() or weights.sum() <= 0:
            raise DataError("expected non-negative numbers with a positive sum.", "weights")
        rows = Rows(events, contexts, weights / weights[weights > 0].mean(), numbers)
        return rows.take(np.flatnonzero(weights > 0))
    return Rows(events, contexts, None, numbers)
