"""The compiled inner loop of training: many steps in one call, whose program depends on the flow and the batch only."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.state import has_hook, refresh
from pushforward.numerics.arrays import is_array, on_device
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten
from pushforward.train.optimizer import callers_update, loss_functions


class TrainState(NamedTuple):
    """What changes from step to step.

    Attributes:
        params: trained arrays.
        frozen: the other arrays of the flow, among them those that `refresh` updates after each step.
        opt_state: state of the optimiser.
        ema: exponential moving average of the parameters; empty without one.
        lr_scale: factor on the learning rate: halved at a skipped step, then growing back to one.
        skipped_steps: number of skipped steps so far.
        bad_steps: number of consecutive skipped steps, up to now.
    """

    params: list[Array]
    frozen: list[Array]
    opt_state: Any
    ema: list[Array]
    lr_scale: Array
    skipped_steps: Array
    bad_steps: Array


class Schedule(NamedTuple):
    """The numbers of a run that may change without a new compilation."""

    first_step: Any
    total_steps: Any
    learning_rate: Any
    ema_decay: Any


@functools.lru_cache(maxsize=32)
def default_optimizer(clip: float | None) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam; the learning rate is applied by the loop."""
    parts = [] if clip is None else [optax.clip_by_global_norm(clip)]
    return optax.chain(*parts, optax.scale_by_adam())


@functools.lru_cache(maxsize=32)
def with_clipping(optimizer: Any, clip: float | None) -> optax.GradientTransformationExtraArgs:
    """A caller's optimiser after clipping by global norm; its update accepts extra arguments."""
    if isinstance(optimizer, optax.MultiSteps):  # it has the methods of a transformation, but is not one
        return with_clipping(optimizer.gradient_transformation(), clip)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: expected an optimiser of optax, such as optax.adam(1e-3), got {type(optimizer).__name__}."
        )
    extended = optax.with_extra_args_support(optimizer)
    return extended if clip is None else optax.chain(optax.clip_by_global_norm(clip), extended)


def cosine(schedule: Schedule, step: Any, xp: Any = jnp) -> Any:
    """Learning rate: a linear warm-up over the first 2 % of the run, then half a cosine down to zero.

    `xp` is jax.numpy inside the program, and NumPy outside, where JAX would compile every operation.
    """
    done = step / schedule.total_steps
    warm_up = xp.minimum(1.0, (step + 1.0) / xp.maximum(0.02 * schedule.total_steps, 1.0))
    return schedule.learning_rate * warm_up * 0.5 * (1.0 + xp.cos(xp.pi * xp.clip(done, 0.0, 1.0)))


@compiled(4, donate=(0,))
def run_steps(
    partition: "Partition",
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    state: TrainState,
    batches: tuple[Any, ...],
    n_steps: Array,
    schedule: Schedule,
    key: PRNGKeyArray,
) -> tuple[TrainState, Array]:
    """Run `n_steps` steps over the first batches of a buffer.

    Args:
        partition: combines trained and frozen arrays into a flow.
        optimizer: a gradient transformation.
        scheduled: whether the loop scales the updates by `cosine` (the default optimiser) or leaves them unchanged.
        averaged: whether to update an exponential moving average.
        state: at the start; its buffers are donated.
        batches: events (S, B, *shape), contexts (S, B, *context_shape) or None, weights (S, B) or None.
        n_steps: how many of the S batches to use.
        schedule: the schedule.
        key: randomness of the training pass (dropout).

    Returns:
        The state, and the sum over the finite steps of the mean log-likelihood.
    """

    def loss(params: list[Array], frozen: list[Array], batch: tuple[Any, ...], key: PRNGKeyArray) -> Array:
        x, context, sample_weights = batch
        flow = partition.combine(params, frozen)
        keys = jax.random.split(key, batches[0].shape[1])
        axes = (0, None if context is None else 0, 0)
        log_probs = jax.vmap(flow.log_prob_one, axes)(x, context, keys)
        return -jnp.mean(log_probs if sample_weights is None else sample_weights * log_probs)

    def step(index: Array, carry: tuple[TrainState, Array]) -> tuple[TrainState, Array]:
        state, total = carry
        batch = tuple(None if part is None else part[index] for part in batches)
        step_key = jax.random.fold_in(key, index)
        value, gradient = jax.value_and_grad(loss)(state.params, state.frozen, batch, step_key)
        functions = loss_functions(lambda params: loss(params, state.frozen, batch, step_key))
        state, finite = update(
            partition, optimizer, scheduled, averaged, state, value, gradient, functions, schedule, index
        )
        return state, total + jnp.where(finite, -value, 0.0)

    start = (state, jnp.zeros((), state.lr_scale.dtype))
    return jax.lax.fori_loop(0, n_steps, step, start)


