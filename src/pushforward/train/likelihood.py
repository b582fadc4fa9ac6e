"""Maximum likelihood: fit a flow to rows of data."""

import math
import time
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from pushforward.compose import Chain, Standardise
from pushforward.distribution import AbstractDistribution, as_key, flatten, float_type
from pushforward.errors import DataError, TrainingDiverged
from pushforward.fields import is_array
from pushforward.fields import trainable as trainable_filter
from pushforward.flow import Flow
from pushforward.state import finalise, initialise
from pushforward.train.data import Rows, as_rows, check_spread, column_names, gaussian_nats, share_outside, split
from pushforward.train.history import History
from pushforward.train.progress import progress_bar
from pushforward.train.steps import Course, Merge, Plan, clipped, cosine, default_optimizer, run_steps

AnyFlow = TypeVar("AnyFlow", bound=AbstractDistribution)

_BUFFER_STEPS = 64
_EPOCH_STEPS = 50
_TOTAL_STEPS = 6000
_PATIENCE_STEPS = 1500
_GIVE_UP = 25


def fit(
    flow: Flow,
    x: Any,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    weights: Any = None,
    validation: float | Any = 0.1,
    batch_size: int = 256,
    max_epochs: int | None = None,
    patience: int | None = None,
    learning_rate: float = 2e-3,
    optimizer: optax.GradientTransformation | None = None,
    clip: float | None = 5.0,
    ema: float | None = None,
    trainable: PyTree[bool] | None = None,
    progress: bool = True,
) -> tuple[Flow, History]:
    """Maximum likelihood: maximise the weighted mean of log p(x_i | c_i) over the rows by mini-batch gradients.

    Rows are standardised on the host in float64 (the flow's `Standardise` is filled; a second fit keeps it), so
    training does not depend on the units of the data. A step whose loss or gradient is not finite is skipped and
    counted. The weights of the best epoch on held-out rows are returned.

    Args:
        flow: the flow to start from; fitting twice continues.
        x: (n, *shape): NumPy or JAX array, pandas or polars frame, or anything with DLPack.
        key: a JAX key or an int; it decides the split, the order of the rows and dropout.
        context: (n, *context_shape) for a conditional flow.
        weights: (n,) non-negative sample weights.
        validation: share of rows to hold out, or held-out rows: x, or (x, context) for a conditional flow. 0 holds out
            nothing: no early stopping.
        batch_size: rows in a step (fewer when there are fewer rows).
        max_epochs: passes over the data; by default as many as make 6,000 steps. With few rows an epoch holds several
            passes, at least 50 steps.
        patience: epochs without a better held-out likelihood before training stops; by default 1,500 steps' worth.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam).
        optimizer: any optax optimiser in the place of Adam and the schedule; its learning rate is its own.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is then validated and returned; or None.
        trainable: a tree of bools like `pushforward.trainable(flow)`, to freeze parts.
        progress: show the course (a bar with rich, else a line).

    Returns:
        The fitted flow, and its `History`. Ctrl-C returns the best weights so far.

    Raises:
        DataError: NaN or infinite values, constant or linearly dependent columns, too few rows.
        ShapeError: if shapes do not fit the flow.
        TrainingDiverged: if steps fail again and again; names the epoch and the learning rate.

    Reference: Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2017 (cosine schedule); Pascanu et al. 2013 (clipping).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
        >>> flow, history = pf.fit(pf.nice(dim=2, n_layers=2, width=8, key=0), x, key=0, max_epochs=1, progress=False)
        >>> len(history.validation)
        1
    """
    started = time.perf_counter()
    key_split, key_steps = jax.random.split(as_key(key))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key_split), np.uint32))
    train, held = _prepare(flow, x, context, weights, validation, random)
    history = History(n_train=len(train), n_validation=len(held) if held else 0)
    history.gaussian = gaussian_nats(train, held or train)

    flow = _initialised(flow, train)
    inner, train, held, offset = _standardised(flow, train, held)
    share_outside(inner, train.x)
    batch = min(int(batch_size), len(train))
    history.batch_size = batch
    pass_steps = len(train) // batch
    passes = math.ceil(_EPOCH_STEPS / pass_steps) if pass_steps < _EPOCH_STEPS else 1
    epoch_steps = pass_steps * passes
    max_epochs = max_epochs or max(math.ceil(_TOTAL_STEPS / epoch_steps), 3)
    patience = patience or max(math.ceil(_PATIENCE_STEPS / epoch_steps), 3)
    total_steps = max_epochs * epoch_steps

    chosen = trainable_filter(inner) if trainable is None else trainable
    arrays, static = flatten(inner)
    flags = _flags(inner, chosen)
    shapes = tuple(leaf.shape for leaf, flag in zip(arrays, flags, strict=True) if flag)
    merge = Merge(static, flags, shapes if optimizer is None else None)
    steps = default_optimizer(clip) if optimizer is None else clipped(optimizer, clip)
    dtype = float_type(arrays)
    moving, rest = merge.split(jax.tree.map(lambda leaf: jnp.array(leaf) if is_array(leaf) else leaf, inner))
    zero = jnp.zeros((), jnp.int32)
    course = Course(moving, rest, steps.init(moving), [jnp.array(leaf) for leaf in moving] if ema else [],
                    jnp.ones((), dtype), zero, jnp.zeros((), jnp.int32))  # fmt: skip
    plan = Plan(0, float(total_steps), float(learning_rate), float(ema or 0.0))

    def run(course: Course, batches: tuple, n_steps: int, first: int) -> tuple[Course, Any]:
        key = jax.random.fold_in(key_steps, first)
        now = plan._replace(first_step=first)
        return run_steps(merge, steps, optimizer is None, bool(ema), course, batches, n_steps, now, key)

    buffer = _Buffer(train, batch, dtype)
    before = time.perf_counter()
    course, _ = run(course, buffer.empty(), 0, 0)
    jax.block_until_ready(course.streak)
    history.compile_seconds = time.perf_counter() - before
    best, best_value = _copy(merge, course, ema), -math.inf
    with progress_bar(progress, max_epochs, history) as report:
        try:
            for epoch in range(max_epochs):
                done, total = epoch * epoch_steps, 0.0
                for batches, n_steps in buffer.epoch(random, passes):
                    course, part = run(course, batches, n_steps, done)
                    done, total = done + n_steps, total + float(part)
                    if int(course.streak) >= _GIVE_UP:
                        raise TrainingDiverged(
                            f"training diverged in epoch {epoch} at learning rate {learning_rate:g}: {_GIVE_UP} steps in "
                            "a row had a loss or gradient that is not finite. Use a smaller learning_rate, a smaller "
                            "clip, or look at the data with pushforward.check."
                        )
                skipped = int(course.skipped) - history.skipped_steps
                history.skipped_steps += skipped
                history.train.append(total / max(epoch_steps - skipped, 1) + offset)
                history.learning_rate.append(
                    float(cosine(plan, jnp.asarray(float(done)))) if optimizer is None else math.nan
                )
                value = history.train[-1]
                if held is not None:
                    value = _held_nats(merge, course, held, ema) + offset
                    history.validation.append(value)
                history.seconds.append(time.perf_counter() - started)
                if value > best_value or held is None:
                    best, best_value, history.best_epoch = _copy(merge, course, ema), value, epoch
                report(epoch)
                if held is not None and epoch - history.best_epoch >= patience:
                    history.stop_reason = "early stopping"
                    break
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    return _restandardised(finalise(best), flow), history


