"""The compiled inner loop of distillation: a student against a teacher, on the samples of both."""

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
from pushforward.train.steps import Course, Merge, Plan, advanced

_CURE = "Use gradient='total', or an optimiser that does not search, such as optax.adam."


class Lesson(NamedTuple):
    """What is minimised; hashable, a part of the program.

    Attributes:
        teacher: the hashable half of the teacher.
        batch: samples a step.
        reverse: whether the reverse divergence is in the loss.
        path: whether its gradient is the path derivative, or the total one.
        one_step: how the student's one-step conditionals are drawn and scored, or None for its samples alone.
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
    merge: Merge,
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    lesson: Lesson,
    course: Course,
    teacher_arrays: list[Array],
    rows: tuple[Array | None, Array | None],
    n_steps: Array,
    plan: Plan,
    shares: Shares,
    key: PRNGKeyArray,
) -> Course:
    """Run `n_steps` steps over the first batches of a buffer.

    Args:
        merge, optimizer, scheduled, averaged, course, plan: as for `steps.run_steps`.
        lesson: what is minimised.
        teacher_arrays: the arrays of the teacher: no constants of the program, which serves all teachers of a kind.
        rows: samples of the teacher (S, B, *shape), or None without the forward divergence; contexts of these and of
            the student's samples (S, B, *context_shape), or None.
        n_steps: number of steps, at most S.
        shares: of the forward divergence.
        key: randomness.
    """
    teacher = unflatten(teacher_arrays, lesson.teacher)

    def loss(weights: list[Array], rest: list[Array], rows: Any, share: Array, key: PRNGKeyArray) -> Array:
        student, (real, context) = merge(weights, rest), rows
        axis, value = None if context is None else 0, jnp.zeros(())
        if lesson.reverse:
            keys = jax.random.split(key, lesson.batch)
            frozen = merge(*jax.lax.stop_gradient((weights, rest)))
            reverse = functools.partial(_reverse, lesson, teacher, student, frozen)
            each, x = jax.vmap(reverse, (0, axis))(keys, context)
            value = (1 - share) * jnp.mean(each)
            if lesson.penalty is not None:
                value = value + lesson.penalty(x, context)
        if real is not None:
            scores = jax.vmap(lambda x, c: student.log_prob_one(x, c, None), (0, axis))(real, context)
            value = value - share * jnp.mean(scores)
        return value

    def step(index: Array, course: Course) -> Course:
        now = tuple(None if part is None else part[index] for part in rows)
        share = shares.at(plan.first_step + index).astype(course.caution.dtype)
        here = jax.random.fold_in(key, index)
        value, gradient = jax.value_and_grad(loss)(course.weights, course.rest, now, share, here)
        cure = _CURE if lesson.reverse and lesson.path and lesson.one_step is None else None
        again = loss_functions(lambda weights: loss(weights, course.rest, now, share, here), cure)
        return advanced(merge, optimizer, scheduled, averaged, course, value, gradient, again, plan, index)[0]

    return jax.lax.fori_loop(0, n_steps, step, course)


def _reverse(
    lesson: Lesson, teacher: Any, student: Any, frozen: Any, key: PRNGKeyArray, context: Any
) -> tuple[Array, Array]:
    """An unbiased estimate of KL(student | teacher) from one draw, as far as its gradient goes, and that draw."""
    if lesson.one_step is not None:
        return lesson.one_step.divergence(teacher, student, key, context)
    x, log_q = student.sample_and_log_prob_one(key, context)
    if lesson.path:
        log_q = frozen.log_prob_one(x, context, None)
    return log_q - teacher.log_prob_one(x, context, None), x
