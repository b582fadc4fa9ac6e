"""Maximum likelihood as an objective: epochs of shuffled batches of rows, and the validation likelihood after each."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.core.state import has_hook
from pushforward.errors import DataError, NumericError, TrainingDiverged
from pushforward.numerics.programs import flatten, float_type
from pushforward.numerics.threads import with_jax_settings
from pushforward.train.blocks import Block, Blocks, TimedBlocks
from pushforward.train.custom_loss import custom_loss
from pushforward.train.data import Rows, warn_of_share_outside
from pushforward.train.history import History
from pushforward.train.loop import Options, Trainer, train
from pushforward.train.order import Order
from pushforward.train.prepare import FitData
from pushforward.train.state import finalise_trained
from pushforward.train.units import restore_units, standardise

AnyFlow = TypeVar("AnyFlow", bound=AbstractDistribution)

_BUFFER_STEPS = 64  # batches in a buffer on the host; of one size, so that one program serves any number of rows
_EPOCH_STEPS = 10
_TOTAL_STEPS = 6000
_TOTAL_PASSES = 300
_PATIENCE_STEPS = 1500
_TIMED_PATIENCE = 20  # of about 50 blocks
_LEARNING_RATE = 5e-3
FEW_ROWS = 5000
_BATCH, _FEW_BATCH = 256, 64  # rows in a step, and where there are few


class Epochs(NamedTuple):
    """Batches, epochs and patience, as for `fit` (None for the defaults); what decides the order of the rows.

    `deadline` is the end of a run with `max_seconds`, by `time.perf_counter`; `stop` ends it after so many epochs, at
    the learning rate that the schedule has there.
    """

    batch_size: int | None
    max_epochs: int | None
    patience: int | None
    random: np.random.Generator
    deadline: float | None = None
    stop: int | None = None

    def batch(self, n_rows: int) -> int:
        """Rows in a step, for so many training rows."""
        size = self.batch_size or (_FEW_BATCH if n_rows < FEW_ROWS else _BATCH)
        return min(size, n_rows)

    def plan(self, n_rows: int) -> tuple[int, int]:
        """The number of steps of an epoch over so many rows, and the number of epochs."""
        pass_steps = n_rows // self.batch(n_rows)
        size = pass_steps * (math.ceil(_EPOCH_STEPS / pass_steps) if pass_steps < _EPOCH_STEPS else 1)
        total = min(_TOTAL_STEPS, _TOTAL_PASSES * pass_steps)
        return size, self.max_epochs or max(math.ceil(total / size), 3)


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """A generator on the host, seeded by a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key), np.uint32))


def default_learning_rate(n_rows: int) -> float:
    """The peak of the cosine schedule for `n_rows` training rows: few rows are over-fitted within few steps."""
    return _LEARNING_RATE * min(1.0, n_rows / FEW_ROWS) ** 1.25


def train_on_rows(
    flow: AnyFlow,
    history: History,
    data: FitData,
    epochs: Epochs,
    options: Options,
    title: str = "",
    loss: Callable[..., Any] | None = None,
) -> tuple[AnyFlow, History]:
    """The flow after training, and its history.

    Args:
        flow: the flow to start from, its frozen layers filled.
        history: updated in place.
        data: rows in the data's units; without validation rows there is no early stopping.
        epochs, options: of `fit`.
        title: of the progress bar.
        loss: the caller's, instead of minus the log-likelihood.

    Raises:
        TrainingDiverged: as for `fit`.
        DataError: instead, where rows are outside the flow's support.
    """
    objective = LikelihoodObjective(flow, data, epochs, history, loss)
    if isinstance(flow, Flow) and loss is None:
        warn_of_share_outside(objective.flow, objective.parts[0], stacklevel=3)
    try:
        stage = "all_rows" if epochs.stop else "from_baseline" if history.start_from == "baseline" else "first"
        checkpoint = options.checkpoint and options.checkpoint.stage(stage)
        best = train(objective.flow, objective, options._replace(title=title, checkpoint=checkpoint))
    except TrainingDiverged:
        if loss is None:
            x, context, _ = objective.parts
            _check_support(objective.flow, Rows(x, context, None), data.train, "x")
        raise
    history.best_epoch = best.block
    fitted: Any = finalise_trained(best.flow, options.trainable)
    if objective.validation is not None and has_hook(best.flow, "finalised"):
        check_finalised(objective.log_likelihood(fitted), best.value, history)
    return restore_units(fitted, flow), history


