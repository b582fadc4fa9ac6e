"""The training loop of every objective: blocks of compiled steps, with validation between them."""

import functools
import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.core.fields import trainable as trainable_filter
from pushforward.errors import TrainingDiverged
from pushforward.train.blocks import Block, Blocks, Position
from pushforward.train.checkpoint import Checkpoint
from pushforward.train.checks import trained_flags
from pushforward.train.optimizer import update_rule
from pushforward.train.progress import progress_bar
from pushforward.train.recovery import Recovery
from pushforward.train.schedules import Schedule, cosine
from pushforward.train.state import TrainState, extract_flow, init_state, is_sound
from pushforward.train.step import run_steps


class Options(NamedTuple):
    """Options of training that every objective has.

    Attributes:
        learning_rate, optimizer, clip, ema, trainable, progress: as for `fit`.
        key: of the randomness of the steps.
        started: time from which the history counts seconds, by `time.perf_counter`.
        title: of the progress bar.
        checkpoint: stores the run, or None.
    """

    learning_rate: float
    optimizer: optax.GradientTransformation | None
    clip: float | None
    ema: float | None
    trainable: PyTree | None
    progress: bool
    key: PRNGKeyArray
    started: float
    title: str = ""
    checkpoint: Checkpoint | None = None


@runtime_checkable
class Objective(Protocol):
    """What a flow is trained for: a loss, the batches of its steps, and a validation value.

    Attributes:
        loss: of a batch, a part of the compiled program; see `step.Loss`.
        shared: a tree of arrays and numbers that the loss gets in every step.
        blocks: in which the steps run.
        patience: number of blocks without a better value after which training stops; None to run them all.
        history: filled in place; by the loop the lists `seconds` and `learning_rate`, the numbers `skipped_steps` and
            `restarts`, and `stop_reason`.
        advice: what to do where training diverges.
    """

    loss: Any
    shared: Any
    blocks: Blocks
    patience: int | None
    history: Any
    advice: str

    def start(self, flow: Any, trainer: "Trainer") -> float:
        """The value of the flow before training; NaN where there is none. It may compile the steps meanwhile."""

    def batches(self, block: Block) -> Iterable[tuple[Any, int]]:
        """Buffers of batches for the block, each with its number of steps."""

    def validate(self, flow: Any, mean: float) -> float:
        """Fill the history after a block; return the value to maximise, NaN where there is none.

        Args:
            flow: after the block.
            mean: of the numbers that the loss reported in the block's finite steps; NaN without such steps.
        """

    def describe(self, index: int) -> str:
        """Progress after the block of this index."""

    def failure(self) -> str | None:
        """Why the run as a whole failed, None if it did not."""


class Best(NamedTuple):
    """The flow that training returns, the index of its block (-1 for the start), and its value."""

    flow: Any
    block: int
    value: float


class Selection:
    """The flow that training returns: the one with the highest validation value.

    As long as no value is finite, and there is no early stopping, it is the last one whose steps ended finite.

    Args:
        flow, value: at the start; NaN for no value.
        patience: of the objective.
    """

    def __init__(self, flow: Any, value: float, patience: int | None) -> None:
        self.best = self.earlier = Best(flow, -1, value if math.isfinite(value) else -math.inf)
        self._patience = patience

    def consider(self, flow: Any, index: int, value: float, mean: float, state: TrainState) -> None:
        """Choose between the best so far and the flow after the block of this index.

        Args:
            flow, index, value: after the block.
            mean: of the block's finite steps; NaN without such steps.
            state: after the block.
        """
        best = self.best
        if value > best.value:
            self.best = Best(flow, index, value)
        elif best.value == -math.inf and self._patience is None:
            if is_sound(state):  # restored where no step was finite
                self.earlier = best
                self.best = Best(flow, best.block if math.isnan(mean) else index, -math.inf)
            elif math.isnan(mean) and self.earlier.block >= 0:  # these weights have no finite step, earlier ones had
                self.best = self.earlier

    def is_over(self, index: int) -> bool:
        """Whether training stops after the block of this index."""
        return self._patience is not None and index - self.best.block >= self._patience


