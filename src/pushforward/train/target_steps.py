"""The compiled inner loop of fitting to a target: samples of the flow, weighted by an unnormalised log-density."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from pushforward.numerics.programs import compiled
from pushforward.train.optimizer import loss_functions
from pushforward.train.steps import Partition, Schedule, TrainState, update

_FIRST_POWER = 0.01  # the power of the target with which annealing starts: Rezende & Mohamed 2015, section 6.1
_FIX = "Use gradient='total' and forward=0, or an optimiser that does not search, such as optax.adam."


class TargetLoss(NamedTuple):
    """Configuration of the loss; hashable, a part of the program.

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


def target_power(step: Any, annealed: Any) -> Array:
    """The power of the target at a step: from 0.01 up to one, linearly over the first `annealed` steps."""
    done = jnp.where(step < annealed, step / jnp.maximum(annealed, 1e-9), 1.0)
    return _FIRST_POWER + (1 - _FIRST_POWER) * done


@compiled(5, donate=(0,))
def run_target_steps(
    partition: Partition,
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    config: TargetLoss,
    state: TrainState,
    contexts: Array | None,
    n_steps: Array,
    schedule: Schedule,
    annealed: Array,
    key: PRNGKeyArray,
) -> tuple[TrainState, Array]:
    """Run `n_steps` steps.

    Args:
        partition, optimizer, scheduled, averaged, state, schedule: as for `steps.run_steps`.
        config: the loss.
        contexts: (n, *context_shape), of which each step draws a batch, or None.
        n_steps: number of steps.
        annealed: number of steps over which the target's power rises to one.
        key: randomness.

    Returns:
        The state, and the sum over the finite steps of the evidence lower bound at the target's power.
    """

    def loss(params: list[Array], frozen: list[Array], power: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        flow = partition.combine(params, frozen)
        key_context, key_sample = jax.random.split(key)
        context = None
        if contexts is not None:
            context = contexts[jax.random.randint(key_context, (config.batch,), 0, len(contexts))]
        axis = None if context is None else 0

        def frozen_log_prob(x: Array, c: Array | None) -> Array:
            return partition.combine(*jax.lax.stop_gradient((params, frozen))).log_prob_one(x, c, None)

        def target(x: Array, c: Array | None) -> Array:
            return power * (config.log_density(x, c) if config.has_context else config.log_density(x))

        keys = jax.random.split(key_sample, config.batch)
        x, log_q = jax.vmap(flow.sample_and_log_prob_one, (0, axis))(keys, context)
        log_p = jax.vmap(target, (0, axis))(x, context)
        elbo = jnp.mean(log_p - log_q)
        value = jnp.zeros_like(elbo)
        if config.forward < 1:
            path_log_q = jax.vmap(frozen_log_prob, (0, axis))(x, context) if config.path else log_q
            value += (1 - config.forward) * jnp.mean(path_log_q - log_p)
        if config.forward > 0:
            x, log_ratio = jax.lax.stop_gradient((x, log_p - log_q))
            log_probs = jax.vmap(lambda x, c: flow.log_prob_one(x, c, None), (0, axis))(x, context)
            value -= config.forward * jnp.sum(jax.nn.softmax(log_ratio) * log_probs)
        return value, elbo

    def step(index: Array, carry: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
        state, total = carry
        power = target_power(schedule.first_step + index, annealed).astype(state.lr_scale.dtype)
        step_key = jax.random.fold_in(key, index)
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (value, elbo), gradient = value_and_grad(state.params, state.frozen, power, step_key)
        fix = _FIX if config.path or config.forward > 0 else None
        functions = loss_functions(lambda params: loss(params, state.frozen, power, step_key)[0], fix)
        state, finite = update(
            partition, optimizer, scheduled, averaged, state, value, gradient, functions, schedule, index
        )
        return state, total + jnp.where(finite, elbo, 0.0)

    start = (state, jnp.zeros((), state.lr_scale.dtype))
    return jax.lax.fori_loop(0, n_steps, step, start)
