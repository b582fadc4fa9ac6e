"""The compiled inner loop of fitting to a target: samples of the flow, weighed by an unnormalised log-density."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from pushforward.numerics.programs import compiled
from pushforward.train.optimizer import loss_functions
from pushforward.train.steps import Course, Merge, Plan, advanced

_COLDEST = 0.01  # the power of the target with which annealing starts: Rezende & Mohamed 2015, section 6.1
_CURE = "Use gradient='total' and forward=0, or an optimiser that does not search, such as optax.adam."


class Aim(NamedTuple):
    """What is minimised; hashable, a part of the program.

    Attributes:
        log_density: of one sample, or of a sample and a context.
        batch: samples a step.
        has_context: whether log_density takes a context.
        path: whether the gradient of the reverse divergence is the path derivative, or the total one.
        forward: share of the forward divergence in the loss, from 0 to 1.
    """

    log_density: Callable[..., Array]
    batch: int
    has_context: bool
    path: bool
    forward: float


def tempered(step: Any, annealed: Any) -> Array:
    """The power of the target at a step: from 0.01 up to one, linearly over the first `annealed` steps."""
    done = jnp.where(step < annealed, step / jnp.maximum(annealed, 1e-9), 1.0)
    return _COLDEST + (1 - _COLDEST) * done


@compiled(5, donate=(0,))
def run_target_steps(
    merge: Merge,
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    aim: Aim,
    course: Course,
    contexts: Array | None,
    n_steps: Array,
    plan: Plan,
    annealed: Array,
    key: PRNGKeyArray,
) -> tuple[Course, Array]:
    """Run `n_steps` steps.

    Args:
        merge, optimizer, scheduled, averaged, course, plan: as for `steps.run_steps`.
        aim: what is minimised.
        contexts: (n, *context_shape), of which each step draws a batch, or None.
        n_steps: number of steps.
        annealed: number of steps over which the target's power rises to one.
        key: randomness.

    Returns:
        The course, and the sum over the finite steps of the evidence lower bound at the target's power.
    """

    def loss(weights: list[Array], rest: list[Array], power: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        flow = merge(weights, rest)
        key_context, key_draw = jax.random.split(key)
        rows = None
        if contexts is not None:
            rows = contexts[jax.random.randint(key_context, (aim.batch,), 0, len(contexts))]
        axis = None if rows is None else 0

        def frozen_score(x: Array, c: Array | None) -> Array:
            return merge(*jax.lax.stop_gradient((weights, rest))).log_prob_one(x, c, None)

        def target(x: Array, c: Array | None) -> Array:
            return power * (aim.log_density(x, c) if aim.has_context else aim.log_density(x))

        keys = jax.random.split(key_draw, aim.batch)
        x, log_q = jax.vmap(flow.sample_and_log_prob_one, (0, axis))(keys, rows)
        log_p = jax.vmap(target, (0, axis))(x, rows)
        bound = jnp.mean(log_p - log_q)
        value = jnp.zeros_like(bound)
        if aim.forward < 1:
            by_path = jax.vmap(frozen_score, (0, axis))(x, rows) if aim.path else log_q
            value += (1 - aim.forward) * jnp.mean(by_path - log_p)
        if aim.forward > 0:
            x, log_ratio = jax.lax.stop_gradient((x, log_p - log_q))
            scores = jax.vmap(lambda x, c: flow.log_prob_one(x, c, None), (0, axis))(x, rows)
            value -= aim.forward * jnp.sum(jax.nn.softmax(log_ratio) * scores)
        return value, bound

    def step(index: Array, state: tuple[Course, Array]) -> tuple[Course, Array]:
        course, total = state
        power = tempered(plan.first_step + index, annealed).astype(course.caution.dtype)
        here = jax.random.fold_in(key, index)
        differ = jax.value_and_grad(loss, has_aux=True)
        (value, bound), gradient = differ(course.weights, course.rest, power, here)
        cure = _CURE if aim.path or aim.forward > 0 else None
        again = loss_functions(lambda weights: loss(weights, course.rest, power, here)[0], cure)
        course, finite = advanced(merge, optimizer, scheduled, averaged, course, value, gradient, again, plan, index)
        return course, total + jnp.where(finite, bound, 0.0)

    start = (course, jnp.zeros((), course.caution.dtype))
    return jax.lax.fori_loop(0, n_steps, step, start)
