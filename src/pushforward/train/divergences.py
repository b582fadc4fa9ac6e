"""Distillation as an objective: samples of the teacher, and the validation loss that selects the student."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.flow import Flow
from pushforward.diagnostics.fidelity import paired_contexts
from pushforward.errors import NumericError
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.blocks import Block, blocks_of, no_finite_step
from pushforward.train.distillation_loss import DistillationLoss
from pushforward.train.history import one_line
from pushforward.train.loop import Trainer

_MOST_SAMPLES = 2048  # validation samples of either flow
_MOST_NUMBERS = 2**17  # of all validation samples together
_FEWEST_SAMPLES = 128  # even of events with many numbers


@dataclasses.dataclass
class DistillationHistory:
    """History of a distillation, one entry for each block of steps (a fiftieth of them), in nats.

    Attributes:
        reverse_kl: KL(student | teacher) on samples of the student, the same random numbers each time.
        forward_kl: KL(teacher | student) on validation samples of the teacher; nan where it is not in the loss.
        seconds: wall time since the start, compilation included.
        learning_rate: at the end of the block (nan with a caller's optimiser).
        best_block: index of the block whose weights were returned; -1 for the start.
        stop_reason: "finished" or "interrupted".
        skipped_steps: steps skipped because loss or gradient was not finite, and steps undone by a restart.
        restarts: how often consecutive steps failed, so that training restored a snapshot and halved the learning rate.
    """

    reverse_kl: list[float] = dataclasses.field(default_factory=list)
    forward_kl: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    learning_rate: list[float] = dataclasses.field(default_factory=list)
    best_block: int = -1
    stop_reason: str = "finished"
    skipped_steps: int = 0
    restarts: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return dict(vars(self))

    def __repr__(self) -> str:
        last = {name: curve[-1] if curve else math.nan for name, curve in vars(self).items() if isinstance(curve, list)}
        return one_line(
            self, blocks=len(self.seconds), best_block=self.best_block, reverse_kl=last["reverse_kl"],
            forward_kl=last["forward_kl"], seconds=last["seconds"], stop_reason=self.stop_reason,
        )  # fmt: skip


class DistillationObjective:
    """Blocks of steps on fresh samples of the teacher, and of the student in the loss.

    The value is minus the loss at its final share on validation samples, from the same random numbers after each block.

    Args:
        student: before training.
        teacher: in the units of training.
        context: the caller's contexts, or None.
        loss: the loss.
        steps: number of steps.
        forward: share of the forward divergence, at the end.
        annealing: share of the steps over which it falls from 1.
        key_validation, key_batches: of the teacher's samples for validation and for the steps.
    """

    patience = None
    advice = "Use a smaller learning_rate, or a smaller clip, or see where the teacher's log-density is not finite."

    def __init__(
        self, student: Flow, teacher: Any, context: Any, loss: DistillationLoss, *, steps: int, forward: float,
        annealing: float, key_validation: PRNGKeyArray, key_batches: PRNGKeyArray,
    ) -> None:  # fmt: skip
        self.loss, self.teacher, self.context, self.share = loss, teacher, context, forward
        self.shared = flatten(teacher)[0], (1.0 if annealing > 0 else forward, forward, float(annealing * steps))
        self.blocks, self.history = blocks_of(steps), DistillationHistory()
        self.dtype, self.key_batches = float_type(flatten(student)[0]), key_batches
        self.key_student = jax.random.fold_in(key_validation, 1)
        self.penalty = None if loss.penalty is None else jax.jit(loss.penalty)
        self.n = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, _MOST_NUMBERS // math.prod(teacher.shape)))
        self.contexts = paired_contexts(teacher, context, self.n, key_validation)
        self.count: Any = self.n if self.contexts is None else ()
        self.reverse_kl = self.forward_kl = math.nan
        self.has_forward = forward > 0 or annealing > 0
        if self.has_forward:
            self.x, log_p = teacher.sample_and_log_prob(self.count, key=key_validation, context=self.contexts)
            self.log_p = np.asarray(log_p, np.float64)

    def start(self, flow: Flow, trainer: Trainer) -> float:
        """The value of the student before training."""
        return self._value(flow)

    def batches(self, block: Block) -> Iterator[tuple[tuple[np.ndarray | None, np.ndarray | None], int]]:
        """Fresh samples of the teacher and the contexts for a block of steps, batch by batch."""
        shape = math.ceil(self.blocks.n_steps / self.blocks.n_blocks), self.loss.batch_size
        key = jax.random.fold_in(self.key_batches, block.steps.start)
        contexts = paired_contexts(self.teacher, self.context, math.prod(shape), key)
        x = samples_of(self.teacher, contexts, math.prod(shape), key) if self.has_forward else None

        def split(part: np.ndarray | None) -> np.ndarray | None:
            return None if part is None else part.reshape(*shape, *part.shape[1:]).astype(self.dtype)

        yield (split(x), split(contexts)), len(block.steps)

    def validate(self, flow: Flow, mean: float) -> float:
        """Minus the validation loss after a block."""
        value = self._value(flow)
        self.history.reverse_kl.append(self.reverse_kl)
        self.history.forward_kl.append(self.forward_kl)
        return value

    def describe(self, index: int) -> str:
        """Progress after a block."""
        forward = "" if math.isnan(self.forward_kl) else f", KL(teacher | student) {self.forward_kl:.3f}"
        return f"KL(student | teacher) {self.reverse_kl:.3f}{forward}"

    def failure(self) -> str | None:
        """No step was finite."""
        return no_finite_step(self.history, self.blocks)

    def _value(self, student: Flow) -> float:
        """Minus the loss at its final share; NaN where a density is not finite."""
        try:
            x, log_q = student.sample_and_log_prob(self.count, key=self.key_student, context=self.contexts)
            self.reverse_kl = float(np.mean(np.asarray(log_q, np.float64) - self.teacher.log_prob(x, self.contexts)))
            if self.has_forward:
                self.forward_kl = float(np.mean(self.log_p - student.log_prob(self.x, self.contexts)))
        except NumericError:
            return math.nan
        penalty, batch = 0.0, slice(self.loss.batch_size)
        if self.penalty is not None:
            penalty = float(self.penalty(x[batch], None if self.contexts is None else self.contexts[batch]))
        if self.share == 0:
            return -(self.reverse_kl + penalty)
        return -(penalty + (1 - self.share) * self.reverse_kl + self.share * self.forward_kl)


def samples_of(teacher: Any, contexts: np.ndarray | None, n: int, key: PRNGKeyArray) -> np.ndarray:
    """n samples of the teacher, one for each context if there are contexts."""
    return np.asarray(teacher.sample(n if contexts is None else (), key=key, context=contexts))
