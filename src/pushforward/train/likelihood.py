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
    CompiledModule,
    Rows,
    as_rows,
    check_spread,
    column_names,
    filled,
    gaussian_log_likelihood,
)
from pushforward.train.history import History
from pushforward.train.loop import Options, train_on_rows
from pushforward.train.ranges import check_range, warn_of_values
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, split
from pushforward.train.start import (
    Baselines,
    baseline_of,
    baseline_start,
    baselines,
    falls_short,
    is_likelier,
    may_start_jointly,
    whitened_start,
)
from pushforward.train.units import initialised, outer_standardise, scores_in_units

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
    prepared: CompiledModule | None = None,
    progress: bool = True,
) -> tuple[AnyFlow, History]:
    """Maximum likelihood: maximise the weighted mean of log p(x_i | c_i) over the rows by mini-batch gradients.

    Rows are standardised on the host in float64 (the flow's `Standardise` is filled; a second fit keeps it), so
    training does not depend on the units of the data. A step whose loss or gradient is not finite is skipped and
    counted; where steps fail in a row, training goes back, by up to 130 steps, with half the learning rate from there
    on, at most five times. The weights of the best epoch on held-out rows are returned; those of the start where none
    was better.

    Args:
        flow: the flow to start from, or `Dequantised` around one for whole numbers; fitting twice continues.
        x: (n, *shape): NumPy or JAX array, pandas or polars frame, or anything with DLPack.
        key: a JAX key or an int; it decides the split, the order of the rows and dropout.
        context: (n, *context_shape) for a conditional flow.
        weights: (n,) non-negative sample weights.
        groups: (n,) labels (numbers, text, anything that can be hashed; a column of a frame): rows with one label are
            all validation rows or all training rows. Groups are visited in random order, each held out if that brings
            the share of rows nearer to the one asked for; one of twice that many rows or more trains. By default every
            row is drawn by itself, equal rows too.
        validation: share of rows to hold out, or held-out rows: x, or (x, context) for a conditional flow, such as the
            latest of a series. 0 holds out nothing: no early stopping.
        batch_size: rows in a step (fewer when there are fewer rows).
        max_epochs: passes over the data; by default as many as make 6,000 steps, 300 passes at most. With few rows an
            epoch holds several passes, at least 10 steps.
        patience: epochs without a better held-out likelihood before training stops; by default 1,500 steps' worth.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam); by default 5e-3, times
            (n / 5000)^1.25 for fewer than 5,000 training rows, which are over-fitted within few steps.
        optimizer: any optax optimiser in the place of Adam and the schedule; its learning rate is its own. One that
            asks for `value` gets the loss of the step: the batch's mean negative log-likelihood in nats, in the units
            of training, where the columns are standardised; it may be negative. One that searches along the loss
            (L-BFGS) searches on the same batch; a large batch_size and `clip=None` suit it.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is validated and returned, or None to use
            the weights as they are. The average is as good at the end and much calmer on the way there.
        trainable: a tree of bools like `pushforward.trainable(flow)`, to freeze parts; with one, `start` is "given".
        start: "auto" lets `fit` choose where training starts, for recipes of vectors over a standard normal base with
            `whiten` not False. Where the others and the context leave less than a tenth of a column's variance, the
            columns get a `Whiten` (and a `LinearRegression` on the context) if the Gaussian is then likelier on the
            validation rows by more than a standard error (on the training rows, where nothing validates). A flow that
            ends below a full Gaussian or a mixture of normals (its size by the BIC) by more than a standard error and
            0.01 nats is trained again from that baseline: the mixture becomes its base. Of a flow and a baseline that
            differ by less the baseline is returned, fitted again to all rows if `validation` is a share of them.
            "given" trains the flow as it is.
        prepared: of a caller that has split and mapped the rows itself, as `fit_columns` does.
        progress: show the course (a bar with rich, else a line).

    A warning names the columns whose values repeat, for a density has no bound there: those in which more than 5 % of
    the rows, and more than three, repeat a value that about one row in a thousand has, or more. Where such values lie
    on a lattice, as rounded ones and whole numbers do, the rows are fitted with uniform noise over a step (not where
    the outermost layer of the flow gives it a support of its own); the history's likelihoods are of the noisy rows.

    Returns:
        The fitted flow, and its `History`. Ctrl-C returns the best weights so far.

    Raises:
        DataError: NaN or infinite values, constant or linearly dependent columns (none of which matters to whole
            numbers), values that are no levels, too few rows.
        ShapeError: if shapes do not fit the flow.
        ValueError: if an option is out of range, an array of the flow has 16 bits, or `optimizer` does not fit.
        TrainingDiverged: if steps fail again and again; names the epoch and the learning rate.

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
    done = CompiledModule(is_drawn=is_drawn) if prepared is None else prepared
    is_copy, (added, held_added) = done.is_copy, done.offset
    train, held, steps = _prepare(flow, x, context, weights, groups, validation, random, is_searched=is_copy is None)
    history = History(n_train=len(train), n_validation=0 if held is None else len(held))
    if held is not None and is_copy is None:
        is_copy = has_equal_row(held, train)
    if steps.any():
        train = replace(train, x=dequantise(train.x, steps, None, random))
        held = held and replace(held, x=dequantise(held.x, steps, None, random))
    seen = filled(flow, train, random)
    if (floor := done.floor) is None:
        floor = gaussian_log_likelihood(seen, seen if held is None else filled(flow, held, random))
        floor += added if held is None else held_added
    history.gaussian = floor

    flow = initialised(flow, seen)
    begun: Any = flow
    chooses = start == "auto" and trainable is None and may_start_jointly(flow)
    if held is not None and done.replicates > 1:
        held = replace(held, groups=np.arange(len(held)) // done.replicates)
    if chooses:
        begun = whitened_start(begun, seen, held)
        history.start_from = "columns" if begun is flow else "gaussian"
    del seen
    options = Options(
        int(batch_size), max_epochs, patience, learning_rate, optimizer, clip, ema, trainable, (added, held_added),
        progress,
    )  # fmt: skip
    fitted, history = train_on_rows(begun, train, held, options, history, random, key_steps, started)
    untrained = None
    if chooses and held is not None and history.stop_reason != "interrupted":
        fitted, history, untrained = _no_worse_than_baselines(
            fitted, begun, train, held, done.replicates, options, history, random, key_steps, started
        )
    if held is not None and is_copy is not None:
        history.n_validation_copies = int(is_copy.sum())
        history.validation_without_copies = _nats_without(is_copy, fitted, held, history.best_validation, held_added)
    if untrained is not None and held is not None and done.is_drawn:
        fitted = baseline_of(begun, train.joined(held), untrained)
    result: Any = fitted
    return result, history


def _nats_without(is_copy: np.ndarray, flow: Any, held: Rows, nats: float, added: float) -> float:
    """Mean log-density of the validation rows that are no copies; `nats`, that of all rows, where none is, NaN where
    all are."""
    if not is_copy.any() or is_copy.all():
        return math.nan if is_copy.any() else nats
    weights = None if held.weights is None else held.weights[~is_copy]
    return float(np.average(scores_in_units(flow, held)[~is_copy], weights=weights)) + added


def _no_worse_than_baselines(
    fitted: Any, flow: Any, train: Rows, held: Rows, replicates: int, options: Options, history: History, *run: Any
) -> tuple[Any, History, Baselines | None]:
    """The flow where it is clearly likelier than its baselines; else the better of these, trained on if that helps.

    A warning says if what is returned is below the baselines. With it come the baselines if it is one, untrained.
    """
    added = options.offsets[1]
    try:
        scores = scores_in_units(fitted, held)
        found = baselines(flow, train, held, 0, replicates)
        if found.mixture is not None:
            history.mixture = float(np.average(found.mixture, weights=held.weights)) + added
        if is_likelier(scores, found.better(held), held):
            return fitted, history, None
        start: Any = baseline_start(flow, train, found)
        start_scores = scores_in_units(start, held)
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
        return fitted, history, None
    again, second = start, replace(history, start_from="baseline", best_epoch=-1)
    second.start = float(np.average(start_scores, weights=held.weights)) + added
    if falls_short(scores, found, held):
        again, second = _trained_again(start, start_scores, train, held, options, second, *run)
    if second.stop_reason == "interrupted":  # whichever flow is returned, its caller is to know
        history.stop_reason = "interrupted"
    if not is_likelier(scores, start_scores, held) or second.best_validation > history.best_validation:
        fitted, history, scores = again, second, start_scores if again is start else scores_in_units(again, held)
    if falls_short(scores, found, held):
        best = float(np.average(found.better(held), weights=held.weights)) + added
        warnings.warn(
            f"fit: the flow has {history.best_validation:.3f} nats a row on the validation rows, a Gaussian or a "
            f"mixture of normals {best:.3f}. Train longer, use a larger flow, or take the mixture (--base "
            "mixture; in Python base='mixture').",
            stacklevel=3,
        )
        return fitted, history, None
    return fitted, history, found if fitted is start else None


def _trained_again(
    start: Any, start_scores: np.ndarray, train: Rows, held: Rows, options: Options, history: History, *run: Any
) -> tuple[Any, History]:
    """The flow trained from a baseline where that is clearly likelier, else the baseline as it is; and the course."""
    second = History(
        gaussian=history.gaussian, mixture=history.mixture, start_from="baseline", start=history.start,
        n_train=history.n_train, n_validation=history.n_validation,
    )  # fmt: skip
    try:
        again, second = train_on_rows(start, train, held, options, second, *run)
        if is_likelier(scores_in_units(again, held), start_scores, held):
            return again, second
    except TrainingDiverged:  # the first flow and the baseline are both good
        second.stop_reason = "diverged"
    except KeyboardInterrupt:
        second.stop_reason = "interrupted"
    second.best_epoch = -1
    return start, second


def _prepare(
    flow: AnyFlow, x: Any, context: Any, weights: Any, groups: Any, validation: Any, random: np.random.Generator, *,
    is_searched: bool,
) -> tuple[Rows, Rows | None, np.ndarray]:  # fmt: skip
    """Check everything the caller gave and split it; float64 on the host from here on.

    With the rows come the steps of values that repeat on a lattice, of the shape of an event; 0 for all others.
    """
    rows = _rows_of(flow, "x", x, "context", context, weights, groups)
    if len(rows) < 2:
        raise DataError(f"x: expected at least 2 rows to fit, got {len(rows)} (1 sample has no spread).")
    single = float_type(flatten(flow)[0]) == np.float32
    steps = np.zeros(flow.shape)
    if isinstance(flow, Flow):
        check_spread("x", rows.x, column_names(x), single)
        if is_searched:  # noise could lead out of a support that a flow has of its own
            is_line = outer_standardise(flow) is not None
            steps = repeated_steps(rows.x, column_names(x), is_filled=is_line, stacklevel=4).reshape(flow.shape)
    if rows.context is not None:
        check_range("context", rows.context, column_names(context), single)
        warn_of_values(rows.context, column_names(context), single, is_context=True)
    if isinstance(validation, int | float | np.number):
        return *split(rows, float(validation), random), steps
    if groups is not None:
        raise DataError("groups: expected none where validation rows are given, for then no row is to be held out.")
    pair = validation if isinstance(validation, tuple) else (validation, None)
    held = _rows_of(flow, "validation", pair[0], "validation context", pair[1], None)
    if len(held) == 0:
        raise DataError("validation: expected at least one row, got none. Pass 0 to hold out nothing.")
    check_range("validation", held.x, column_names(pair[0]), single)
    if held.context is not None:
        check_range("validation context", held.context, column_names(pair[1]), single)
    return rows, held, steps


def _rows_of(
    flow: AnyFlow, name: str, x: Any, context_name: str, context: Any, weights: Any, groups: Any = None
) -> Rows:
    events = as_rows(name, x, flow.shape)
    flow.check_samples(name, events)
    shape = flow.context_shape
    if (context is None) != (shape is None):
        expected = "none (the flow is unconditional)" if shape is None else f"shape {shape}"
        raise DataError(f"{context_name}: expected {expected}, got {'none' if context is None else 'one'}.")
    contexts = None if context is None or shape is None else as_rows(context_name, context, shape)
    for part, values in ((context_name, contexts), ("weights", weights)):
        if values is not None and len(values) != len(events):
            raise DataError(f"{part}: expected {len(events)} rows as {name} has, got {len(values)}.")
    numbers = None if groups is None else group_numbers(groups, len(events))
    if weights is not None:
        weights = as_rows("weights", weights, ())
        if (weights < 0).any() or weights.sum() <= 0:
            raise DataError("weights: expected non-negative numbers with a positive sum.")
        rows = Rows(events, contexts, weights / weights[weights > 0].mean(), numbers)
        return rows.take(np.flatnonzero(weights > 0))
    return Rows(events, contexts, None, numbers)
