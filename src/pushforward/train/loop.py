"""The training loop of maximum likelihood: epochs of compiled steps, with validation after each."""

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
from pushforward.train.data import Rows, warn_of_share_outside
from pushforward.train.history import History
from pushforward.train.progress import progress_bar
from pushforward.train.recovery import Recovery
from pushforward.train.steps import (
    Schedule,
    TrainState,
    cosine,
    default_optimizer,
    extract_flow,
    init_state,
    is_sound,
    run_steps,
    with_clipping,
)
from pushforward.train.units import restore_units, standardise

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)

_EPOCH_STEPS = 10
_TOTAL_STEPS = 6000
_TOTAL_PASSES = 300
_PATIENCE_STEPS = 1500
_LEARNING_RATE = 5e-3
_FULL_RATE_ROWS = 5000
_ADVICE = "Use a smaller learning_rate, a smaller clip, or look at the data with pushforward.check."


class Options(NamedTuple):
    """Options of `fit` for the training loop; `offsets` are added to training and to validation log-likelihoods."""

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
    validation: Rows | None,
    options: Options,
    history: History,
    random: np.random.Generator,
    key_steps: PRNGKeyArray,
    started: float,
) -> tuple[AnyFlow, History]:
    """The flow after training, and its history.

    Args:
        flow: the flow to start from, its frozen layers filled.
        train, validation: rows in the data's units; without validation rows there is no early stopping.
        options: of `fit`.
        history: updated in place.
        random: decides the order of the rows.
        key_steps: of the randomness inside the flow, such as dropout.
        started: time at which `fit` started, by `time.perf_counter`.

    Raises:
        TrainingDiverged: as for `fit`.
    """
    batch_size, max_epochs, patience, learning_rate, optimizer, clip, ema, trainable, offsets, progress = options
    original_validation = validation
    inner, train, validation, log_scale = standardise(flow, train, validation)
    if train.weights is not None:
        train = replace(train, weights=train.weights / train.weights.mean())
    train_offset, validation_offset = (offset + log_scale for offset in offsets)
    if isinstance(inner, Flow):
        warn_of_share_outside(inner, train.x)
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
    callers: Any = optimizer  # a named tuple of functions: hashable, but not for the type checker
    transformation = default_optimizer(clip) if optimizer is None else with_clipping(callers, clip)
    partition, state = init_state(inner, flags, transformation, flat=optimizer is None, averaged=bool(ema))
    schedule = Schedule(0, float(max_epochs * epoch_steps), float(learning_rate), float(ema or 0.0))

    def run(buffer: tuple, n_steps: int, first: int, state: TrainState, rate: float) -> tuple[TrainState, Any]:
        return run_steps(
            partition, transformation, optimizer is None, bool(ema), state, buffer, n_steps,
            schedule._replace(first_step=first, learning_rate=rate), jax.random.fold_in(key_steps, first),
        )  # fmt: skip

    batches = Batches(train, batch, passes, float_type(flatten(inner)[0]))
    compile_start, best = time.perf_counter(), inner
    with ThreadPoolExecutor(1) as executor:  # compiles two programs at the same time
        score = _with_jax_settings(_log_likelihood)
        start = None if validation is None else executor.submit(score, inner, validation)
        state, _ = run(batches.empty(), 0, 0, state, schedule.learning_rate)
        jax.block_until_ready(state.bad_steps)
        history.start = math.nan if start is None else start.result() + validation_offset
    history.compile_seconds = time.perf_counter() - compile_start
    recovery = Recovery(schedule.learning_rate, adjustable=optimizer is None, advice=_ADVICE)
    best_value = history.start if math.isfinite(history.start) else -math.inf
    with progress_bar(progress, max_epochs, lambda epoch: _describe(epoch, max_epochs, history)) as report:
        try:
            for epoch in range(max_epochs):
                step, total, n_finite = epoch * epoch_steps, 0.0, 0
                for buffer, n_steps in batches.epoch(random):
                    block_steps = functools.partial(run, buffer, n_steps, step)
                    state, block_total, block_finite = recovery.run(block_steps, state, n_steps, f"in epoch {epoch}")
                    step, total, n_finite = step + n_steps, total + block_total, n_finite + block_finite
                history.skipped_steps, history.restarts = int(state.skipped_steps), recovery.restarts
                schedule = schedule._replace(learning_rate=recovery.learning_rate)
                history.train.append(total / n_finite + train_offset if n_finite else math.nan)
                history.learning_rate.append(float(cosine(schedule, step, np)) if optimizer is None else math.nan)
                current, value = extract_flow(partition, state, inner, bool(ema)), history.train[-1]
                if validation is not None:
                    value = _log_likelihood(current, validation) + validation_offset
                    history.validation.append(value)
                history.seconds.append(time.perf_counter() - started)
                if value > best_value if validation is not None else is_sound(state) and math.isfinite(value):
                    best, best_value, history.best_epoch = current, value, epoch
                report(epoch)
                if validation is not None and epoch - history.best_epoch >= patience:
                    history.stop_reason = "early stopping"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    curves = [curve for curve in (history.train, history.validation) if curve]
    if history.stop_reason != "interrupted" and not all(np.isfinite(curve).any() for curve in curves):
        _check_support(inner, validation, original_validation)
        rate = f"learning rate {learning_rate:g}" if optimizer is None else "the learning rate of `optimizer`"
        raise TrainingDiverged(
            f"training diverged at {rate}: no epoch of {len(history.train)} had a finite likelihood. Use a smaller "
            "one, or look at the data with pushforward.check."
        )
    fitted: Any = finalise(best)
    if validation is not None and has_hook(best, "finalised"):
        _check_finalised(_log_likelihood(fitted, validation) + validation_offset, best_value, history)
    return restore_units(fitted, flow), history