def _prepare(
    flow: Flow, x: Any, context: Any, weights: Any, validation: Any, random: np.random.Generator
) -> tuple[Rows, Rows | None]:
    """Check everything the caller gave and split it; float64 on the host from here on."""
    rows = _rows_of(flow, "x", x, "context", context, weights)
    if len(rows) < 2:
        raise DataError(f"x: expected at least 2 rows to fit, got {len(rows)} (1 sample has no spread).")
    single = float_type(flatten(flow)[0]) == np.float32
    check_spread("x", rows.x, column_names(x), single)
    if isinstance(validation, int | float):
        return split(rows, float(validation), random)
    pair = validation if isinstance(validation, tuple) else (validation, None)
    return rows, _rows_of(flow, "validation", pair[0], "validation context", pair[1], None)


def _rows_of(flow: Flow, name: str, x: Any, context_name: str, context: Any, weights: Any) -> Rows:
    events = as_rows(name, x, flow.shape)
    if (context is None) != (flow.context_shape is None):
        expected = "none (the flow is unconditional)" if flow.context_shape is None else f"shape {flow.context_shape}"
        raise DataError(f"{context_name}: expected {expected}, got {'none' if context is None else 'one'}.")
    contexts = None if context is None else as_rows(context_name, context, flow.context_shape)
    for part, values in ((context_name, contexts), ("weights", weights)):
        if values is not None and len(values) != len(events):
            raise DataError(f"{part}: expected {len(events)} rows as {name} has, got {len(values)}.")
    if weights is not None:
        weights = as_rows("weights", np.asarray(weights)[:, None], (1,))[:, 0]
        if (weights < 0).any() or weights.sum() <= 0:
            raise DataError("weights: expected non-negative numbers with a positive sum.")
    return Rows(events, contexts, weights)


