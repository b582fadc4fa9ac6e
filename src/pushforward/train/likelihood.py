"""Maximum likelihood: fit a flow to rows of data."""

import math
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.dequantise import Dequantised
from pushforward.distribution import as_key
from pushforward.errors import DataError, TrainingDiverged
from pushforward.fields import trainable as trainable_filter
from pushforward.flow import Flow
from pushforward.programs import flatten, float_type
from pushforward.rounded import fill_cells
from pushforward.state import finalise, takes_part
from pushforward.train.batches import Batches
from pushforward.train.data import (
    Rows,
    as_rows,
    check_spread,
    column_names,
    filled,
    gaussian_nats,
    share_outside,
)
from pushforward.train.history import History
from pushforward.train.options import check_options, trained_flags
from pushforward.train.progress import progress_bar
from pushforward.train.repeats import repeated_steps
from pushforward.train.split import group_numbers, has_equal_row, held_scores, nats_without_copies, split
from pushforward.train.steps import (
    GIVE_UP,
    Course,
    Plan,
    begin,
    clipped,
    cosine,
    default_optimizer,
    kept,
    restored,
    run_steps,
    taken,
)
from pushforward.train.units import initialised, outer_standardise, restandardised, standardised, whitened

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)

_EPOCH_STEPS = 10
_TOTAL_STEPS = 6000
_TOTAL_PASSES = 300
_PATIENCE_STEPS = 1500
_LEARNING_RATE = 5e-3
_FULL_RATE_ROWS = 5000
_RESTARTS = 5


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
    offset: float | tuple[float, float] = 0.0,
    floor: float | None = None,
    is_copy: np.ndarray | None = None,
    progress: bool = True,
) -> tuple[AnyFlow, History]:
    """Maximum likelihood: maximise the weighted mean of log p(x_i | c_i) over the rows by mini-batch gradients.

    Rows are standardised on the host in float64 (the flow's `Standardise` is filled; a second fit keeps it), so
    training does not depend on the units of the data. A step whose loss or gradient is not finite is skipped and
    counted; where steps fail in a row, training goes back by a few dozen steps, with half the learning rate from there
    on, at most five times. The weights of the best epoch on held-out rows are returned; those of the start where none
    was better.

    Args:
        flow: the flow to start from, or `Dequantised` around one for whole numbers; fitting twice continues.
        x: (n, *shape): NumPy or JAX array, pandas or polars frame, or anything with DLPack.
        key: a JAX key or an int; it decides the split, the order of the rows and dropout.
        context: (n, *context_shape) for a conditional flow.
        weights: (n,) non-negative sample weights.
        groups: (n,) labels (numbers, text, anything that can be hashed; a column of a frame): rows with one label are
            all validation rows or all training rows. Groups are drawn at random until the share of rows is nearest to
            the one asked for; one of more than twice that many rows trains. By default every row is drawn by itself,
            equal rows too.
        validation: share of rows to hold out, or held-out rows: x, or (x, context) for a conditional flow, such as the
            latest of a series. 0 holds out nothing: no early stopping.
        batch_size: rows in a step (fewer when there are fewer rows).
        max_epochs: passes over the data; by default as many as make 6,000 steps, 300 passes at most. With few rows an
            epoch holds several passes, at least 10 steps.
        patience: epochs without a better held-out likelihood before training stops; by default 1,500 steps' worth.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam); by default 5e-3, times
            (n / 5000)^1.25 for fewer than 5,000 training rows, which are over-fitted within few steps.
        optimizer: any optax optimiser in the place of Adam and the schedule; its learning rate is its own.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is validated and returned, or None to use
            the weights as they are. The average is as good at the end and much calmer on the way there.
        trainable: a tree of bools like `pushforward.trainable(flow)`, to freeze parts.
        offset: nats to add to every likelihood that is told: the mean log-determinant of a map that the rows have been
            through already, if their own units are another's; two numbers for training and held-out rows.
        floor: nats of the Gaussian that is told beside the course; by default those of a full one, fitted to the rows
            as they come here.
        is_copy: (m,) bools, which validation rows have an equal training row, from a caller who has looked for repeated
            values already; by default `fit` does both.
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
    check_options(
        {"batch_size": batch_size, "max_epochs": max_epochs, "patience": patience},
        {"learning_rate": learning_rate, "clip": clip},
        ema,
    )
    key_split, key_steps = jax.random.split(as_key(key))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key_split), np.uint32))
    train, held, steps = _prepare(flow, x, context, weights, groups, validation, random, is_searched=is_copy is None)
    history = History(n_train=len(train), n_validation=0 if held is None else len(held))
    if held is not None and is_copy is None:
        is_copy = has_equal_row(held, train)
    if steps.any():
        train = replace(train, x=fill_cells(train.x, steps, random))
        held = held and replace(held, x=fill_cells(held.x, steps, random))
    seen = filled(flow, train, random)
    added, held_added = offset if isinstance(offset, tuple) else (offset, offset)
    if floor is None:
        floor = gaussian_nats(seen, seen if held is None else filled(flow, held, random))
        floor += added if held is None else held_added
    history.gaussian = floor

    flow = initialised(flow, seen)
    del seen
    inner, train, held, scaled = standardised(flow, train, held)
    added, held_added = added + scaled, held_added + scaled
    if isinstance(inner, Flow):
        share_outside(inner, whitened(inner, train.x))
    batch = min(int(batch_size), len(train))
    history.batch_size = batch
    if learning_rate is None:
        learning_rate = default_learning_rate(len(train))
    pass_steps = len(train) // batch
    passes = math.ceil(_EPOCH_STEPS / pass_steps) if pass_steps < _EPOCH_STEPS else 1
    epoch_steps = pass_steps * passes
    max_epochs = max_epochs or max(math.ceil(min(_TOTAL_STEPS, _TOTAL_PASSES * pass_steps) / epoch_steps), 3)
    patience = patience or max(math.ceil(_PATIENCE_STEPS / epoch_steps), 3)

    flags = trained_flags(inner, trainable_filter(inner) if trainable is None else trainable)
    given: Any = optimizer  # a named tuple of functions, hashable though the checker cannot know
    steps = default_optimizer(clip) if optimizer is None else clipped(given, clip)
    merge, course = begin(inner, flags, steps, flat=optimizer is None, averaged=bool(ema))
    plan = Plan(0, float(max_epochs * epoch_steps), float(learning_rate), float(ema or 0.0))

    def run(course: Course, buffer: tuple, n_steps: int, first: int) -> tuple[Course, Any]:
        key = jax.random.fold_in(key_steps, first)
        now = plan._replace(first_step=first)
        return run_steps(merge, steps, optimizer is None, bool(ema), course, buffer, n_steps, now, key)

    batches = Batches(train, batch, passes, float_type(flatten(inner)[0]))
    before, best = time.perf_counter(), inner
    with ThreadPoolExecutor(1) as beside:  # two programs, compiled at the same time
        start = None if held is None else beside.submit(_in_this_mode(_held_nats), inner, held)
        course, _ = run(course, batches.empty(), 0, 0)
        jax.block_until_ready(course.streak)
        history.start = math.nan if start is None else start.result() + held_added
    history.compile_seconds = time.perf_counter() - before
    before, since = kept(course), 0
    best_value = history.start if math.isfinite(history.start) else -math.inf
    with progress_bar(progress, max_epochs, lambda epoch: _sentence(epoch, max_epochs, history)) as report:
        try:
            for epoch in range(max_epochs):
                done, total = epoch * epoch_steps, 0.0
                for buffer, n_steps in batches.epoch(random):
                    if not int(course.streak):
                        before, since = kept(course), 0  # a copy: the loop takes the memory of what it is given
                    since += n_steps
                    course, part = run(course, buffer, n_steps, done)
                    if int(course.streak) >= GIVE_UP:
                        if history.restarts == _RESTARTS or optimizer is not None:
                            raise TrainingDiverged(
                                f"training diverged in epoch {epoch} at learning rate {plan.learning_rate:g}: "
                                f"{GIVE_UP} steps in a row had a loss or gradient that is not finite. Use a smaller "
                                "learning_rate, a smaller clip, or look at the data with pushforward.check."
                            )
                        history.restarts += 1
                        plan = plan._replace(learning_rate=plan.learning_rate / 2)
                        course, part = restored(before, since), 0.0
                    done, total = done + n_steps, total + float(part)
                skipped = int(course.skipped) - history.skipped_steps
                history.skipped_steps += skipped
                history.train.append(total / (epoch_steps - skipped) + added if skipped < epoch_steps else math.nan)
                history.learning_rate.append(float(cosine(plan, done, np)) if optimizer is None else math.nan)
                now, value = taken(merge, course, inner, bool(ema)), history.train[-1]
                if held is not None:
                    value = _held_nats(now, held) + held_added
                    history.validation.append(value)
                history.seconds.append(time.perf_counter() - started)
                if value > best_value or (held is None and math.isfinite(value)):
                    best, best_value, history.best_epoch = now, value, epoch
                report(epoch)
                if held is not None and epoch - history.best_epoch >= patience:
                    history.stop_reason = "early stopping"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    courses = [course for course in (history.train, history.validation) if course]
    if history.stop_reason != "interrupted" and not all(np.isfinite(course).any() for course in courses):
        raise TrainingDiverged(
            f"training diverged at learning rate {learning_rate:g}: no epoch of {len(history.train)} had a finite "
            "likelihood. Use a smaller learning_rate, or look at the data with pushforward.check."
        )
    fitted: Any = finalise(best)
    if held is not None and takes_part(best, "finalised"):
        _check_kept(_held_nats(fitted, held) + held_added, best_value, history)
    if held is not None and is_copy is not None:
        history.n_validation_copies = int(is_copy.sum())
        history.validation_without_copies = (
            nats_without_copies(fitted, held, is_copy) + held_added if is_copy.any() else history.best_validation
        )
    return restandardised(fitted, flow), history


def default_learning_rate(n_rows: int) -> float:
    """The peak of the cosine schedule for that many training rows: few rows are over-fitted within few steps."""
    return _LEARNING_RATE * min(1.0, n_rows / _FULL_RATE_ROWS) ** 1.25


def _check_kept(value: float, best: float, history: History) -> None:
    """Warn where the certified norms that end training cost more than a tenth of what training gained."""
    if not value >= best - max(0.05, 0.1 * abs(best - history.start)):
        warnings.warn(
            f"fit: with its certified norms the flow has {value:.3f} held-out nats, {best:.3f} with those that "
            "training followed by power iteration. Train with a smaller learning_rate, or more steps.",
            stacklevel=3,
        )


def _sentence(epoch: int, max_epochs: int, history: History) -> str:
    course = history.validation or history.train
    kind = "held-out" if history.validation else "train"
    return f"epoch {epoch + 1}/{max_epochs} {kind} {course[-1]:.3f} (Gaussian {history.gaussian:.3f})"


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
    if isinstance(validation, int | float | np.number):
        return *split(rows, float(validation), random), steps
    if groups is not None:
        raise DataError("groups: expected none where validation rows are given, for then no row is to be held out.")
    pair = validation if isinstance(validation, tuple) else (validation, None)
    held = _rows_of(flow, "validation", pair[0], "validation context", pair[1], None)
    if len(held) == 0:
        raise DataError("validation: expected at least one row, got none. Pass 0 to hold out nothing.")
    return rows, held, steps


def _rows_of(
    flow: AnyFlow, name: str, x: Any, context_name: str, context: Any, weights: Any, groups: Any = None
) -> Rows:
    events = as_rows(name, x, flow.shape)
    flow.check_rows(name, events)
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


def _in_this_mode(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function for another thread, run there with this thread's settings of JAX, which belong to a thread."""
    double, device = jax.enable_x64.value, jax.default_device.value

    def run(*args: Any) -> Any:
        with jax.enable_x64(double), jax.default_device(device):
            return fn(*args)

    return run


def _held_nats(flow: AnyFlow, held: Rows) -> float:
    """Mean log-density of held-out rows; NaN where the weights have become so wild that a finite row has none."""
    scores = held_scores(flow, held)
    return math.nan if scores is None else float(np.average(scores, weights=held.weights))
