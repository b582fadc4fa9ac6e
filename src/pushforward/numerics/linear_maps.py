"""Linear maps defined by their transpose: a hand-written backward rule that keeps forward mode."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from pushforward.numerics.precision import in_full_precision


def transpose_of(pull: Callable[[Any, Any], Any], residuals: Any, like: Any, tangents: Any) -> Any:
    """Apply to `tangents` the linear map whose transpose is cotangents -> pull(residuals, cotangents).

    For the tangent rule of a `jax.custom_jvp`. Reverse mode stores only `residuals` and calls `pull`, as with
    `jax.custom_vjp`; forward mode transposes `pull`; higher derivatives are those of `pull`.

    Args:
        pull: linear in the second argument, composed of differentiable operations, without closed-over tracers.
        residuals: a tree of arrays on which the map depends.
        like: a tree of arrays with the shapes and dtypes of the result.
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
    """The linear map on flat leaves: residuals first, then tangents."""

    def __init__(self, pull: Callable[..., list[Array]], n_residuals: int, avals: list[Any]) -> None:
        self.pull, self.n_residuals, self.avals = pull, n_residuals, avals

    def split(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return list(leaves[: self.n_residuals]), list(leaves[self.n_residuals :])

    def __call__(self, *leaves: Array) -> list[Array]:
        residuals, tangents = self.split(leaves)
        return list(jax.linear_transpose(lambda *bars: self.pull(residuals, bars), *self.avals)(tangents))

    def jvp(self, primals: Sequence[Any], dots: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Linear in the tangents; differentiates `pull` with respect to residuals with nonzero tangents."""
        residuals, tangents = self.split(primals)
        residuals_dot, tangents_dot = self.split(dots)
        outs = _primitive.bind(*primals, rule=self)
        outs_dot = [ad.Zero(aval) for aval in self.avals]
        if any(type(dot) is not ad.Zero for dot in tangents_dot):
            outs_dot = _primitive.bind(*residuals, *map(ad.instantiate_zeros, tangents_dot), rule=self)
        nonzero = [index for index, dot in enumerate(residuals_dot) if type(dot) is not ad.Zero]
        if nonzero:

            def at_residuals(*values: Array) -> list[Array]:
                replaced = dict(zip(nonzero, values, strict=True))
                return self(*[replaced.get(index, leaf) for index, leaf in enumerate(residuals)], *tangents)

            values, values_dot = ([part[index] for index in nonzero] for part in (residuals, residuals_dot))
            outs_dot = list(map(ad.add_tangents, outs_dot, jax.jvp(at_residuals, values, values_dot)[1]))
        return outs, outs_dot

    def transpose(self, cotangents: Sequence[Any], *leaves: Any) -> list[Any]:
        """Cotangents of the undefined primals; tangents that are defined are instantiated zeros."""
        residuals, tangents = self.split(leaves)
        tangents_bar = self.pull(residuals, [ad.instantiate_zeros(cotangent) for cotangent in cotangents])
        is_undefined = [ad.is_undefined_primal(tangent) for tangent in tangents]
        return [None] * self.n_residuals + [
            bar if undefined else None for bar, undefined in zip(tangents_bar, is_undefined, strict=True)
        ]

    def batch(self, leaves: Sequence[Any], axes: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """The map with `pull` under vmap; unbatched tangents are broadcast, so that their cotangents are summed."""
        size = next(leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None)
        residuals, tangents = self.split(leaves)
        residual_axes, tangent_axes = self.split(axes)
        tangents = [batching.bdim_at_front(leaf, axis, size) for leaf, axis in zip(tangents, tangent_axes, strict=True)]
        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        mapped = _Transpose(jax.vmap(self.pull, (residual_axes, 0), axis_size=size), self.n_residuals, avals)
        return _primitive.bind(*residuals, *tangents, rule=mapped), [0] * len(avals)


_primitive = Primitive("transpose_of")
_primitive.multiple_results = True
# The rules are traced later, outside the precision context in which the primitive was bound.
_definition = in_full_precision(lambda *leaves, rule: rule(*leaves))
_primitive.def_impl(_definition)
_primitive.def_abstract_eval(lambda *leaves, rule: rule.avals)
ad.primitive_jvps[_primitive] = in_full_precision(lambda primals, tangents, *, rule: rule.jvp(primals, tangents))
ad.primitive_transposes[_primitive] = in_full_precision(lambda bars, *leaves, rule: rule.transpose(bars, *leaves))
batching.primitive_batchers[_primitive] = in_full_precision(lambda leaves, axes, *, rule: rule.batch(leaves, axes))
mlir.register_lowering(_primitive, mlir.lower_fun(_definition, multiple_results=True))
