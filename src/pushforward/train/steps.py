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


class Course(NamedTuple):
    """What changes from step to step.

    Attributes:
        weights: trained arrays.
        rest: the other arrays of the flow, among them what `refresh` renews after each step.
        memory: state of the optimiser.
        average: exponential moving average of the weights (the weights themselves without one).
        caution: factor on the learning rate: halved at a skipped step, then growing back to one.
        skipped: steps skipped so far.
        streak: steps skipped in a row.
    """

    weights: list[Array]
    rest: list[Array]
    memory: Any
    average: list[Array]
    caution: Array
    skipped: Array
    streak: Array


class Plan(NamedTuple):
    """The numbers of a run that may change without a new compilation."""

    first_step: Any
    total_steps: Any
    learning_rate: Any
    ema: Any


@functools.lru_cache(maxsize=32)
def default_optimizer(clip: float | None) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam; the learning rate is applied by the loop."""
    parts = [] if clip is None else [optax.clip_by_global_norm(clip)]
    return optax.chain(*parts, optax.scale_by_adam())


@functools.lru_cache(maxsize=32)
def clipped(optimizer: Any, clip: float | None) -> optax.GradientTransformationExtraArgs:
    """A caller's optimiser behind clipping, whose update takes extra arguments."""
    if isinstance(optimizer, optax.MultiSteps):  # which has the methods, and is none
        return clipped(optimizer.gradient_transformation(), clip)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: expected an optimiser of optax, such as optax.adam(1e-3), got {type(optimizer).__name__}."
        )
    whole = optax.with_extra_args_support(optimizer)
    return whole if clip is None else optax.chain(optax.clip_by_global_norm(clip), whole)


def cosine(plan: Plan, step: Any, numbers: Any = jnp) -> Any:
    """Learning rate: a linear rise over the first 2 % of the run, then half a cosine down to zero.

    Computed by JAX inside the program and by NumPy (`numbers`) outside, where JAX would compile every operation.
    """
    done = step / plan.total_steps
    rise = numbers.minimum(1.0, (step + 1.0) / numbers.maximum(0.02 * plan.total_steps, 1.0))
    return plan.learning_rate * rise * 0.5 * (1.0 + numbers.cos(numbers.pi * numbers.clip(done, 0.0, 1.0)))


@compiled(4, donate=(0,))
def run_steps(
    merge: "Merge",
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    course: Course,
    batches: tuple[Any, ...],
    n_steps: Array,
    plan: Plan,
    key: PRNGKeyArray,
) -> tuple[Course, Array]:
    """Run `n_steps` steps over the first batches of a buffer.

    Args:
        merge: puts trained and fixed arrays together into a flow.
        optimizer: a gradient transformation.
        scheduled: whether the loop scales the update by `cosine` (the default optimiser) or leaves it as it is.
        averaged: whether to keep an exponential moving average.
        course: what changes; its memory is reused.
        batches: events (S, B, *shape), contexts (S, B, *context_shape) or None, weights (S, B) or None.
        n_steps: how many of the S batches to use.
        plan: the schedule.
        key: randomness of the training pass (dropout).

    Returns:
        The course, and the sum over the finite steps of the mean log-likelihood.
    """

    def loss(weights: list[Array], rest: list[Array], rows: tuple[Any, ...], key: PRNGKeyArray) -> Array:
        x, context, row_weights = rows
        flow = merge(weights, rest)
        keys = jax.random.split(key, batches[0].shape[1])
        axes = (0, None if context is None else 0, 0)
        scores = jax.vmap(flow.log_prob_one, axes)(x, context, keys)
        return -jnp.mean(scores if row_weights is None else row_weights * scores)

    def step(index: Array, state: tuple[Course, Array]) -> tuple[Course, Array]:
        course, total = state
        rows = tuple(None if part is None else part[index] for part in batches)
        here = jax.random.fold_in(key, index)
        value, gradient = jax.value_and_grad(loss)(course.weights, course.rest, rows, here)
        again = loss_functions(lambda weights: loss(weights, course.rest, rows, here))
        course, finite = advanced(merge, optimizer, scheduled, averaged, course, value, gradient, again, plan, index)
        return course, total + jnp.where(finite, -value, 0.0)

    start = (course, jnp.zeros((), course.caution.dtype))
    return jax.lax.fori_loop(0, n_steps, step, start)


