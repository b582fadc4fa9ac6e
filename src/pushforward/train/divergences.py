"""History of a distillation, and the validation loss that selects the student."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.flow import Flow
from pushforward.diagnostics.fidelity import paired_contexts
from pushforward.errors import NumericError

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


class ValidationLoss:
    """The loss of a student on validation samples, from random numbers that are the same after every block.

    Args:
        teacher: the teacher, in the units of training.
        context: the caller's contexts, or None.
        key: of the random numbers.
        has_forward: whether the forward divergence, on samples of the teacher, is in the loss.
        share: of the forward divergence, at the end.
        penalty: of a batch of samples in the units of training and of their contexts, or None.
        batch: samples for the penalty.

    Attributes:
        reverse, forward: the divergences of the last student; NaN where there are none.
    """

    def __init__(
        self, teacher: Any, context: Any, key: PRNGKeyArray, has_forward: bool, share: float, penalty: Any, batch: int
    ) -> None:
        self.penalty, self.batch = None if penalty is None else jax.jit(penalty), batch
        self.n = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, _MOST_NUMBERS // math.prod(teacher.shape)))
        self.teacher, self.key, self.share = teacher, jax.random.fold_in(key, 1), share
        self.context = paired_contexts(teacher, context, self.n, key)
        self.reverse = self.forward = math.nan
        self.teacher_x = None
        if has_forward:
            count: Any = self.n if self.context is None else ()
            self.teacher_x, log_p = teacher.sample_and_log_prob(count, key=key, context=self.context)
            self.log_p = np.asarray(log_p, np.float64)

    def value(self, student: Flow) -> float:
        """The loss at its final share; NaN where a density is not finite."""
        try:
            count: Any = self.n if self.context is None else ()
            x, log_q = student.sample_and_log_prob(count, key=self.key, context=self.context)
            self.reverse = float(np.mean(np.asarray(log_q, np.float64) - self.teacher.log_prob(x, self.context)))
            if self.teacher_x is not None:
                self.forward = float(np.mean(self.log_p - student.log_prob(self.teacher_x, self.context)))
        except NumericError:
            return math.nan
        penalty = 0.0
        if self.penalty is not None:
            context = None if self.context is None else self.context[: self.batch]
            penalty = float(self.penalty(x[: self.batch], context))
        if self.share == 0:
            return self.reverse + penalty
        return penalty + (1 - self.share) * self.reverse + self.share * self.forward
