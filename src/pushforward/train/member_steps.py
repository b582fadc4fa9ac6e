"""The steps of an ensemble: those of a single flow, for every member that is still trained."""

import inspect
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.numerics.programs import compiled
from pushforward.numerics.threads import with_jax_settings
from pushforward.train.schedules import Schedule
from pushforward.train.state import Partition, TrainState, is_key
from pushforward.train.step import run_steps


def in_threads() -> bool:
    """Whether members take their steps in threads that share the program of a single flow.

    On a CPU stacked arrays leave the cache, and one flow leaves cores idle. An accelerator runs one program at a time:
    there the members are mapped over by `vmap`.
    """
    return jax.default_backend() == "cpu"


def member_threads() -> ThreadPoolExecutor:
    """Threads for the work of members: as many as cores on a CPU, else one."""
    return ThreadPoolExecutor((os.cpu_count() or 1) if in_threads() else 1)


def run_members(
    partition: Partition,
    rule: Any,
    loss: Any,
    states: Sequence[TrainState],
    batches: Sequence[Any],
    shared: Any,
    n_steps: Sequence[int],
    schedules: Sequence[Schedule],
) -> tuple[list[TrainState], np.ndarray]:
    """`run_steps` for each member: the states, and the sums (n_members,) of the reported numbers.

    Args:
        partition, rule, loss, shared: as for `run_steps`, the same for all members.
        states, batches, schedules: of each member. The buffers of the states are donated.
        n_steps: of each member: the same number, or 0 for a member that has stopped. If all are 0, the program is
            compiled.
    """
    if not in_threads():
        counts = np.asarray(n_steps, np.int32)
        new, totals = _run_together(partition, rule, loss, list(states), list(batches), shared, counts, list(schedules))
        return new, np.asarray(totals, np.float64)
    new, totals = list(states), np.zeros(len(states))

    def run(k: int) -> None:
        new[k], total = run_steps(partition, rule, loss, states[k], batches[k], shared, n_steps[k], schedules[k])
        totals[k] = float(total)  # waits: otherwise all steps would be dispatched by one thread of JAX

    active = [k for k, n in enumerate(n_steps) if n] or [0]
    with member_threads() as executor:
        list(executor.map(with_jax_settings(run), active))
    return new, totals


@compiled(3, donate=(0,), shapes_of=lambda partition, *_: partition.static.event_shapes)
def _run_together(
    partition: Partition,
    rule: Any,
    loss: Any,
    states: list[TrainState],
    batches: list[Any],
    shared: Any,
    n_steps: Array,
    schedules: list[Schedule],
) -> tuple[list[TrainState], Array]:
    """All members in one program. The steps of a member that has stopped are computed and dropped."""
    steps = inspect.unwrap(run_steps)

    def run(state: TrainState, batches: Any, schedule: Schedule) -> tuple[TrainState, Array]:
        return steps(partition, rule, loss, state, batches, shared, jnp.max(n_steps), schedule)

    old, *others = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *part) for part in (states, batches, schedules))
    new, totals = jax.vmap(run)(old, *others)
    is_active = n_steps > 0

    def select(new: Array, old: Array) -> Array:
        return old if is_key(old) else jnp.where(is_active.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    stacked = jax.tree.map(select, new, old)
    members = [jax.tree.map(lambda leaf, k=k: leaf[k], stacked) for k in range(len(states))]
    return members, jnp.where(is_active, totals, 0.0)
