"""Linear maps that are written as their transpose: a hand-written backward rule without the loss of forward mode."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from pushforward.numerics.precision import in_full_precision


def transpose_of(pull: Callable[[Any, Any], Any], residuals: Any, like: Any, tangents: Any) -> Any:
    """The linear map of `tangents` whose transpose is cotangents -> pull(residuals, cotangents), as one operation.

    For the tangent rule of a `jax.custom_jvp`. Reverse mode keeps `residuals` alone and calls `pull`, as with a
    `jax.custom_vjp`; forward mode transposes `pull`; derivatives of either follow by those of `pull`.

    Args:
        pull: linear in the second argument, made of differentiable operations, without closed-over traced values.
        residuals: a tree of arrays on which the map depends.
        like: a tree of arrays, of the shapes and dtypes of the result.
        tangents: a tree of floating-point arrays.
    """
    residuals, residuals_tree = jax.tree.flatten(residuals)
    tangents, tangents_tree = jax.tree.flatten(tangents)
    outs, out_tree = jax.tree.flatten(like)

    def flat_pull(residuals: Sequence[Array], cotangents: Sequence[Array]) -> list[Array]:
        pulled = pull(jax.tree.unflatten(residuals_tree, residuals), jax.tree.unflatten(out_tree, cotangents))
        return tangents_tree.flatten_up_to(pulled)

    rule = _Transpose(flat_pull, len(residuals), [jax.core.ShapedArray(jnp.shape(out), out.dtype) for out in outs])
    return jax.tree.unflatten(out_tree, _primitive.bind(*residuals, *tangents, rule=rule))


class _Transpose:
    """The map of flat leaves, first the residuals, then the tangents."""

    def __init__(self, pull: Callable[..., list[Array]], n_residuals: int, avals: list[Any]) -> None:
        self.pull, self.n_residuals, self.avals = pull, n_residuals, avals

    def split(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return list(leaves[: self.n_residuals]), list(leaves[self.n_residuals :])

    def __call__(self, *leaves: Array) -> list[Array]:
        residuals, tangents = self.split(leaves)
        return list(jax.linear_transpose(lambda *bars: self.pull(residuals, bars), *self.avals)(tangents))

    def jvp(self, primals: Sequence[Any], moves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Linear in the tangents; in the residuals, of which some may not move, as it is written."""
        residuals, tangents = self.split(primals)
        residuals_dot, tangents_dot = self.split(moves)
        outs = _primitive.bind(*primals, rule=self)
        outs_dot = [ad.Zero(aval) for aval in self.avals]
        if any(type(dot) is not ad.Zero for dot in tangents_dot):
            outs_dot = _primitive.bind(*residuals, *map(ad.instantiate_zeros, tangents_dot), rule=self)
        moving = [index for index, dot in enumerate(residuals_dot) if type(dot) is not ad.Zero]
        if moving:

            def of_moving(*values: Array) -> list[Array]:
                filled = dict(zip(moving, values, strict=True))
                return self(*[filled.get(index, leaf) for index, leaf in enumerate(residuals)], *tangents)

            values, dots = ([part[index] for index in moving] for part in (residuals, residuals_dot))
            outs_dot = list(map(ad.add_tangents, outs_dot, jax.jvp(of_moving, values, dots)[1]))
        return outs, outs_dot

    def transpose(self, cotangents: Sequence[Any], *leaves: Any) -> list[Any]:
        """Tangents that are no unknowns are zeros that a caller has written out."""
        residuals, tangents = self.split(leaves)
        pulled = self.pull(residuals, [ad.instantiate_zeros(cotangent) for cotangent in cotangents])
        wanted = [ad.is_undefined_primal(tangent) for tangent in tangents]
        return [None] * self.n_residuals + [
            bar if is_wanted else None for bar, is_wanted in zip(pulled, wanted, strict=True)
        ]

    def batch(self, leaves: Sequence[Any], axes: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """The mapped pair of both; tangents that are not mapped are repeated, for their cotangents are to be summed."""
        size = next(leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None)
        residuals, tangents = self.split(leaves)
        residual_axes, tangent_axes = self.split(axes)
        tangents = [batching.bdim_at_front(leaf, axis, size) for leaf, axis in zip(tangents, tangent_axes, strict=True)]
        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        mapped = _Transpose(jax.vmap(self.pull, (residual_axes, 0), axis_size=size), self.n_residuals, avals)
        return _primitive.bind(*residuals, *tangents, rule=mapped), [0] * len(avals)


_primitive = Primitive("transpose_of")
_primitive.multiple_results = True
# The rules are traced late, outside of the precision that was in force where the operation was written down.
_written = in_full_precision(lambda *leaves, rule: rule(*leaves))
_primitive.def_impl(_written)
_primitive.def_abstract_eval(lambda *leaves, rule: rule.avals)
ad.primitive_jvps[_primitive] = in_full_precision(lambda primals, tangents, *, rule: rule.jvp(primals, tangents))
ad.primitive_transposes[_primitive] = in_full_precision(lambda bars, *leaves, rule: rule.transpose(bars, *leaves))
batching.primitive_batchers[_primitive] = in_full_precision(lambda leaves, axes, *, rule: rule.batch(leaves, axes))
mlir.register_lowering(_primitive, mlir.lower_fun(_written, multiple_results=True))
