"""The steps of an ensemble: those of a single flow, mapped over the stacked states of the members."""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.numerics.arrays import on_device
from pushforward.numerics.programs import compiled
from pushforward.train.schedules import Schedule
from pushforward.train.state import Partition, TrainState, is_key
from pushforward.train.step import run_steps


@compiled(4, donate=(0,))
def run_members(
    in_sequence: bool,
    partition: Partition,
    rule: Any,
    loss: Any,
    states: TrainState,
    batches: Any,
    shared: Any,
    n_steps: Array,
    schedules: Schedule,
) -> tuple[TrainState, Array]:
    """`run_steps` for stacked states, batches (n, S, ...), numbers of steps (n,) and learning rates (n,).

    Args:
        in_sequence: whether members take their steps one after another, which suits a CPU; else all at once,
            and then every number of steps is 0 or the largest.
        partition, rule, loss, shared: as for `run_steps`, the same for all members.
        states, batches, n_steps, schedules: the others, of each member.
    """
    steps = inspect.unwrap(run_steps)

    def run(state: TrainState, batches: Any, n: Array, rate: Array) -> tuple[TrainState, Array]:
        return steps(partition, rule, loss, state, batches, shared, n, schedules._replace(learning_rate=rate))

    rates = schedules.learning_rate
    if in_sequence:
        return jax.lax.map(lambda args: run(*args), (states, batches, n_steps, rates))
    new, totals = jax.vmap(run, (0, 0, None, 0))(states, batches, jnp.max(n_steps), rates)
    is_active = n_steps > 0

    def select(new: Array, old: Array) -> Array:
        return old if is_key(old) else jnp.where(is_active.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(select, new, states), jnp.where(is_active, totals, 0.0)


def stack_states(states: Sequence[TrainState]) -> Any:
    """States stacked leaf by leaf, on the host."""

    def stacked(*leaves: Any) -> Any:
        if not is_key(leaves[0]):
            return on_device(np.stack([np.asarray(leaf) for leaf in leaves]))
        data = on_device(np.stack([np.asarray(jax.random.key_data(leaf)) for leaf in leaves]))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaves[0]))

    return jax.tree.map(stacked, *states)


def unstack_states(states: TrainState) -> list[TrainState]:
    """The states that `stack_states` has stacked, copied to the host, without their keys."""
    no_key: Any = None
    leaves = jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.array(leaf), states._replace(key=no_key))
    return [jax.tree.map(lambda leaf, k=k: leaf[k, ...], leaves) for k in range(len(leaves.step))]
