"""The loss of fitting to a target: samples of the flow, weighted by an unnormalised log-density."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.train.schedules import ramp
from pushforward.train.step import log_probs_of, without_gradient

_FIRST_POWER = 0.01  # the power of the target with which annealing starts: Rezende & Mohamed 2015, section 6.1
_FIX = "Use gradient='total' and forward=0, or an optimiser that does not search, such as optax.adam."


class TargetLoss(NamedTuple):
    """The divergences between a flow and a target; hashable, a part of the program.

    Attributes:
        log_density: of one sample, or of a sample and a context.
        batch_size: samples a step.
        has_context: whether log_density takes a context.
        path: whether the gradient of the reverse divergence is the path derivative, or the total one.
        forward: share of the forward divergence in the loss, from 0 to 1.
    """

    log_density: Callable[..., Array]
    batch_size: int
    has_context: bool
    path: bool
    forward: float

    @property
    def fix(self) -> str | None:
        """What to do where an optimiser searches along the loss, but its gradient is an estimate."""
        return _FIX if self.path or self.forward > 0 else None

    def __call__(self, flow: Any, batch: None, shared: Any, step: Array, key: Any) -> tuple[Array, Array]:
        """The loss of a batch of samples; it reports the evidence lower bound at the target's power.

        Args:
            flow: the flow.
            batch: no data.
            shared: contexts (n, *context_shape), of which each step draws a batch, or None; and the number of steps
                over which the target's power rises to one.
            step: number of the step.
            key: of the samples.
        """
        (contexts, annealed), context = shared, None
        power = ramp(_FIRST_POWER, 1, annealed, step)
        key_context, key_sample = jax.random.split(key)
        if contexts is not None:
            context = contexts[jax.random.randint(key_context, (self.batch_size,), 0, len(contexts))]
        axes = 0, None if context is None else 0

        def target(x: Array, c: Array | None) -> Array:
            log_p = self.log_density(x, c) if self.has_context else self.log_density(x)
            return power.astype(x.dtype) * log_p

        x, log_q = jax.vmap(flow.sample_and_log_prob_one, axes)(jax.random.split(key_sample, self.batch_size), context)
        log_p = jax.vmap(target, axes)(x, context)
        elbo = jnp.mean(log_p - log_q)
        value = jnp.zeros_like(elbo)
        if self.forward < 1:
            path_log_q = log_probs_of(without_gradient(flow), x, context) if self.path else log_q
            value += (1 - self.forward) * jnp.mean(path_log_q - log_p)
        if self.forward > 0:
            x, log_ratio = jax.lax.stop_gradient((x, log_p - log_q))
            value -= self.forward * jnp.sum(jax.nn.softmax(log_ratio) * log_probs_of(flow, x, context))
        return value, elbo
