"""The compiled steps of training: many in one call, whose program depends on the flow, the loss and the batch only."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from pushforward.core.state import has_hook, refresh
from pushforward.numerics.arrays import is_array
from pushforward.numerics.programs import compiled
from pushforward.train.optimizer import UpdateRule, callers_update, loss_functions
from pushforward.train.schedules import Schedule, cosine
from pushforward.train.state import Partition, TrainState

# (flow, batch, shared, step, key) -> (value to minimise, number to report). Hashable, a part of the program: equal
# losses share it. Where the gradient is an estimate and not the derivative of the value, an attribute `fix` says what
# the user of an optimiser that searches along the loss can do.
Loss = Callable[[Any, Any, Any, Array, Any], tuple[Array, Array]]


@compiled(3, donate=(0,), shapes_of=lambda partition, *_: partition.static.event_shapes)
def run_steps(
    partition: Partition,
    rule: UpdateRule,
    loss: Loss,
    state: TrainState,
    batches: Any,
    shared: Any,
    n_steps: Array,
    schedule: Schedule,
) -> tuple[TrainState, Array]:
    """Run `n_steps` steps over the first batches of a buffer.

    Args:
        partition: combines trained and frozen arrays into a flow.
        rule: how a step changes the weights.
        loss: of one batch.
        state: at the start; its buffers are donated.
        batches: a tree of arrays (S, ...), of which each step gets one index; None for a loss without data.
        shared: a tree of arrays and numbers that all steps get.
        n_steps: how many of the S batches to use.
        schedule: the schedule.

    Returns:
        The state, and the sum of the reported numbers over the finite steps.
    """
    key = jax.random.fold_in(state.key, state.step)

    def step(index: Array, carry: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
        state, total = carry
        batch, step_key = jax.tree.map(lambda part: part[index], batches), jax.random.fold_in(key, index)

        def loss_of(params: list[Array]) -> tuple[Array, Array]:
            params = partition.keep_frozen(params, state.params, state.frozen)
            return loss(partition.combine(params, state.frozen), batch, shared, state.step, step_key)

        (value, reported), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        functions = loss_functions(lambda params: loss_of(params)[0], getattr(loss, "fix", None))
        state, is_finite = update(partition, rule, state, value, gradient, functions, schedule)
        return state, total + jnp.where(is_finite, reported, 0.0)

    start = (state, jnp.zeros((), state.lr_scale.dtype))
    return jax.lax.fori_loop(0, n_steps, step, start)


def update(
    partition: Partition,
    rule: UpdateRule,
    state: TrainState,
    value: Array,
    gradient: Any,
    functions: Mapping[str, Callable[..., Any]],
    schedule: Schedule,
) -> tuple[TrainState, Array]:
    """The state after one step of the optimiser, and whether the step was finite.

    A step is skipped where its loss, its gradient or a caller's update is not finite.

    Args:
        partition, rule, schedule: as for `run_steps`.
        state: before the step.
        value, gradient: of the loss there.
        functions: the loss on the same batch, for a caller's optimiser, from `loss_functions`.
    """
    is_finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
    # selected, not branched: a lax.cond around the update compiled 1.5 s longer and saved nothing
    if rule.is_default:
        updates, opt_state = rule.optimizer.update(gradient, state.opt_state, state.params)
        rate = cosine(schedule, state.step) * state.lr_scale
        updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates)
    else:
        updates, opt_state = callers_update(rule.optimizer, state.opt_state, state.params, value, gradient, functions)
        is_finite &= jnp.isfinite(optax.tree.norm(updates))
    # masked after the optimiser: weight decay does not move frozen parameters either
    params: Any = optax.apply_updates(state.params, updates)
    params = partition.keep_frozen(params, state.params, state.frozen)
    frozen, flow = state.frozen, partition.combine(params, state.frozen)
    if has_hook(flow, "refreshed"):
        params, frozen = partition.split(refresh(flow), jnp)
        params = partition.keep_frozen(params, state.params, state.frozen)
        frozen = [*frozen, *partition.masks(state.frozen)]
    ema, decay = state.ema, schedule.ema_decay
    if rule.is_averaged:
        ema = jax.tree.map(lambda mean, leaf: decay * mean + (1.0 - decay) * leaf, ema, params)
        ema = partition.keep_frozen(ema, state.ema, state.frozen)
    lr_scale, bad_steps = jnp.minimum(1.0, state.lr_scale * 1.02), jnp.zeros_like(state.bad_steps)
    state = state._replace(step=state.step + 1)
    updated = state._replace(
        params=params, frozen=frozen, opt_state=opt_state, ema=ema, lr_scale=lr_scale, bad_steps=bad_steps
    )
    skipped = state._replace(
        lr_scale=state.lr_scale * 0.5, skipped_steps=state.skipped_steps + 1, bad_steps=state.bad_steps + 1
    )

    def select(new: Any, old: Any) -> Any:
        return old if new is old else jnp.where(is_finite, new, old)

    return jax.tree.map(select, updated, skipped), is_finite


def log_probs_of(flow: Any, x: Array, context: Array | None) -> Array:
    """Log-densities (B,) of a batch, without randomness, inside a loss."""
    return jax.vmap(lambda x, c: flow.log_prob_one(x, c, None), (0, None if context is None else 0))(x, context)


def without_gradient(flow: Any) -> Any:
    """The flow, through whose arrays no gradient passes."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if is_array(leaf) else leaf, flow)