class Trainer:
    """A flow in training: its state, and the steps that change it.

    Args:
        flow: the flow to start from.
        objective: what it is trained for.
        options: of training.
    """

    def __init__(self, flow: Any, objective: Objective, options: Options) -> None:
        self.flow, self.objective, self.options = flow, objective, options
        self.rule = update_rule(options.optimizer, options.clip, options.ema)
        chosen = trainable_filter(flow) if options.trainable is None else options.trainable
        self.partition, self.state = init_state(flow, trained_flags(flow, chosen), self.rule, options.key)
        self.recovery = Recovery(options.learning_rate, adjustable=self.rule.is_default, advice=objective.advice)
        n_steps = float(objective.blocks.n_steps)
        self.schedule = Schedule(n_steps, options.learning_rate, float(options.ema or 0.0))

    def compile_steps(self, batches: Any) -> None:
        """Compile the program for buffers of these shapes, by running no step."""
        self.state, _ = self._steps(batches, 0, self.state, self.schedule.learning_rate)
        jax.block_until_ready(self.state.bad_steps)

    def run(self, block: Block) -> float:
        """Run a block; return the mean of the reported numbers over its finite steps, NaN where there are none.

        Raises:
            TrainingDiverged: if consecutive steps failed too often.
        """
        total, n_finite = 0.0, 0
        self.schedule = self.schedule._replace(total_steps=float(self.objective.blocks.n_steps))  # it may be replanned
        for batches, n_steps in self.objective.batches(block):
            steps = functools.partial(self._steps, batches, n_steps)
            self.state, part, n_part = self.recovery.run(steps, self.state, n_steps, block.name)
            total, n_finite = total + part, n_finite + n_part
        return total / n_finite if n_finite else math.nan

    def current(self) -> Any:
        """The flow of the current weights, in arrays of its own, because steps consume those of the state."""
        return extract_flow(self.partition, self.state, self.flow)

    @property
    def learning_rate(self) -> float:
        """The learning rate at the current step; NaN with a caller's optimiser."""
        if not self.rule.is_default:
            return math.nan
        schedule = self.schedule._replace(learning_rate=self.recovery.learning_rate)
        return float(cosine(schedule, int(self.state.step), np))

    def _steps(self, batches: Any, n_steps: int, state: Any, rate: float) -> Any:
        schedule = self.schedule._replace(learning_rate=rate)
        loss, shared = self.objective.loss, self.objective.shared
        return run_steps(self.partition, self.rule, loss, state, batches, shared, n_steps, schedule)


def train(flow: Any, objective: Objective, options: Options) -> Best:
    """Train a flow; the history of the objective is filled in place.

    Args:
        flow: the flow to start from.
        objective: what it is trained for.
        options: of training.

    Raises:
        TrainingDiverged: if consecutive steps failed too often, or the objective's `failure` is not None.
    """
    trainer, history, blocks = Trainer(flow, objective, options), objective.history, objective.blocks
    rate, title = trainer.recovery.describe_rate(), options.title and f"{options.title}: "
    selection = Selection(flow, objective.start(flow, trainer), objective.patience)
    checkpoint = options.checkpoint
    position = Position() if checkpoint is None else checkpoint.load(trainer, selection)
    started = options.started if not position.index else time.perf_counter() - position.seconds
    is_over = history.stop_reason == "early stopping"
    history.stop_reason = "early stopping" if is_over else "finished"

    def describe(index: int) -> str:
        return title + objective.describe(index)

    with progress_bar(options.progress, blocks.n_blocks, describe, f"{title}first steps") as report:
        try:
            for index, block in () if is_over else blocks.since(position):
                block_started = time.perf_counter()
                mean = trainer.run(block)
                validation_started = time.perf_counter()
                history.skipped_steps, history.restarts = int(trainer.state.skipped_steps), trainer.recovery.restarts
                current = trainer.current()
                value = objective.validate(current, mean)  # an interrupt before its end leaves all lists equally long
                history.learning_rate.append(trainer.learning_rate)
                history.seconds.append(time.perf_counter() - started)
                selection.consider(current, index, value, mean, trainer.state)
                position = Position(index + 1, block.steps.stop, history.seconds[-1])
                blocks.measured(validation_started - block_started, time.perf_counter() - validation_started)
                report(index, blocks.n_blocks)
                if selection.is_over(index):
                    history.stop_reason = "early stopping"
                    break
                if checkpoint is not None and checkpoint.is_due():
                    checkpoint.save(position, trainer, selection)
            if checkpoint is not None:
                checkpoint.save(position, trainer, selection)
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    if history.stop_reason != "interrupted" and (failure := objective.failure()):
        raise TrainingDiverged(f"training diverged at {rate}: {failure}. {objective.advice}")
    return selection.best
