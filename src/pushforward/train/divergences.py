"""The course of a distillation, and the held-out divergences by which students are chosen."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.flow import Flow
from pushforward.diagnostics.fidelity import paired_contexts
from pushforward.errors import NumericError

_HELD = 2048  # samples of either flow on which students are compared,
_HELD_NUMBERS = 2**17  # but fewer where they hold more numbers than this,
_FEWEST = 128  # though never less


@dataclasses.dataclass
class DistillationHistory:
    """The course of a distillation, one entry for each block of steps (a fiftieth of them). Nats.

    Attributes:
        reverse_kl: KL(student | teacher) on samples of the student, the same random numbers each time.
        forward_kl: KL(teacher | student) on held-out samples of the teacher; nan where it is no part of the loss.
        seconds: wall time since the start, compilation included.
        learning_rate: at the end of the block (nan under an optimiser of the caller's).
        best_block: index of the block whose weights were returned; -1 for the start.
        stop_reason: "finished" or "interrupted".
        skipped_steps: steps left out because loss or gradient was not finite, and steps undone by a restart.
        restarts: how often training went back, and halved its learning rate, after steps that failed in a row.
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


class HeldOut:
    """The divergences of a student from random numbers that stay the same from block to block.

    Args:
        teacher: the teacher, in the units of training.
        context: the caller's contexts, or None.
        key: of the random numbers.
        taught: whether samples of the teacher are taken.
        share: of the forward divergence, at the end.
        penalty: of a batch of samples in the units of training and of their contexts, or None.
        batch: samples for the penalty.
    """

    def __init__(
        self, teacher: Any, context: Any, key: PRNGKeyArray, taught: bool, share: float, penalty: Any, batch: int
    ) -> None:
        self.penalty, self.batch = None if penalty is None else jax.jit(penalty), batch
        self.n = min(_HELD, max(_FEWEST, _HELD_NUMBERS // math.prod(teacher.shape)))
        self.teacher, self.key, self.share = teacher, jax.random.fold_in(key, 1), share
        self.rows = paired_contexts(teacher, context, self.n, key)
        self.reverse = self.forward = math.nan
        self.real = None
        if taught:
            count: Any = self.n if self.rows is None else ()
            self.real, log_p = teacher.sample_and_log_prob(count, key=key, context=self.rows)
            self.log_p = np.asarray(log_p, np.float64)

    def value(self, student: Flow) -> float:
        """The loss at its final share; nan where a density is no number."""
        try:
            count: Any = self.n if self.rows is None else ()
            x, log_q = student.sample_and_log_prob(count, key=self.key, context=self.rows)
            self.reverse = float(np.mean(np.asarray(log_q, np.float64) - self.teacher.log_prob(x, self.rows)))
            if self.real is not None:
                self.forward = float(np.mean(self.log_p - student.log_prob(self.real, self.rows)))
        except NumericError:
            return math.nan
        extra = 0.0
        if self.penalty is not None:
            rows = None if self.rows is None else self.rows[: self.batch]
            extra = float(self.penalty(x[: self.batch], rows))
        if self.share == 0:
            return self.reverse + extra
        return extra + (1 - self.share) * self.reverse + self.share * self.forward
