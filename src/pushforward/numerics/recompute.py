"""Gradients of a stack of bijections that keep its last value alone: inputs of layers are computed from their outputs.

Reverse mode keeps what every layer has computed, so its memory grows with depth. A bijection can be undone instead:
from the last layer to the first, the layer's other verb gives its input, one evaluation of that layer its gradient.
The rule belongs to a whole batch at once, else a map over samples would give every sample a gradient of the weights
of its own, to be summed afterwards: so it is an operation that learns of the batch first (`numerics.whole_batch`).
A layer of several parts is undone part by part. Less is kept at a time, and where a coupling ends what is undone and
begins what is evaluated again, both need its network at one input, which XLA computes once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.interpreters import ad
from jaxtyping import Array

from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.tangents import reverse_only
from pushforward.numerics.trailing_batch import BatchRule, whole_batch

Run = Callable[[Array, Any, Any, Any], tuple[Array, Array]]
Part = Callable[[list[Array], Array, Any, Any], tuple[Array, Array]]


_NO_FORWARD_MODE = (
    "Repeat: recompute=True has derivatives by reverse mode, and by forward mode over reverse, but not by forward-mode "
    "differentiation alone. Use recompute=False, or reverse mode (jax.grad, jax.jacrev)."
)


def recomputed(
    run: Run, leaves_of: Callable[[Any], list[Array]], parts: Sequence[tuple[Part, Part]], *, reverse: bool, unroll: int
) -> Run:
    """The function `run`, whose gradient keeps its result alone.

    The value is that of `run`. Its gradient, in reverse mode, goes back from the result: the inverse of a part gives
    its input up to rounding, which grows with the condition of the layers. Where weights are mapped inside the gradient
    (an ensemble in one program) the gradient is the ordinary one.

    Args:
        run: called as run(value, context, keys, weights) with one sample; goes through the layers in the order of the
            leading axes of `keys` and `weights`, or from their end if `reverse`. Returns (value, log_det) in the type
            of `value`.
        leaves_of: called with the weights of one layer, returns its arrays.
        parts: a layer as functions in sequence, each with its inverse; called as part(leaves, value, context, key) with
            the arrays and the key of the layer; return (value, log_det).
        reverse: which way `run` goes.
        unroll: how many layers one turn of the loop back holds.
    """

    def call(value: Array, context: Any, keys: Any, weights: Any) -> tuple[Array, Array]:
        data, structure = jax.tree.flatten((value, context, keys))
        leaves, weights_structure = jax.tree.flatten(weights)
        walk = _Walk(run, leaves_of, parts, structure, weights_structure, reverse, unroll)
        value, log_det = whole_batch(_Rule(walk, (None,) * len(data), value), *data, *map(jnp.asarray, leaves))
        return value, log_det

    return call


@dataclasses.dataclass(frozen=True)
class _Walk:
    """What `recomputed` was given, and how (value, context, keys) and the weights are made of flat leaves."""

    run: Run
    leaves_of: Callable[[Any], list[Array]]
    parts: Sequence[tuple[Part, Part]]
    data: Any
    weights: Any
    reverse: bool
    unroll: int


class _Rule(BatchRule):
    """The operation for one sample (`axes` all None), or for a batch: axis 0 of the data whose entry in `axes` is 0."""

    def __init__(self, walk: _Walk, axes: tuple[int | None, ...], value: Any) -> None:
        self.walk, self.axes = walk, axes
        lead = value.shape[:1] if self._is_batched else ()
        self.avals = [jax.core.ShapedArray(value.shape, value.dtype), jax.core.ShapedArray(lead, value.dtype)]

    @property
    def _is_batched(self) -> bool:
        return self.axes[0] is not None

    def __call__(self, *leaves: Any) -> tuple[Array, Array]:
        value, context, keys, weights = self._trees(leaves)
        if not self._is_batched:
            return self.walk.run(value, context, keys, weights)
        axes = jax.tree.unflatten(self.walk.data, self.axes)
        return jax.vmap(self.walk.run, (*axes, None))(value, context, keys, weights)

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        n_data = len(self.axes)
        if any(axis is not None for axis in axes[n_data:]):
            return list(jax.vmap(self, list(axes))(*args)), [0, 0]
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        inner = args[0].shape[1] if axes[0] == 0 else args[0].shape[0]
        data, after = [], []
        for index, (arg, axis, known) in enumerate(zip(args, axes, self.axes, strict=False)):
            is_mapped = axis is not None
            arg = jnp.moveaxis(arg, axis, 0) if is_mapped else arg
            if not self._is_batched:
                if index == 0 and not is_mapped:  # one value under many contexts or keys
                    arg, is_mapped = jnp.broadcast_to(arg, (size, *arg.shape)), True
            elif is_mapped or known is not None:  # a batch of batches is one batch
                event = arg.shape[is_mapped + (known is not None) :]
                arg = arg if is_mapped else arg[None]
                arg = arg if known is not None else arg[:, None]
                arg, is_mapped = jnp.broadcast_to(arg, (size, inner, *event)).reshape(size * inner, *event), True
            data.append(arg)
            after.append(0 if is_mapped else None)
        outs = whole_batch(_Rule(self.walk, tuple(after), data[0]), *data, *args[n_data:])
        if self._is_batched:
            outs = [out.reshape(size, inner, *out.shape[1:]) for out in outs]
        return outs, [0, 0]

    def jvp(self, primals: Any, tangents: Any) -> Any:
        moves = [type(tangent) is not ad.Zero for tangent in tangents]
        still = [primal for primal, does_move in zip(primals, moves, strict=True) if not does_move]

        def of_moving(*moving: Array) -> list[Array]:
            return list(self._with_gradient(moves)(*_merged(moves, moving, still)))

        moving = [primal for primal, does_move in zip(primals, moves, strict=True) if does_move]
        return jax.jvp(
            lambda *moving: of_moving(*reverse_only(moving, _NO_FORWARD_MODE)),
            moving,
            [tangent for tangent in tangents if type(tangent) is not ad.Zero],
        )

    def _with_gradient(self, moves: list[bool]) -> Callable[..., tuple[Array, Array]]:
        @jax.custom_vjp
        def run(*leaves: Any) -> tuple[Array, Array]:
            return self(*leaves)

        @in_full_precision
        def forward(*leaves: Any) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
            value, log_det = self(*leaves)
            return (value, log_det), (value, *leaves[1:])

        @in_full_precision
        def backward(kept: tuple[Any, ...], cotangents: tuple[Array, Array]) -> tuple[Any, ...]:
            return self._back(moves, kept, *cotangents)

        run.defvjp(forward, backward)
        return run

    def _back(self, moves: list[bool], kept: tuple[Any, ...], value_bar: Array, total_bar: Array) -> tuple[Any, ...]:
        """The gradients of all leaves, None where they do not move; `kept` are the leaves, the result in place of the
        first."""
        walk, n_data = self.walk, len(self.axes)
        value, context, keys, _ = self._trees(kept)
        weights = list(kept[n_data:])
        context_axis, keys_axis = jax.tree.unflatten(walk.data, self.axes)[1:]
        if keys_axis == 0:
            keys = jnp.moveaxis(keys, 1, 0)
        context_moves = any(moves[1:n_data])  # keys do not
        weights_move = moves[n_data:]

        def mapped(part: Part) -> Part:
            return jax.vmap(part, (None, 0, context_axis, keys_axis)) if self._is_batched else part

        def back(carry: tuple[Array, Array, Any], inputs: tuple[list[Any], Any]) -> tuple[tuple, list[Array]]:
            value, value_bar, context_bar = carry
            weights, key = inputs
            still, moving = (
                [leaf for leaf, does_move in zip(weights, weights_move, strict=True) if does_move == which]
                for which in (False, True)
            )

            def arrays(moving: list[Array]) -> Any:
                leaves = walk.leaves_of(jax.tree.unflatten(walk.weights, _merged(weights_move, moving, still)))
                return eqx.partition(leaves, eqx.is_inexact_array)

            floats, pull_arrays, others = jax.vjp(arrays, moving, has_aux=True)
            floats_bar = jax.tree.map(jnp.zeros_like, floats)
            for part, undo in reversed(walk.parts):
                before, _ = mapped(undo)(eqx.combine(floats, others), value, context, key)

                def again(floats: Any, before: Array, moving: Any, part: Part = part) -> tuple[Array, Array]:
                    given = moving if context_moves else context
                    after, log_det = mapped(part)(eqx.combine(floats, others), before, given, key)
                    return after, log_det.astype(total_bar.dtype)

                _, pull = jax.vjp(again, floats, before, context if context_moves else None)
                more, value_bar, more_context = pull((value_bar, total_bar))
                floats_bar = jax.tree.map(jnp.add, floats_bar, more)
                context_bar = jax.tree.map(jnp.add, context_bar, more_context)
                value = before
            return (value, value_bar, context_bar), pull_arrays(floats_bar)[0]

        start = value, value_bar, jax.tree.map(jnp.zeros_like, context) if context_moves else None
        (_, value_bar, context_bar), weights_bar = jax.lax.scan(
            back, start, (weights, keys), reverse=not walk.reverse, unroll=walk.unroll
        )
        bars = [value_bar if moves[0] else None, *jax.tree.leaves(context_bar)]
        bars += [None] * (n_data - len(bars))
        return *bars, *_merged(weights_move, weights_bar, [None] * (len(weights) - len(weights_bar)))

    def _trees(self, leaves: Any) -> tuple[Array, Any, Any, Any]:
        n_data = len(self.axes)
        value, context, keys = jax.tree.unflatten(self.walk.data, leaves[:n_data])
        return value, context, keys, jax.tree.unflatten(self.walk.weights, leaves[n_data:])


def _merged(flags: list[bool], where_true: Any, where_false: Any) -> list[Any]:
    yes, no = iter(where_true), iter(where_false)
    return [next(yes) if flag else next(no) for flag in flags]
