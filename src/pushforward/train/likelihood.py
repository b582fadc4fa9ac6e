"""Maximum likelihood: fit a flow to rows of data."""

import math
import time
import warnings
from dataclasses import replace
from typing import Any, TypeVar

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.core.dequantised import Dequantised
from pushforward.core.discretised import dequantise
from pushforward.core.distribution import as_key
from pushforward.core.flow import Flow
from pushforward.errors import DataError, TrainingDiverged
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.checks import check_options, check_precision
from pushforward.train.data import (
    PreparedData,
    Rows,
    as_rows,
    check_spread,
    column_names,
    dequantise_rows,
    gaussian_log_likelihood,
)
from pushforward.train.history import History
from pushforward.train.loop import Options, train_on_rows
from pushforward.train.ranges import check_range, warn_of_values
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, split
from pushforward.train.start import (
    Baselines,
    baseline_start,
    baselines,
    falls_short,
    is_likelier,
    may_start_jointly,
    refit_baseline,
    whitened_start,
)
from pushforward.train.units import initialise_flow, log_probs_in_units, outer_standardise

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)


def fit(
    flow: AnyFlow,
    x: Any,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    weights: Any = None,
    groups: Any = None,
    validation: float | Any = 0.1,
    batch_size: int = 256,
    max_epochs: int | None = None,
    patience: int | None = None,
    learning_rate: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    clip: float | None = 5.0,
    ema: float | None = 0.98,
    trainable: PyTree[bool] | None = None,
    start: str = "auto",
    prepared: PreparedData | None = None,
    progress: bool = True,
) -> tuple[AnyFlow, History]:
    """Maximum likelihood: maximise the weighted mean of log p(x_i | c_i) over the rows by mini-batch gradients.

    Rows are standardised on the host in float64 (the flow's `Standardise` is filled; a second fit keeps it), so
    training does not depend on the units of the data. A step whose loss or gradient is not finite is skipped and
    counted. After 25 consecutive failures training restores the state of up to 130 steps before, and halves the
    learning rate, at most five times. The weights of the epoch with the best validation likelihood are returned, or
    those of the start where no epoch is better.

    Args:
        flow: the flow to start from, or a `Dequantised` flow for integers; fitting twice continues.
        x: (n, *shape): NumPy or JAX array, pandas or polars frame, or anything with DLPack.
        key: a JAX key or an int; it decides the split, the order of the rows and dropout.
        context: (n, *context_shape) for a conditional flow.
        weights: (n,) non-negative sample weights.
        groups: (n,) labels (numbers, text, anything that can be hashed; a column of a frame): rows with one label are
            all validation rows or all training rows. Groups are visited in random order. Each becomes a validation
            group if that brings the share of rows nearer to `validation`; a group of twice that many rows or more is
            used for training. By default rows are drawn independently, equal rows too.
        validation: share of rows for validation, or validation rows: x, or (x, context) for a conditional flow, such as
            the latest of a series. With 0 there are no validation rows and no early stopping.
        batch_size: rows in a step (fewer when there are fewer rows).
        max_epochs: passes over the data; by default as many as make 6,000 steps, 300 passes at most. With few rows an
            epoch holds several passes, at least 10 steps.
        patience: epochs without a better validation likelihood before training stops; by default 1,500 steps' worth.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam); by default 5e-3, times
            (n / 5000)^1.25 for fewer than 5,000 training rows, which are over-fitted within few steps.
        optimizer: any optax optimiser, with its learning rate, instead of Adam and the schedule. One that asks for
            `value` gets the loss of the step: the batch's mean negative log-likelihood in nats, in the units
            of training, where the columns are standardised; it may be negative. One that searches along the loss
            (L-BFGS) searches on the same batch; a large batch_size and `clip=None` suit it.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is validated and returned, or None to use
            the last weights. The average is as good at the end, and varies much less during training.
        trainable: a tree of bools like `pushforward.trainable(flow)`, to freeze parts; with one, `start` is "given".
        start: "auto" lets `fit` choose where training starts, for recipes of vectors over a standard normal base with
            `whiten` not False. If the other columns and the context explain more than nine tenths of a column's
            variance, the flow gets a `Whiten` layer (and a `LinearRegression` on the context), provided that the full
            Gaussian is then likelier on the validation rows by more than a standard error (on the training rows if
            there are no validation rows). A flow that ends below a full Gaussian or a mixture of normals (its size
            chosen by the BIC), by more than a standard error and 0.01 nats, is trained again from that baseline: the
            mixture becomes its base. If flow and baseline differ by less, the baseline is returned, fitted again to all
            rows if `validation` is a share of them. "given" trains the flow unchanged.
        prepared: for a caller that has already split and transformed the rows, as `fit_columns` does.
        progress: show progress (a bar with rich, else a line).

    A warning names the columns whose values repeat, because there a density is unbounded: more than 5 % of the rows,
    and more than three, repeat a value that about one row in a thousand has, or more. Where such values lie on a
    lattice, as rounded values and integers do, the rows are fitted with uniform noise over a step (except where the
    outermost layer of the flow restricts its support); the history's likelihoods are of the noisy rows.

    Returns:
        The fitted flow, and its `History`. Ctrl-C returns the best weights so far.

    Raises:
        DataError: NaN or infinite values, constant or linearly dependent columns (both are allowed for integers),
            values that are no levels, too few rows.
        ShapeError: if shapes do not fit the flow.
        ValueError: if an option is out of range, an array of the flow has 16 bits, or `optimizer` does not fit.
        TrainingDiverged: if steps fail repeatedly; names the epoch and the learning rate.

    Reference: Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2017 (cosine schedule); Pascanu et al. 2013 (clipping).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
        >>> flow, history = pf.fit(pf.nice(dim=2, n_layers=2, width=8, key=0), x, key=0, max_epochs=1, progress=False)
        >>> len(history.validation)
        1
    """
    started = time.perf_counter()
    if start not in ("auto", "given"):
        raise ValueError(f"start: expected 'auto' or 'given', got {start!r}.")
    check_options(
        {"batch_size": batch_size, "max_epochs": max_epochs, "patience": patience},
        {"learning_rate": learning_rate, "clip": clip},
        ema,
    )
    check_precision("flow", flow)
    key_split, key_steps = jax.random.split(as_key(key))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key_split), np.uint32))
    is_drawn = isinstance(validation, int | float | np.number)
    prepared = PreparedData(is_drawn=is_drawn) if prepared is None else prepared
    is_copy, (train_offset, validation_offset) = prepared.is_copy, prepared.offset
    train, validation_rows, steps = _prepare(
        flow, x, context, weights, groups, validation, random, is_searched=is_copy is None
    )
    history = History(n_train=len(train), n_validation=0 if validation_rows is None else len(validation_rows))
    if validation_rows is not None and is_copy is None:
        is_copy = has_equal_row(validation_rows, train)
    if steps.any():
        train = replace(train, x=dequantise(train.x, steps, None, random))
        validation_rows = validation_rows and replace(
            validation_rows, x=dequantise(validation_rows.x, steps, None, random)
        )
    noisy = dequantise_rows(flow, train, random)
    if prepared.baseline_log_likelihood is not None:
        history.gaussian = prepared.baseline_log_likelihood
    elif validation_rows is None:
        history.gaussian = gaussian_log_likelihood(noisy, noisy) + train_offset
    else:
        noisy_validation = dequantise_rows(flow, validation_rows, random)
        history.gaussian = gaussian_log_likelihood(noisy, noisy_validation) + validation_offset

    flow = initialise_flow(flow, noisy)
    initial: Any = flow
    may_choose_start = start == "auto" and trainable is None and may_start_jointly(flow)
    if validation_rows is not None and prepared.replicates > 1:
        validation_rows = replace(validation_rows, groups=np.arange(len(validation_rows)) // prepared.replicates)
    if may_choose_start:
        initial = whitened_start(initial, noisy, validation_rows)
        history.start_from = "columns" if initial is flow else "gaussian"
    del noisy
    options = Options(
        int(batch_size), max_epochs, patience, learning_rate, optimizer, clip, ema, trainable, prepared.offset, progress
    )
    fitted, history = train_on_rows(initial, train, validation_rows, options, history, random, key_steps, started)
    untrained = None
    if may_choose_start and validation_rows is not None and history.stop_reason != "interrupted":
        fitted, history, untrained = _compare_with_baselines(
            fitted, initial, train, validation_rows, prepared.replicates, options, history, random, key_steps, started
        )
    if validation_rows is not None and is_copy is not None:
        history.n_validation_copies = int(is_copy.sum())
        history.validation_without_copies = _log_likelihood_without_copies(
            is_copy, fitted, validation_rows, history.best_validation, validation_offset
        )
    if untrained is not None and validation_rows is not None and prepared.is_drawn:
        fitted = refit_baseline(initial, train.concatenate(validation_rows), untrained)
    result: Any = fitted
    return result, history


def _log_likelihood_without_copies(
    is_copy: np.ndarray, flow: Any, validation: Rows, log_likelihood: float, offset: float
) -> float:
    """Mean log-density of the validation rows that are no copies; NaN where all are copies.

    Where no row is a copy it is `log_likelihood`, that of all rows.
    """
    if not is_copy.any() or is_copy.all():
        return math.nan if is_copy.any() else log_likelihood
    weights = None if validation.weights is None else validation.weights[~is_copy]
    return float(np.average(log_probs_in_units(flow, validation)[~is_copy], weights=weights)) + offset


def _compare_with_baselines(
    fitted: Any,
    initial: Any,
    train: Rows,
    validation: Rows,
    replicates: int,
    options: Options,
    history: History,
    *run: Any,
) -> tuple[Any, History, Baselines | None]:
    """The fitted flow if it is clearly likelier than its baselines; else the better one, or a flow trained from it.

    A warning reports if the returned flow is below the baselines. The third result is the baselines where the returned
    flow is one of them, untrained; else None.
    """
    offset = options.offsets[1]
    try:
        log_probs = log_probs_in_units(fitted, validation)
        fitted_baselines = baselines(initial, train, validation, 0, replicates)
        baseline_log_probs = fitted_baselines.better(validation)
        if fitted_baselines.mixture is not None:
            history.mixture = float(np.average(fitted_baselines.mixture, weights=validation.weights)) + offset
        if is_likelier(log_probs, baseline_log_probs, validation):
            return fitted, history, None
        start: Any = baseline_start(initial, train, fitted_baselines)
        start_log_probs = log_probs_in_units(start, validation)
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
        return fitted, history, None
    retrained, second = start, replace(history, start_from="baseline", best_epoch=-1)
    second.start = float(np.average(start_log_probs, weights=validation.weights)) + offset
    if falls_short(log_probs, fitted_baselines, validation):
        retrained, second = _retrain(start, start_log_probs, train, validation, options, second, *run)
    if second.stop_reason == "interrupted":  # the caller must learn of it, whichever flow is returned
        history.stop_reason = "interrupted"
    is_start_as_good = not is_likelier(log_probs, start_log_probs, validation)
    if is_start_as_good or second.best_validation > history.best_validation:
        fitted, history = retrained, second
        log_probs = start_log_probs if retrained is start else log_probs_in_units(retrained, validation)
    if falls_short(log_probs, fitted_baselines, validation):
        best = float(np.average(baseline_log_probs, weights=validation.weights)) + offset
        warnings.warn(
            f"fit: the flow has {history.best_validation:.3f} nats a row on the validation rows, a Gaussian or a "
            f"mixture of normals {best:.3f}. Train longer, use a larger flow, or take the mixture (--base "
            "mixture; in Python base='mixture').",
            stacklevel=3,
        )
        return fitted, history, None
    return fitted, history, fitted_baselines if fitted is start else None


def _retrain(
    start: Any,
    start_log_probs: np.ndarray,
    train: Rows,
    validation: Rows,
    options: Options,
    history: History,
    *run: Any,
) -> tuple[Any, History]:
    """The flow trained from a baseline if it is clearly likelier, else the baseline; and the training history."""
    second = History(
        gaussian=history.gaussian, mixture=history.mixture, start_from="baseline", start=history.start,
        n_train=history.n_train, n_validation=history.n_validation,
    )  # fmt: skip
    try:
        retrained, second = train_on_rows(start, train, validation, options, second, *run)
        if is_likelier(log_probs_in_units(retrained, validation), start_log_probs, validation):
            return retrained, second
    except TrainingDiverged:  # the baseline is still good
        second.stop_reason = "diverged"
    except KeyboardInterrupt:
        second.stop_reason = "interrupted"
    second.best_epoch = -1
    return start, second


def _prepare(
    flow: AnyFlow, x: Any, context: Any, weights: Any, groups: Any, validation: Any, random: np.random.Generator, *,
    is_searched: bool,
) -> tuple[Rows, Rows | None, np.ndarray]:  # fmt: skip
    """Check and split the caller's arguments; the rows are float64 on the host.

    Returns:
        Training rows, validation rows, and for each column of an event the lattice step of repeated values, else 0.
    """
    rows = _rows_of(flow, "x", x, "context", context, weights, groups)
    if len(rows) < 2:
        raise DataError(f"expected at least 2 rows to fit, got {len(rows)} (1 sample has no spread).", "x")
    single = float_type(flatten(flow)[0]) == np.float32
    steps = np.zeros(flow.shape)
    if isinstance(flow, Flow):
        check_spread("x", rows.x, column_names(x), single)
        if is_searched:  # noise could leave the support of a flow without `Standardise`
            may_add_noise = outer_standardise(flow) is not None
            steps = repeated_steps(rows.x, column_names(x), is_filled=may_add_noise, stacklevel=4).reshape(flow.shape)
    if rows.context is not None:
        check_range("context", rows.context, column_names(context), single)
        warn_of_values(rows.context, column_names(context), single, is_context=True)
    if isinstance(validation, int | float | np.number):
        return *split(rows, float(validation), random), steps
    if groups is not None:
        raise DataError("expected none where validation rows are given, which need no split.", "groups")
    pair = validation if isinstance(validation, tuple) else (validation, None)
    validation_rows = _rows_of(flow, "validation", pair[0], "validation context", pair[1], None)
    if len(validation_rows) == 0:
        raise DataError("expected at least one row, got none. Pass 0 to train without validation.", "validation")
    check_range("validation", validation_rows.x, column_names(pair[0]), single)
    if validation_rows.context is not None:
        check_range("validation context", validation_rows.context, column_names(pair[1]), single)
    return rows, validation_rows, steps


def _rows_of(
    flow: AnyFlow, name: str, x: Any, context_name: str, context: Any, weights: Any, groups: Any = None
) -> Rows:
    events = as_rows(name, x, flow.shape)
    flow.check_samples(name, events)
    shape = flow.context_shape
    if (context is None) != (shape is None):
        expected = "none (the flow is unconditional)" if shape is None else f"shape {shape}"
        raise DataError(f"expected {expected}, got {'none' if context is None else 'one'}.", context_name)
    contexts = None if context is None or shape is None else as_rows(context_name, context, shape)
    for part, values in ((context_name, contexts), ("weights", weights)):
        if values is not None and len(values) != len(events):
            raise DataError(f"expected {len(events)} rows as {name} has, got {len(values)}.", part)
    numbers = None if groups is None else group_numbers(groups, len(events))
    if weights is not None:
        weights = as_rows("weights", weights, ())
        if (weights < 0).any() or weights.sum() <= 0:
            raise DataError("expected non-negative numbers with a positive sum.", "weights")
        rows = Rows(events, contexts, weights / weights[weights > 0].mean(), numbers)
        return rows.take(np.flatnonzero(weights > 0))
    return Rows(events, contexts, None, numbers)