def _initialised(flow: Flow, train: Rows) -> Flow:
    scaling = flow.context_scaling
    if scaling is not None:
        scaling = scaling.initialised(train.context)
    bijection = initialise(flow.bijection, train.x, train.context)
    return eqx.tree_at(
        lambda f: (f.bijection, f.context_scaling), flow, (bijection, scaling), is_leaf=lambda leaf: leaf is None
    )


def _outer(flow: Flow) -> Standardise | None:
    chain = flow.bijection
    last = chain.bijections[-1] if isinstance(chain, Chain) else chain
    return last if isinstance(last, Standardise) else None


def _standardised(flow: Flow, train: Rows, held: Rows | None) -> tuple[Flow, Rows, Rows | None, float]:
    """The flow and the rows in standardised units, and the nats to add for the data's own.

    The layers stay in the tree with the identity's moments, so the programs compiled here serve the fitted flow too.
    """
    offset = 0.0
    for layer, field in ((_outer(flow), "x"), (flow.context_scaling, "context")):
        if layer is None:
            continue
        mean, scale = np.asarray(layer.mean), np.asarray(layer.scale)
        train, held = (
            rows and Rows(**{**vars(rows), field: (getattr(rows, field) - mean) / scale}) for rows in (train, held)
        )
        offset -= float(np.log(scale).sum()) if field == "x" else 0.0
    return _with_moments(flow, None), train, held, offset


def _restandardised(flow: Flow, like: Flow) -> Flow:
    return _with_moments(flow, like)


def _with_moments(flow: Flow, like: Flow | None) -> Flow:
    """The flow with the outer standardisations of `like`, or with the identity's."""
    for where in (_outer, lambda f: f.context_scaling):
        layer = where(flow)
        if layer is None:
            continue
        new = eqx.tree_at(
            lambda s: (s.mean, s.scale), layer, (np.zeros(layer.shape), np.ones(layer.shape))
        ) if like is None else where(like)  # fmt: skip
        flow = eqx.tree_at(where, flow, new)
    return flow


def _flags(flow: Flow, chosen: PyTree[bool]) -> tuple[bool, ...]:
    leaves = jax.tree.leaves(flow)
    flags = jax.tree.leaves(chosen)
    if jax.tree.structure(chosen) != jax.tree.structure(flow) or not all(isinstance(f, bool | np.bool_) for f in flags):
        raise ValueError(
            "trainable: expected a tree of bools like pushforward.trainable(flow), got another structure. Edit that tree "
            "with equinox.tree_at."
        )
    if not any(flags):
        raise ValueError("trainable: expected at least one trained array, got none.")
    return tuple(bool(flag) for leaf, flag in zip(leaves, flags, strict=True) if is_array(leaf))


class _Buffer:
    """Shuffled batches of an epoch, gathered on the host into buffers of one size."""

    def __init__(self, rows: Rows, batch: int, dtype: np.dtype) -> None:
        parts = (rows.x, rows.context, None if rows.weights is None else rows.weights)
        self.parts = tuple(None if part is None else part.astype(dtype) for part in parts)
        self.batch, self.n_rows = batch, len(rows)

    def empty(self) -> tuple[np.ndarray | None, ...]:
        return tuple(
            None if part is None else np.zeros((_BUFFER_STEPS, self.batch, *part.shape[1:]), part.dtype)
            for part in self.parts
        )

    def epoch(self, random: np.random.Generator, passes: int):
        steps = self.n_rows // self.batch
        order = np.concatenate([random.permutation(self.n_rows)[: steps * self.batch] for _ in range(passes)])
        order = order.reshape(-1, self.batch)
        for start in range(0, len(order), _BUFFER_STEPS):
            index = order[start : start + _BUFFER_STEPS]
            batches = self.empty()
            for target, part in zip(batches, self.parts, strict=True):
                if part is not None:
                    target[: len(index)] = part[index]
            yield batches, len(index)


def _copy(merge: Merge, course: Course, ema: float | None) -> Flow:
    moving = course.average if ema else course.weights
    return merge([jnp.array(leaf) for leaf in moving], [jnp.array(leaf) for leaf in course.rest])


def _held_nats(merge: Merge, course: Course, held: Rows, ema: float | None) -> float:
    scores = merge(course.average if ema else course.weights, course.rest).log_prob(held.x, held.context)
    return float(np.average(np.asarray(scores, np.float64), weights=held.weights))
