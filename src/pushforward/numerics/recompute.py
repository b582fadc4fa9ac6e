"""Reverse mode for a stack of bijections that stores only the last value and recomputes layer inputs by inversion.

Ordinary reverse mode stores the activations of every layer, so its memory grows with depth. For bijections the backward
pass can go from the last layer to the first: the layer's other direction recomputes its input, and one evaluation of
the layer gives its gradient. The rule handles a whole batch at once (`bind_rule`): under vmap every sample would have
a separate gradient of the weights, to be summed afterwards. A layer of several parts is inverted part by part, which
stores less at a time. Inverting a coupling and evaluating it again need its network at the same input, which XLA
computes once. Forward mode is the transpose of the backward pass and stores the activations.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.interpreters import ad
from jaxtyping import Array

from pushforward.numerics.linear_maps import transpose_of
from pushforward.numerics.tangents import replace_where, select_where
from pushforward.numerics.trailing_batch import BatchRule, bind_rule

Run = Callable[[Array, Any, Any, Any], tuple[Array, Array]]
Part = Callable[[list[Array], Array, Any, Any], tuple[Array, Array]]


def recomputed(
    run: Run, leaves_of: Callable[[Any], list[Array]], parts: Sequence[tuple[Part, Part]], *, reverse: bool, unroll: int
) -> Run:
    """The function `run` with a reverse mode that stores only its result.

    The value is that of `run`. The backward pass starts from the result: the inverse of a part recomputes its input up
    to rounding, which grows with the condition of the layers. If weights are batched by vmap inside the gradient (an
    ensemble in one program), the gradient is the ordinary one.

    Args:
        run: called as run(value, context, keys, weights) with one sample; applies the layers in the order of the
            leading axes of `keys` and `weights`, or in reverse order if `reverse`. Returns (value, log_det) in the
            dtype of `value`.
        leaves_of: called with the weights of one layer, returns its arrays.
        parts: a layer as a sequence of functions, each with its inverse; called as part(leaves, value, context, key)
            with the arrays and the key of the layer; return (value, log_det).
        reverse: whether `run` applies the layers in reverse order.
        unroll: number of layers in one iteration of the backward loop.
    """

    def call(value: Array, context: Any, keys: Any, weights: Any) -> tuple[Array, Array]:
        data, structure = jax.tree.flatten((value, context, keys))
        leaves, weights_structure = jax.tree.flatten(weights)
        stack = _Stack(run, leaves_of, parts, structure, weights_structure, reverse, unroll)
        value, log_det = bind_rule(_Rule(stack, (None,) * len(data), value), *data, *map(jnp.asarray, leaves))
        return value, log_det

    return call


@dataclasses.dataclass(frozen=True)
class _Stack:
    """The arguments of `recomputed`, and the tree structures of (value, context, keys) and of the weights."""

    run: Run
    leaves_of: Callable[[Any], list[Array]]
    parts: Sequence[tuple[Part, Part]]
    data: Any
    weights: Any
    reverse: bool
    unroll: int


class _Rule(BatchRule):
    """The primitive for one sample (`axes` all None), or for a batch along axis 0 of the data with a 0 in `axes`."""

    def __init__(self, stack: _Stack, axes: tuple[int | None, ...], value: Any) -> None:
        self.stack, self.axes = stack, axes
        lead = value.shape[:1] if self._is_batched else ()
        self.avals = [jax.core.ShapedArray(value.shape, value.dtype), jax.core.ShapedArray(lead, value.dtype)]

    @property
    def _is_batched(self) -> bool:
        return self.axes[0] is not None

    def __call__(self, *leaves: Any) -> tuple[Array, Array]:
        value, context, keys, weights = self._trees(leaves)
        if not self._is_batched:
            return self.stack.run(value, context, keys, weights)
        axes = jax.tree.unflatten(self.stack.data, self.axes)
        return jax.vmap(self.stack.run, (*axes, None))(value, context, keys, weights)

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        n_data = len(self.axes)
        if any(axis is not None for axis in axes[n_data:]):
            return list(jax.vmap(self, list(axes))(*args)), [0, 0]
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        inner_size = args[0].shape[1] if axes[0] == 0 else args[0].shape[0]
        data, new_axes = [], []
        for index, (arg, axis, inner_axis) in enumerate(zip(args, axes, self.axes, strict=False)):
            is_batched = axis is not None
            arg = jnp.moveaxis(arg, axis, 0) if is_batched else arg
            if not self._is_batched:
                if index == 0 and not is_batched:  # one value with many contexts or keys
                    arg, is_batched = jnp.broadcast_to(arg, (size, *arg.shape)), True
            elif is_batched or inner_axis is not None:  # a batch of batches is flattened to one batch
                event = arg.shape[is_batched + (inner_axis is not None) :]
                arg = arg if is_batched else arg[None]
                arg = arg if inner_axis is not None else arg[:, None]
                arg = jnp.broadcast_to(arg, (size, inner_size, *event)).reshape(size * inner_size, *event)
                is_batched = True
            data.append(arg)
            new_axes.append(0 if is_batched else None)
        outs = bind_rule(_Rule(self.stack, tuple(new_axes), data[0]), *data, *args[n_data:])
        if self._is_batched:
            outs = [out.reshape(size, inner_size, *out.shape[1:]) for out in outs]
        return outs, [0, 0]

    def jvp(self, primals: Any, tangents: Any) -> Any:
        nonzero = [type(tangent) is not ad.Zero for tangent in tangents]
        outs = bind_rule(self, *primals)

        def pull(residuals: list[Any], bars: list[Array]) -> list[Array]:
            return select_where(nonzero, self._backward(nonzero, residuals, *bars))

        return outs, transpose_of(pull, [outs[0], *primals[1:]], outs, select_where(nonzero, tangents))

    def _backward(self, nonzero: list[bool], residuals: list[Any], value_bar: Array, total_bar: Array) -> list[Any]:
        """The gradients of all leaves, None for those without a tangent.

        The residuals are the leaves with the first one, the input value, replaced by the result.
        """
        stack, n_data = self.stack, len(self.axes)
        value, context, keys, _ = self._trees(residuals)
        weights = list(residuals[n_data:])
        context_axis, keys_axis = jax.tree.unflatten(stack.data, self.axes)[1:]
        if keys_axis == 0:
            keys = jnp.moveaxis(keys, 1, 0)
        differentiates_context = any(nonzero[1:n_data])  # keys have no tangents
        weights_nonzero = nonzero[n_data:]

        def batched(part: Part) -> Part:
            return jax.vmap(part, (None, 0, context_axis, keys_axis)) if self._is_batched else part

        def step(carry: tuple[Array, Array, Any], inputs: tuple[list[Any], Any]) -> tuple[tuple, list[Array]]:
            value, value_bar, context_bar = carry
            weights, key = inputs

            def arrays(differentiated: list[Array]) -> Any:
                layer_weights = replace_where(weights_nonzero, weights, differentiated)
                leaves = stack.leaves_of(jax.tree.unflatten(stack.weights, layer_weights))
                return eqx.partition(leaves, eqx.is_inexact_array)

            floats, pull_arrays, others = jax.vjp(arrays, select_where(weights_nonzero, weights), has_aux=True)
            floats_bar = jax.tree.map(jnp.zeros_like, floats)
            for part, inverse in reversed(stack.parts):
                part_input, _ = batched(inverse)(eqx.combine(floats, others), value, context, key)

                def evaluate(floats: Any, part_input: Array, at: Any, part: Part = part) -> tuple[Array, Array]:
                    at = at if differentiates_context else context
                    output, log_det = batched(part)(eqx.combine(floats, others), part_input, at, key)
                    return output, log_det.astype(total_bar.dtype)

                _, pull = jax.vjp(evaluate, floats, part_input, context if differentiates_context else None)
                part_floats_bar, value_bar, part_context_bar = pull((value_bar, total_bar))
                floats_bar = jax.tree.map(jnp.add, floats_bar, part_floats_bar)
                context_bar = jax.tree.map(jnp.add, context_bar, part_context_bar)
                value = part_input
            return (value, value_bar, context_bar), pull_arrays(floats_bar)[0]

        start = value, value_bar, jax.tree.map(jnp.zeros_like, context) if differentiates_context else None
        (_, value_bar, context_bar), weights_bar = jax.lax.scan(
            step, start, (weights, keys), reverse=not stack.reverse, unroll=stack.unroll
        )
        bars = [value_bar if nonzero[0] else None, *jax.tree.leaves(context_bar)]
        bars += [None] * (n_data - len(bars))
        return [*bars, *replace_where(weights_nonzero, [None] * len(weights), weights_bar)]

    def _trees(self, leaves: Any) -> tuple[Array, Any, Any, Any]:
        n_data = len(self.axes)
        value, context, keys = jax.tree.unflatten(self.stack.data, leaves[:n_data])
        return value, context, keys, jax.tree.unflatten(self.stack.weights, leaves[n_data:])
