"""The state of training: what changes from step to step, and how a flow splits into trained and frozen arrays."""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from pushforward.core.fields import trainable
from pushforward.core.state import certify, finalise, has_hook
from pushforward.numerics.arrays import is_array, on_device
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten
from pushforward.train.optimizer import UpdateRule


class TrainState(NamedTuple):
    """What changes from step to step. The state, the data and the options decide all later steps.

    Attributes:
        params: trained arrays.
        frozen: the other arrays of the flow, among them those that `refresh` updates after each step; then the masks of
            a `Partition` that has some.
        opt_state: state of the optimiser.
        ema: exponential moving average of the parameters; empty without one.
        key: of the randomness of all steps; it does not change.
        step: number of steps so far, with those that were skipped or undone.
        lr_scale: factor on the learning rate: halved at a skipped step, then growing back to one.
        skipped_steps: number of skipped steps so far.
        bad_steps: number of consecutive skipped steps, up to now.
    """

    params: list[Array]
    frozen: list[Array]
    opt_state: Any
    ema: list[Array]
    key: PRNGKeyArray
    step: Array
    lr_scale: Array
    skipped_steps: Array
    bad_steps: Array


class Partition(NamedTuple):
    """How a flow splits into trained and frozen arrays; hashable, so that equal flows share one compiled program.

    Under the default optimiser the trained arrays are one flat vector: clipping, Adam and the update are then a few
    loops instead of a few for every array, which compiles about a second faster. A caller's optimiser gets the arrays.

    Attributes:
        static: the hashable half of the flow.
        trained: for each array of the flow, whether it is trained, wholly or in part.
        shapes: shapes of the trained arrays where these are one flat vector, else None.
        is_masked: whether an array is trained in part. The masks, one for each array of `TrainState.params`, are the
            last of `TrainState.frozen`: another choice of frozen layers runs the same program.
    """

    static: Any
    trained: tuple[bool, ...]
    shapes: tuple[tuple[int, ...], ...] | None
    is_masked: bool = False

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

    def masks(self, frozen: list[Array]) -> list[Array]:
        """The masks at the end of `TrainState.frozen`: True where a parameter is trained."""
        return frozen[self.trained.count(False) :]

    def keep_frozen(self, params: list[Array], previous: list[Array], frozen: list[Array]) -> list[Array]:
        """The parameters, those that are frozen by a mask with their previous bits."""
        if not self.is_masked:
            return params
        groups = zip(self.masks(frozen), params, previous, strict=True)
        return [jnp.where(mask, new, old) for mask, new, old in groups]


@compiled(1)
def _init_optimizer(optimizer: optax.GradientTransformation, params: list[Array]) -> Any:
    return optimizer.init(params)


def init_state(
    flow: Any, trained: tuple[bool | np.ndarray, ...], rule: UpdateRule, key: PRNGKeyArray
) -> tuple[Partition, TrainState]:
    """The state before the first step. Flattened on the host: eager JAX would compile a program for every shape.

    Args:
        flow: the flow.
        trained: for each of its arrays, whether it is trained, or a mask, from `trained_flags`.
        rule: how a step changes the weights.
        key: of the randomness of all steps.
    """
    arrays, static = flatten(flow)
    chosen = [(leaf, flag) for leaf, flag in zip(arrays, trained, strict=True) if np.any(flag)]
    shapes, is_masked = tuple(leaf.shape for leaf, _ in chosen), any(np.ndim(flag) for _, flag in chosen)
    flags = tuple(bool(np.any(flag)) for flag in trained)
    partition = Partition(static, flags, shapes if rule.is_default else None, is_masked)
    params, frozen = partition.split(jax.tree.map(lambda leaf: np.array(leaf) if is_array(leaf) else leaf, flow), np)
    if is_masked:
        masks = [np.broadcast_to(flag, np.shape(flag) or (1,) * leaf.ndim) for leaf, flag in chosen]
        if rule.is_default:
            whole = [np.broadcast_to(mask, leaf.shape) for mask, (leaf, _) in zip(masks, chosen, strict=True)]
            masks = [np.concatenate([mask.reshape(-1) for mask in whole])]
        frozen = [*frozen, *masks]
    # copies: the loop donates its buffers
    params, frozen = ([on_device(leaf) for leaf in part] for part in (params, frozen))
    ema = [on_device(leaf) for leaf in params] if rule.is_averaged else []
    if rule.is_default:
        opt_state = _init_optimizer(rule.optimizer, params)
    else:  # the state of a caller's optimiser may hold the parameters themselves, or one array twice
        opt_state = restore(snapshot(rule.optimizer.init(params)))
    lr_scale, counts = on_device(1, float_type(arrays)), [on_device(0, np.int32) for _ in range(3)]
    step, skipped_steps, bad_steps = counts
    state = TrainState(params, frozen, opt_state, ema, _copy_key(key), step, lr_scale, skipped_steps, bad_steps)
    return partition, state


def snapshot(state: Any) -> Any:
    """A copy that the compiled loop cannot donate: in NumPy, except typed random keys, which NumPy cannot hold."""
    return jax.tree.map(lambda leaf: _copy_key(leaf) if is_key(leaf) else np.array(leaf), state)


def restore(state: Any) -> Any:
    """The state of a snapshot, in new arrays on the device."""
    return jax.tree.map(lambda leaf: _copy_key(leaf) if is_key(leaf) else on_device(leaf), state)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed random keys, which NumPy cannot hold."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _copy_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key in a new array, without a compiled program."""
    return jax.random.wrap_key_data(on_device(jax.random.key_data(key)), impl=jax.random.key_impl(key))


def finalise_trained(flow: Any, chosen: PyTree | None) -> Any:
    """The flow after `finalise`, where the caller's `trainable=` freezes parameters with their bits.

    Args:
        flow: after training.
        chosen: what `trainable=` was, None for all parameters.
    """
    final = finalise(flow)
    if chosen is None or not has_hook(flow, "finalised"):
        return final

    def select(new: Any, old: Any, flag: Any, is_trained: bool) -> Any:
        is_kept = is_trained and not np.all(flag)
        return on_device(np.where(flag, np.asarray(new), np.asarray(old))) if is_kept else new

    return certify(jax.tree.map(select, final, flow, chosen, trainable(flow)))


def extract_flow(partition: Partition, state: TrainState, like: Any) -> Any:
    """The flow of the state, in new arrays, except for host arrays of `like` that training does not change."""
    params = [np.array(leaf) for leaf in state.ema or state.params]
    flow = partition.combine(params, [np.array(leaf) for leaf in state.frozen])
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