def negative_log_likelihood(flow: Any, batch: Any, shared: None, step: Array, key: Any) -> tuple[Array, Array]:
    """The loss: minus the weighted mean log-density of a batch. It reports the mean log-density."""
    x, context, weights = batch
    log_probs = jax.vmap(flow.log_prob_one, (0, None if context is None else 0, 0))(
        x, context, jax.random.split(key, len(x))
    )
    value = -jnp.mean(log_probs if weights is None else weights * log_probs)
    return value, -value


class LikelihoodObjective:
    """Epochs of shuffled batches; the value is the validation likelihood, or minus the validation loss.

    Args:
        flow: before training, its frozen layers filled.
        data: rows in the data's units.
        epochs: batches and epochs.
        history: filled in place.
        loss: the caller's, which gets rows in the data's units, or None for minus the log-likelihood.

    Attributes:
        flow, validation: the flow and the validation rows in the units of training.
        buffer_steps: number of batches in a buffer.
    """

    shared = None
    advice = "Use a smaller learning_rate, a smaller clip, or look at the data with pushforward.check."

    def __init__(
        self, flow: Any, data: FitData, epochs: Epochs, history: History, loss: Callable[..., Any] | None = None
    ) -> None:
        self.flow, rows, self.validation, *log_dets = standardise(flow, data.train, data.validation)
        self.data, self.history = data, history
        self.offsets: tuple[float, ...] = tuple(
            offset + (0.0 if split is None else float(np.average(part, weights=split.weights)))
            for offset, part, split in zip(data.offsets, log_dets, (data.train, data.validation), strict=True)
        )
        self.loss, self.custom_loss = negative_log_likelihood, None
        if loss is not None:
            self.flow, rows, self.validation, self.offsets = flow, data.train, data.validation, (0.0, 0.0)
            self.loss = self.custom_loss = custom_loss(loss, flow, rows, epochs.batch(len(rows)))
        self.n_rows, self.batch_size = len(rows), epochs.batch(len(rows))
        self.buffer_steps, self.order = _BUFFER_STEPS, self.order_of(epochs.random)
        size, n_epochs = epochs.plan(self.n_rows)
        if epochs.deadline is None:
            self.blocks = Blocks(size * n_epochs, n_epochs, "in epoch {index}", epochs.stop)
            patience = epochs.patience or max(math.ceil(_PATIENCE_STEPS / size), 3)
        else:
            passes = _TOTAL_PASSES * (self.n_rows // self.batch_size)
            most = size * epochs.max_epochs if epochs.max_epochs else max(passes, 3 * size)
            self.blocks = TimedBlocks(epochs.deadline, most)
            patience = epochs.patience or _TIMED_PATIENCE
        self.patience = None if self.validation is None else patience
        dtype, history.batch_size = float_type(flatten(self.flow)[0]), self.batch_size
        parts = (rows.x, rows.context, None if rows.weights is None else rows.weights / rows.weights.mean())
        self.parts: tuple[Any, ...] = tuple(None if part is None else part.astype(dtype) for part in parts)

    def start(self, flow: AnyFlow, trainer: Trainer) -> float:
        """The value before training; meanwhile the steps compile."""
        compile_start = time.perf_counter()
        with ThreadPoolExecutor(1) as executor:  # compiles two programs at the same time
            value = executor.submit(with_jax_settings(self.log_likelihood), flow)
            trainer.compile_steps(self.empty_buffer())
            self.history.start = value.result()
        self.history.compile_seconds = time.perf_counter() - compile_start
        return self.history.start

    def batches(self, block: Block, order: Order | None = None) -> Iterator[tuple[tuple[np.ndarray | None, ...], int]]:
        """Buffers of batches, in this order or the objective's own, each with the number of its filled batches."""
        batches = (order or self.order).take(len(block.steps))
        for start in range(0, len(batches), self.buffer_steps):
            index, buffer = batches[start : start + self.buffer_steps], self.empty_buffer()
            for target, part in zip(buffer, self.parts, strict=True):
                if target is not None and part is not None:
                    target[: len(index)] = part[index]
            yield buffer, len(index)

    def order_of(self, random: np.random.Generator) -> Order:
        """An order of the rows."""
        return Order(self.n_rows, self.batch_size, random)

    def validate(self, flow: AnyFlow, mean: float) -> float:
        """The value after an epoch."""
        value = self.log_likelihood(flow)  # before either list grows: an interrupt leaves both equally long
        self.history.train.append(mean + self.offsets[0])
        if self.validation is not None:
            self.history.validation.append(value)
        return value

    def describe(self, index: int) -> str:
        """Progress after an epoch."""
        history, kind = self.history, "train" if self.validation is None else "validation"
        value, position = (history.validation or history.train)[-1], f"{index + 1}/{self.blocks.n_blocks}"
        if self.custom_loss is not None:
            return f"{self.blocks.unit} {position} {kind} loss {-value:.4g}"
        return f"{self.blocks.unit} {position} {kind} {value:.3f} (Gaussian {history.gaussian:.3f})"

    def failure(self) -> str | None:
        """No epoch had a finite likelihood; an error where validation rows are outside the flow's support."""
        curves = [curve for curve in (self.history.train, self.history.validation) if curve]
        if all(np.isfinite(curve).any() for curve in curves):
            return None
        if self.custom_loss is not None:
            return f"no epoch of {len(self.history.train)} had a finite loss"
        if self.validation is not None and self.data.validation is not None:
            _check_support(self.flow, self.validation, self.data.validation, "validation")
        return f"no epoch of {len(self.history.train)} had a finite likelihood"

    def log_likelihood(self, flow: AnyFlow) -> float:
        """The log-likelihood of the validation rows in the data's units, or minus their loss; NaN without such rows."""
        if self.validation is None:
            return math.nan
        if self.custom_loss is not None:
            return -self.custom_loss.mean(flow, self.validation, self.batch_size)
        return _log_likelihood(flow, self.validation) + self.offsets[1]

    def empty_buffer(self) -> tuple[np.ndarray | None, ...]:
        """Zeros (S, B, ...) for events, contexts and weights, None for those that are missing."""
        return tuple(
            None if part is None else np.zeros((self.buffer_steps, self.batch_size, *part.shape[1:]), part.dtype)
            for part in self.parts
        )


def _check_support(flow: AnyFlow, rows: Rows, original: Rows, argument: str) -> None:
    """Refuse rows outside the support of the initial flow, which training does not change.

    Args:
        flow: before training.
        rows: in its units.
        original: the same rows in the data's units, for the message.
        argument: of `fit` that holds them.
    """
    log_probs = log_probs_or_none(flow, rows)
    if log_probs is None or not (is_outside := np.isneginf(log_probs)).any():
        return
    values = ", ".join(f"{value:g}" for value in original.x[is_outside.argmax()].ravel()[:6])
    raise DataError(
        f"{int(is_outside.sum())} of {len(log_probs)} rows lie outside the support of the flow, where the "
        f"density is zero, one of them at ({values}). Drop such rows, or build the flow for a larger support.",
        argument,
    )


def check_finalised(value: float, best: float, history: History) -> None:
    """Warn where the certified norms of the final flow cost more than a tenth of what training gained."""
    if not value >= best - max(0.05, 0.1 * abs(best - history.start)):
        warnings.warn(
            f"fit: with its certified norms the flow has a validation log-likelihood of {value:.3f} nats, {best:.3f} "
            "with the power iterations of training. Train with a smaller learning_rate, or more steps.",
            stacklevel=3,
        )


def _log_likelihood(flow: AnyFlow, rows: Rows) -> float:
    """Weighted mean log-density of rows; NaN where training has led to weights under which a row has none."""
    log_probs = log_probs_or_none(flow, rows)
    return math.nan if log_probs is None else float(np.average(log_probs, weights=rows.weights))


def log_probs_or_none(flow: Any, rows: Rows) -> np.ndarray | None:
    """Log-densities (n,) of rows; None where a row has none under these weights."""
    try:
        return np.asarray(flow.log_prob(rows.x, rows.context), np.float64)
    except NumericError:
        return None
