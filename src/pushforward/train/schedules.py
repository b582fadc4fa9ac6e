"""Numbers of a run that change from step to step: the learning rate, and shares that rise."""

from typing import Any, NamedTuple

import jax.numpy as jnp


class Schedule(NamedTuple):
    """The numbers of a run that may change without a new compilation."""

    total_steps: Any
    learning_rate: Any
    ema_decay: Any


def cosine(schedule: Schedule, step: Any, xp: Any = jnp) -> Any:
    """Learning rate: a linear warm-up over the first 2 % of the run, then half a cosine down to zero.

    `xp` is jax.numpy inside the program, and NumPy outside, where JAX would compile every operation.
    """
    done = step / schedule.total_steps
    warm_up = xp.minimum(1.0, (step + 1.0) / xp.maximum(0.02 * schedule.total_steps, 1.0))
    return schedule.learning_rate * warm_up * 0.5 * (1.0 + xp.cos(xp.pi * xp.clip(done, 0.0, 1.0)))


def ramp(first: Any, last: Any, n_steps: Any, step: Any) -> Any:
    """A number at a step: from `first` to `last`, linearly over `n_steps` steps; `last` from there on."""
    return first + (last - first) * jnp.where(step < n_steps, step / jnp.maximum(n_steps, 1e-9), 1.0)