def default_learning_rate(n_rows: int) -> float:
    """The peak of the cosine schedule for `n_rows` training rows: few rows are over-fitted within few steps."""
    return _LEARNING_RATE * min(1.0, n_rows / _FULL_RATE_ROWS) ** 1.25


def _check_support(flow: AnyFlow, validation: Rows | None, original: Rows | None) -> None:
    """Refuse validation rows outside the support of the initial flow, which training does not change.

    Args:
        flow: before training.
        validation: rows in its units.
        original: the same rows in the data's units, for the message.
    """
    log_probs = None if validation is None else _log_probs(flow, validation)
    if log_probs is None or original is None or not (is_outside := np.isneginf(log_probs)).any():
        return
    values = ", ".join(f"{value:g}" for value in original.x[is_outside.argmax()].ravel()[:6])
    raise DataError(
        f"validation: {int(is_outside.sum())} of {len(log_probs)} rows lie outside the support of the flow, where the "
        f"density is zero, one of them at ({values}). Drop such rows, or build the flow for a larger support."
    )


def _check_finalised(value: float, best: float, history: History) -> None:
    """Warn where the certified norms of the final flow cost more than a tenth of what training gained."""
    if not value >= best - max(0.05, 0.1 * abs(best - history.start)):
        warnings.warn(
            f"fit: with its certified norms the flow has a validation log-likelihood of {value:.3f} nats, {best:.3f} "
            "with the power iterations of training. Train with a smaller learning_rate, or more steps.",
            stacklevel=3,
        )


def _describe(epoch: int, max_epochs: int, history: History) -> str:
    curve = history.validation or history.train
    kind = "validation" if history.validation else "train"
    return f"epoch {epoch + 1}/{max_epochs} {kind} {curve[-1]:.3f} (Gaussian {history.gaussian:.3f})"


def _with_jax_settings(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs in another thread with this thread's settings of JAX, which are thread-local."""
    double, device = jax.enable_x64.value, jax.default_device.value

    def run(*args: Any) -> Any:
        with jax.enable_x64(double), jax.default_device(device):
            return fn(*args)

    return run


def _log_likelihood(flow: AnyFlow, rows: Rows) -> float:
    """Weighted mean log-density of rows; NaN where training has led to weights under which a row has none."""
    log_probs = _log_probs(flow, rows)
    return math.nan if log_probs is None else float(np.average(log_probs, weights=rows.weights))


def _log_probs(flow: AnyFlow, rows: Rows) -> np.ndarray | None:
    try:
        return np.asarray(flow.log_prob(rows.x, rows.context), np.float64)
    except NumericError:
        return None