def update(
    partition: "Partition",
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    state: TrainState,
    value: Array,
    gradient: Any,
    functions: Mapping[str, Callable[..., Any]],
    schedule: Schedule,
    index: Array,
) -> tuple[TrainState, Array]:
    """The state after one step of the optimiser, and whether the step was finite.

    A step is skipped where its loss, its gradient or a caller's update is not finite.

    Args:
        partition, optimizer, scheduled, averaged: as for `run_steps`.
        state: before the step.
        value, gradient: of the loss there.
        functions: the loss on the same batch, for a caller's optimiser, from `loss_functions`.
        schedule: the schedule.
        index: number of the step after `schedule.first_step`.
    """
    finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
    # selected, not branched: a lax.cond around the update compiled 1.5 s longer and saved nothing
    if not scheduled:
        updates, opt_state = callers_update(optimizer, state.opt_state, state.params, value, gradient, functions)
        finite &= jnp.isfinite(optax.tree.norm(updates))
    else:
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        rate = cosine(schedule, schedule.first_step + index) * state.lr_scale
        updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates)
    params: Any = optax.apply_updates(state.params, updates)
    frozen, flow = state.frozen, partition.combine(params, state.frozen)
    if has_hook(flow, "refreshed"):
        params, frozen = partition.split(refresh(flow), jnp)
    ema, decay = state.ema, schedule.ema_decay
    if averaged:
        ema = jax.tree.map(lambda mean, leaf: decay * mean + (1.0 - decay) * leaf, ema, params)
    lr_scale, bad_steps = jnp.minimum(1.0, state.lr_scale * 1.02), jnp.zeros_like(state.bad_steps)
    updated = TrainState(params, frozen, opt_state, ema, lr_scale, state.skipped_steps, bad_steps)
    skipped = state._replace(
        lr_scale=state.lr_scale * 0.5, skipped_steps=state.skipped_steps + 1, bad_steps=state.bad_steps + 1
    )
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, skipped), finite


class Partition:
    """How a flow splits into trained and frozen arrays; hashable, so that equal flows share one compiled program.

    Under the default optimiser the trained arrays are one flat vector: clipping, Adam and the update are then a few
    loops instead of a few for every array, which compiles about a second faster. A caller's optimiser gets the arrays.

    Args:
        static: the hashable half of the flow.
        trained: for each array of the flow, whether it is trained.
        shapes: shapes of the trained arrays where these are one flat vector, else None.
    """

    def __init__(self, static: Any, trained: tuple[bool, ...], shapes: tuple[tuple[int, ...], ...] | None) -> None:
        self.static, self.trained, self.shapes = static, trained, shapes

    def __hash__(self) -> int:
        return hash((self.static, self.trained, self.shapes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and vars(self) == vars(other)

    def combine(self, params: list[Any], frozen: list[Any]) -> Any:
        """The flow of these arrays."""
        if self.shapes is not None:
            ends = list(itertools.accumulate(math.prod(shape) for shape in self.shapes))
            params = [
                params[0][end - math.prod(shape) : end].reshape(shape)
                for shape, end in zip(self.shapes, ends, strict=True)
            ]
        trained, others = iter(params), iter(frozen)
        return unflatten([next(trained) if flag else next(others) for flag in self.trained], self.static)

    def split(self, flow: Any, xp: Any) -> tuple[list[Any], list[Any]]:
        """The trained and the frozen arrays of a flow; `xp` is jax.numpy, or NumPy on the host."""
        arrays, _ = flatten(flow)
        params = [leaf for leaf, flag in zip(arrays, self.trained, strict=True) if flag]
        if self.shapes is not None:
            params = [xp.concatenate([leaf.reshape(-1) for leaf in params])]
        return params, [leaf for leaf, flag in zip(arrays, self.trained, strict=True) if not flag]


@compiled(1)
def _init_optimizer(optimizer: optax.GradientTransformation, params: list[Array]) -> Any:
    return optimizer.init(params)


def init_state(
    flow: Any, trained: tuple[bool, ...], optimizer: optax.GradientTransformation, *, flat: bool, averaged: bool
) -> tuple[Partition, TrainState]:
    """The state before the first step. Flattened on the host: eager JAX would compile a program for every shape."""
    arrays, static = flatten(flow)
    shapes = tuple(leaf.shape for leaf, flag in zip(arrays, trained, strict=True) if flag)
    partition = Partition(static, trained, shapes if flat else None)
    params, frozen = partition.split(jax.tree.map(lambda leaf: np.array(leaf) if is_array(leaf) else leaf, flow), np)
    # copies: the loop donates its buffers
    params, frozen = ([on_device(leaf) for leaf in part] for part in (params, frozen))
    ema = [on_device(leaf) for leaf in params] if averaged else []
    count, lr_scale = on_device(0, np.int32), on_device(1, float_type(arrays))
    opt_state = _init_optimizer(optimizer, params) if flat else optimizer.init(params)
    if not flat:  # the state of a caller's optimiser may hold the parameters themselves, or one array twice
        opt_state = jax.tree.map(jnp.copy, opt_state)
    return partition, TrainState(params, frozen, opt_state, ema, lr_scale, count, on_device(0, np.int32))


def extract_flow(partition: Partition, state: TrainState, like: Any, averaged: bool) -> Any:
    """The flow of the state, in new arrays, except for host arrays of `like` that training does not change."""
    params = state.ema if averaged else state.params
    flow = partition.combine([np.array(leaf) for leaf in params], [np.array(leaf) for leaf in state.frozen])
    is_refreshed, trained = has_hook(like, "refreshed"), iter(partition.trained)

    def copied(new: Any, old: Any) -> Any:
        if not is_array(old):
            return old
        is_constant = not (next(trained) or is_refreshed)
        return old if isinstance(old, np.ndarray) and is_constant else on_device(new)

    return jax.tree.map(copied, flow, like)


def is_sound(state: TrainState) -> bool:
    """Whether the last step was finite and left finite parameters, which may be returned."""
    leaves = [*state.params, *state.ema]
    return not int(state.bad_steps) and all(bool(np.isfinite(np.asarray(leaf)).all()) for leaf in leaves)
