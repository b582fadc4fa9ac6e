"""The loss of distillation: divergences between student and teacher, on samples of both."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.numerics.programs import Static, unflatten
from pushforward.train.one_step import OneStep
from pushforward.train.schedules import ramp
from pushforward.train.step import log_probs_of, without_gradient

_FIX = "Use gradient='total', or an optimiser that does not search, such as optax.adam."


class DistillationLoss(NamedTuple):
    """The divergences between student and teacher; hashable, a part of the program.

    Attributes:
        teacher: the hashable half of the teacher.
        batch_size: samples a step.
        reverse: whether the reverse divergence is in the loss.
        path: whether its gradient is the path derivative, or the total one.
        one_step: the estimate by the student's one-step conditionals, or None for whole samples.
        penalty: of a batch of the student's samples in the units of training and of their contexts, or None.
    """

    teacher: Static
    batch_size: int
    reverse: bool
    path: bool
    one_step: OneStep | None
    penalty: Callable[[Array, Array | None], Array] | None

    @property
    def fix(self) -> str | None:
        """What to do where an optimiser searches along the loss, but its gradient is an estimate."""
        return _FIX if self.reverse and self.path and self.one_step is None else None

    def __call__(self, flow: Any, batch: Any, shared: Any, step: Array, key: Any) -> tuple[Array, Array]:
        """The loss of a batch, which it reports with the sign changed.

        Args:
            flow: the student.
            batch: samples of the teacher (B, *shape), or None without the forward divergence; contexts of these and of
                the student's samples (B, *context_shape), or None.
            shared: the arrays of the teacher; and of the forward divergence's share the first and the last value, and
                the number of steps between them. The arrays are no constants of the program, so that one program
                serves all teachers of one structure.
            step: number of the step.
            key: of the student's samples.
        """
        (teacher_arrays, shares), (teacher_x, context) = shared, batch
        share, value = ramp(*shares, step), jnp.zeros(())
        if self.reverse:
            teacher, keys = unflatten(teacher_arrays, self.teacher), jax.random.split(key, self.batch_size)
            reverse_kl = functools.partial(_reverse_kl, self, teacher, flow, without_gradient(flow))
            divergences, x = jax.vmap(reverse_kl, (0, None if context is None else 0))(keys, context)
            value = (1 - share.astype(divergences.dtype)) * jnp.mean(divergences)
            if self.penalty is not None:
                value = value + self.penalty(x, context)
        if teacher_x is not None:
            mean = jnp.mean(log_probs_of(flow, teacher_x, context))
            value = value - share.astype(mean.dtype) * mean
        return value, -value


def _reverse_kl(
    loss: DistillationLoss, teacher: Any, student: Any, frozen_student: Any, key: PRNGKeyArray, context: Any
) -> tuple[Array, Array]:
    """An estimate of KL(student | teacher) from one sample, whose gradient is unbiased, and that sample."""
    if loss.one_step is not None:
        return loss.one_step.divergence(teacher, student, key, context)
    x, log_q = student.sample_and_log_prob_one(key, context)
    if loss.path:
        log_q = frozen_student.log_prob_one(x, context, None)
    return log_q - teacher.log_prob_one(x, context, None), x
