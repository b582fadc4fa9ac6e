"""The compiled inner loop of distillation: divergences between student and teacher, on samples of both."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from pushforward.numerics.programs import Static, compiled, unflatten
from pushforward.train.one_step import OneStep
from pushforward.train.optimizer import loss_functions
from pushforward.train.steps import Partition, Schedule, TrainState, update

_FIX = "Use gradient='total', or an optimiser that does not search, such as optax.adam."


class DistillationLoss(NamedTuple):
    """Configuration of the loss; hashable, a part of the program.

    Attributes:
        teacher: the hashable half of the teacher.
        batch: samples a step.
        reverse: whether the reverse divergence is in the loss.
        path: whether its gradient is the path derivative, or the total one.
        one_step: the estimate by the student's one-step conditionals, or None for whole samples.
        penalty: of a batch of the student's samples in the units of training and of their contexts, or None.
    """

    teacher: Static
    batch: int
    reverse: bool
    path: bool
    one_step: OneStep | None
    penalty: Callable[[Array, Array | None], Array] | None


class Shares(NamedTuple):
    """The forward divergence's share of the loss: from `first` to `last`, linearly over `annealed` steps."""

    first: Any
    last: Any
    annealed: Any

    def at(self, step: Any) -> Array:
        """The share at a step."""
        done = jnp.where(step < self.annealed, step / jnp.maximum(self.annealed, 1e-9), 1.0)
        return self.first + (self.last - self.first) * done


@compiled(5, donate=(0,))
def run_distillation_steps(
    partition: Partition,
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    config: DistillationLoss,
    state: TrainState,
    teacher_arrays: list[Array],
    batches: tuple[Array | None, Array | None],
    n_steps: Array,
    schedule: Schedule,
    shares: Shares,
    key: PRNGKeyArray,
) -> TrainState:
    """Run `n_steps` steps over the first batches of a buffer.

    Args:
        partition, optimizer, scheduled, averaged, state, schedule: as for `steps.run_steps`.
        config: the loss.
        teacher_arrays: the arrays of the teacher. They are no constants of the program, so that one program serves all
            teachers of one structure.
        batches: samples of the teacher (S, B, *shape), or None without the forward divergence; contexts of these and of
            the student's samples (S, B, *context_shape), or None.
        n_steps: number of steps, at most S.
        shares: of the forward divergence.
        key: randomness.
    """
    teacher = unflatten(teacher_arrays, config.teacher)

    def loss(params: list[Array], frozen: list[Array], batch: Any, share: Array, key: PRNGKeyArray) -> Array:
        student, (teacher_x, context) = partition.combine(params, frozen), batch
        axis, value = None if context is None else 0, jnp.zeros(())
        if config.reverse:
            keys = jax.random.split(key, config.batch)
            frozen_student = partition.combine(*jax.lax.stop_gradient((params, frozen)))
            reverse_kl = functools.partial(_reverse_kl, config, teacher, student, frozen_student)
            divergences, x = jax.vmap(reverse_kl, (0, axis))(keys, context)
            value = (1 - share) * jnp.mean(divergences)
            if config.penalty is not None:
                value = value + config.penalty(x, context)
        if teacher_x is not None:
            log_probs = jax.vmap(lambda x, c: student.log_prob_one(x, c, None), (0, axis))(teacher_x, context)
            value = value - share * jnp.mean(log_probs)
        return value

    def step(index: Array, state: TrainState) -> TrainState:
        batch = tuple(None if part is None else part[index] for part in batches)
        share = shares.at(schedule.first_step + index).astype(state.lr_scale.dtype)
        step_key = jax.random.fold_in(key, index)
        value, gradient = jax.value_and_grad(loss)(state.params, state.frozen, batch, share, step_key)
        fix = _FIX if config.reverse and config.path and config.one_step is None else None
        functions = loss_functions(lambda params: loss(params, state.frozen, batch, share, step_key), fix)
        return update(partition, optimizer, scheduled, averaged, state, value, gradient, functions, schedule, index)[0]

    return jax.lax.fori_loop(0, n_steps, step, state)


def _reverse_kl(
    config: DistillationLoss, teacher: Any, student: Any, frozen_student: Any, key: PRNGKeyArray, context: Any
) -> tuple[Array, Array]:
    """An estimate of KL(student | teacher) from one sample, whose gradient is unbiased, and that sample."""
    if config.one_step is not None:
        return config.one_step.divergence(teacher, student, key, context)
    x, log_q = student.sample_and_log_prob_one(key, context)
    if config.path:
        log_q = frozen_student.log_prob_one(x, context, None)
    return log_q - teacher.log_prob_one(x, context, None), x