def advanced(
    merge: "Merge",
    optimizer: optax.GradientTransformation,
    scheduled: bool,
    averaged: bool,
    course: Course,
    value: Array,
    gradient: Any,
    again: Mapping[str, Callable[..., Any]],
    plan: Plan,
    index: Array,
) -> tuple[Course, Array]:
    """One step of the optimiser, unless loss, gradient or a caller's update is not finite; the course, and whether the
    step was made.

    Args:
        merge, optimizer, scheduled, averaged: as for `run_steps`.
        course: where training stands.
        value, gradient: of the loss there.
        again: the loss on the same batch, for a caller's optimiser, from `loss_functions`.
        plan: the schedule.
        index: number of the step after `plan.first_step`.
    """
    finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
    # selected, not branched: a lax.cond around the update compiled 1.5 s longer and saved nothing
    if not scheduled:
        update, memory = callers_update(optimizer, course.memory, course.weights, value, gradient, again)
        finite &= jnp.isfinite(optax.tree.norm(update))
    else:
        update, memory = optimizer.update(gradient, course.memory, course.weights)
        rate = cosine(plan, plan.first_step + index) * course.caution
        update = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, update)
    weights: Any = optax.apply_updates(course.weights, update)
    rest, flow = course.rest, merge(weights, course.rest)
    if has_hook(flow, "refreshed"):
        weights, rest = merge.split(refresh(flow), jnp)
    average = course.average
    if averaged:
        average = jax.tree.map(lambda a, w: plan.ema * a + (1.0 - plan.ema) * w, average, weights)
    caution, streak = jnp.minimum(1.0, course.caution * 1.02), jnp.zeros_like(course.streak)
    moved = Course(weights, rest, memory, average, caution, course.skipped, streak)
    stayed = course._replace(caution=course.caution * 0.5, skipped=course.skipped + 1, streak=course.streak + 1)
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, stayed), finite


class Merge:
    """Trained and fixed arrays back into a flow; hashable, so that equal flows share one compiled program.

    Under the default optimiser the trained arrays are one flat vector: clipping, Adam and the update are then a few
    loops instead of a few for every array, which compiles about a second faster. A caller's optimiser sees the arrays.

    Args:
        static: the hashable half of the flow.
        trained: for each array of the flow, whether it is trained.
        shapes: shapes of the trained arrays where they are kept flat, else None.
    """

    def __init__(self, static: Any, trained: tuple[bool, ...], shapes: tuple[tuple[int, ...], ...] | None) -> None:
        self.static, self.trained, self.shapes = static, trained, shapes

    def __hash__(self) -> int:
        return hash((self.static, self.trained, self.shapes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Merge) and vars(self) == vars(other)

    def __call__(self, weights: list[Any], rest: list[Any]) -> Any:
        if self.shapes is not None:
            ends = list(itertools.accumulate(math.prod(shape) for shape in self.shapes))
            weights = [
                weights[0][end - math.prod(shape) : end].reshape(shape)
                for shape, end in zip(self.shapes, ends, strict=True)
            ]
        moving, fixed = iter(weights), iter(rest)
        return unflatten([next(moving) if flag else next(fixed) for flag in self.trained], self.static)

    def split(self, flow: Any, numbers: Any) -> tuple[list[Any], list[Any]]:
        """A flow as its trained and its other arrays; `numbers` is jax.numpy, or NumPy on the host."""
        arrays, _ = flatten(flow)
        trained = [leaf for leaf, flag in zip(arrays, self.trained, strict=True) if flag]
        if self.shapes is not None:
            trained = [numbers.concatenate([leaf.reshape(-1) for leaf in trained])]
        return trained, [leaf for leaf, flag in zip(arrays, self.trained, strict=True) if not flag]


@compiled(1)
def _first_memory(optimizer: optax.GradientTransformation, weights: list[Array]) -> Any:
    return optimizer.init(weights)


def begin(
    flow: Any, trained: tuple[bool, ...], optimizer: optax.GradientTransformation, *, flat: bool, averaged: bool
) -> tuple[Merge, Course]:
    """The course at its start. Taken apart on the host: eager JAX would compile a program for every shape."""
    arrays, static = flatten(flow)
    shapes = tuple(leaf.shape for leaf, flag in zip(arrays, trained, strict=True) if flag)
    merge = Merge(static, trained, shapes if flat else None)
    weights, rest = merge.split(jax.tree.map(lambda leaf: np.array(leaf) if is_array(leaf) else leaf, flow), np)
    # copies: the loop takes the memory of what it is given
    weights, rest = ([on_device(leaf) for leaf in part] for part in (weights, rest))
    average = [on_device(leaf) for leaf in weights] if averaged else []
    count, caution = on_device(0, np.int32), on_device(1, float_type(arrays))
    memory = _first_memory(optimizer, weights) if flat else optimizer.init(weights)
    if not flat:  # a caller's optimiser may keep the weights themselves, or one array twice
        memory = jax.tree.map(jnp.copy, memory)
    return merge, Course(weights, rest, memory, average, caution, count, on_device(0, np.int32))


def taken(merge: Merge, course: Course, like: Any, averaged: bool) -> Any:
    """The flow that the course has come to, as arrays of its own; host arrays of `like` that stand still are kept."""
    moving = course.average if averaged else course.weights
    flow = merge([np.array(leaf) for leaf in moving], [np.array(leaf) for leaf in course.rest])
    moves, trained = has_hook(like, "refreshed"), iter(merge.trained)

    def own(new: Any, old: Any) -> Any:
        if not is_array(old):
            return old
        stands_still = not (next(trained) or moves)
        return old if isinstance(old, np.ndarray) and stands_still else on_device(new)

    return jax.tree.map(own, flow, like)


def is_sound(course: Course) -> bool:
    """Whether the last step did not fail and left finite weights: weights to return, or to choose from."""
    leaves = [*course.weights, *course.average]
    return not int(course.streak) and all(bool(np.isfinite(np.asarray(leaf)).all()) for leaf in leaves)
