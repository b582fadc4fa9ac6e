"""The loop of maximum likelihood: epochs of compiled steps, validation after each, the best weights at the end."""

import functools
import math
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.core.dequantised import Dequantised
from pushforward.core.fields import trainable as trainable_filter
from pushforward.core.flow import Flow
from pushforward.core.state import finalise, has_hook
from pushforward.errors import DataError, NumericError, TrainingDiverged
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.batches import Batches
from pushforward.train.checks import trained_flags
from pushforward.train.data import Rows, share_outside
from pushforward.train.history import History
from pushforward.train.progress import progress_bar
from pushforward.train.recovery import Recovery
from pushforward.train.steps import Course, Plan, begin, clipped, cosine, default_optimizer, is_sound, run_steps, taken
from pushforward.train.units import restandardised, standardised

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)

_EPOCH_STEPS = 10
_TOTAL_STEPS = 6000
_TOTAL_PASSES = 300
_PATIENCE_STEPS = 1500
_LEARNING_RATE = 5e-3
_FULL_RATE_ROWS = 5000
_ADVICE = "Use a smaller learning_rate, a smaller clip, or look at the data with pushforward.check."


class Options(NamedTuple):
    """What the caller of `fit` chose for the training itself.

    `offsets` are the nats to add to training and to validation likelihoods.
    """

    batch_size: int
    max_epochs: int | None
    patience: int | None
    learning_rate: float | None
    optimizer: optax.GradientTransformation | None
    clip: float | None
    ema: float | None
    trainable: PyTree[bool] | None
    offsets: tuple[float, float]
    progress: bool


def train_on_rows(
    flow: AnyFlow,
    train: Rows,
    held: Rows | None,
    options: Options,
    history: History,
    random: np.random.Generator,
    key_steps: PRNGKeyArray,
    started: float,
) -> tuple[AnyFlow, History]:
    """The flow after training from where it stands, with the course of that in `history`.

    Args:
        flow: whose fixed layers are filled.
        train, held: rows in the data's units; without validation rows there is no early stopping.
        options: of `fit`.
        history: to write into.
        random: decides the order of the rows.
        key_steps: of the randomness inside the flow, such as dropout.
        started: when `fit` began, by `time.perf_counter`.

    Raises:
        TrainingDiverged: as for `fit`.
    """
    batch_size, max_epochs, patience, learning_rate, optimizer, clip, ema, trainable, offsets, progress = options
    rows_given = held
    inner, train, held, scaled = standardised(flow, train, held)
    if train.weights is not None:
        train = replace(train, weights=train.weights / train.weights.mean())
    added, held_added = (offset + scaled for offset in offsets)
    if isinstance(inner, Flow):
        share_outside(inner, train.x)
    batch = min(batch_size, len(train))
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

    def run(buffer: tuple, n_steps: int, first: int, course: Course, rate: float) -> tuple[Course, Any]:
        key = jax.random.fold_in(key_steps, first)
        now = plan._replace(first_step=first, learning_rate=rate)
        return run_steps(merge, steps, optimizer is None, bool(ema), course, buffer, n_steps, now, key)

    batches = Batches(train, batch, passes, float_type(flatten(inner)[0]))
    before, best = time.perf_counter(), inner
    with ThreadPoolExecutor(1) as beside:  # two programs, compiled at the same time
        first = None if held is None else beside.submit(_in_this_mode(_held_nats), inner, held)
        course, _ = run(batches.empty(), 0, 0, course, plan.learning_rate)
        jax.block_until_ready(course.streak)
        history.start = math.nan if first is None else first.result() + held_added
    history.compile_seconds = time.perf_counter() - before
    recovery = Recovery(plan.learning_rate, adjustable=optimizer is None, advice=_ADVICE)
    best_value = history.start if math.isfinite(history.start) else -math.inf
    with progress_bar(progress, max_epochs, lambda epoch: _sentence(epoch, max_epochs, history)) as report:
        try:
            for epoch in range(max_epochs):
                done, total, made = epoch * epoch_steps, 0.0, 0
                for buffer, n_steps in batches.epoch(random):
                    steps_here = functools.partial(run, buffer, n_steps, done)
                    course, part, finite = recovery.run(steps_here, course, n_steps, f"in epoch {epoch}")
                    done, total, made = done + n_steps, total + part, made + finite
                history.skipped_steps, history.restarts = int(course.skipped), recovery.restarts
                plan = plan._replace(learning_rate=recovery.learning_rate)
                history.train.append(total / made + added if made else math.nan)
                history.learning_rate.append(float(cosine(plan, done, np)) if optimizer is None else math.nan)
                now, value = taken(merge, course, inner, bool(ema)), history.train[-1]
                if held is not None:
                    value = _held_nats(now, held) + held_added
                    history.validation.append(value)
                history.seconds.append(time.perf_counter() - started)
                if value > best_value if held is not None else is_sound(course) and math.isfinite(value):
                    best, best_value, history.best_epoch = now, value, epoch
                report(epoch)
                if held is not None and epoch - history.best_epoch >= patience:
                    history.stop_reason = "early stopping"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    courses = [course for course in (history.train, history.validation) if course]
    if history.stop_reason != "interrupted" and not all(np.isfinite(course).any() for course in courses):
        _check_support(inner, held, rows_given)
        rate = f"learning rate {learning_rate:g}" if optimizer is None else "the learning rate of `optimizer`"
        raise TrainingDiverged(
            f"training diverged at {rate}: no epoch of {len(history.train)} had a finite likelihood. Use a smaller "
            "one, or look at the data with pushforward.check."
        )
    fitted: Any = finalise(best)
    if held is not None and has_hook(best, "finalised"):
        _check_kept(_held_nats(fitted, held) + held_added, best_value, history)
    return restandardised(fitted, flow), history


def default_learning_rate(n_rows: int) -> float:
    """The peak of the cosine schedule for that many training rows: few rows are over-fitted within few steps."""
    return _LEARNING_RATE * min(1.0, n_rows / _FULL_RATE_ROWS) ** 1.25


def _check_support(flow: AnyFlow, held: Rows | None, rows_given: Rows | None) -> None:
    """Refuse validation rows outside the support of the flow as training starts: no training would change that."""
    scores = None if held is None else _held_scores(flow, held)
    if scores is None or rows_given is None or not (outside := np.isneginf(scores)).any():
        return
    values = ", ".join(f"{value:g}" for value in rows_given.x[outside.argmax()].ravel()[:6])
    raise DataError(
        f"validation: {int(outside.sum())} of {len(scores)} rows lie outside the support of the flow, where the "
        f"density is zero, one of them at ({values}). Drop such rows, or build the flow for a larger support."
    )


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


def _in_this_mode(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function for another thread, run there with this thread's settings of JAX, which belong to a thread."""
    double, device = jax.enable_x64.value, jax.default_device.value

    def run(*args: Any) -> Any:
        with jax.enable_x64(double), jax.default_device(device):
            return fn(*args)

    return run


def _held_nats(flow: AnyFlow, held: Rows) -> float:
    """Mean log-density of held-out rows; NaN where the weights have become so wild that a finite row has none."""
    scores = _held_scores(flow, held)
    return math.nan if scores is None else float(np.average(scores, weights=held.weights))


def _held_scores(flow: AnyFlow, held: Rows) -> np.ndarray | None:
    try:
        return np.asarray(flow.log_prob(held.x, held.context), np.float64)
    except NumericError:
        return None
