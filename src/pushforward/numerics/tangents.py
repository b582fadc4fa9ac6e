"""Functions with custom tangent rules that hold inside loops and for every order.

`jax.custom_jvp` and `jax.custom_vjp` are inlined when JAX linearises a loop around them (`lax.scan`, so every
`Repeat`). A second derivative is then that of the function's own code: of the loop of a solver, or of a constant.
Primitives are not inlined.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from pushforward.numerics.trailing_batch import BatchRule, bind_rule

# (leaves, results, which leaves have tangents, these tangents) -> tangents of the first results; the others are zero
Tangent = Callable[[list[Array], list[Array], tuple[bool, ...], list[Array]], list[Array]]


def with_tangents(run: Callable[..., list[Array]], tangent: Tangent, *leaves: Array) -> list[Array]:
    """run(*leaves), a list of arrays, with a custom tangent rule.

    The rule must be composed of differentiable operations. Derivatives of the results that it reads follow the rule
    again, so derivatives of every order are defined. Neither function may close over tracers.

    Args:
        run: the function.
        tangent: called as tangent(leaves, results, nonzero, dots); `nonzero` is a mask of the leaves that have
            tangents, `dots` are these tangents. Returns the tangents of the first results; those of the rest are zero.
        leaves: arrays.
    """
    with jax.disable_jit(False):  # with jit disabled, JAX would run loops in Python
        avals = [jax.core.ShapedArray(out.shape, out.dtype) for out in jax.eval_shape(run, *leaves)]
    return bind_rule(_Rule(run, tangent, avals), *leaves)


def replace_where(mask: Sequence[bool], leaves: Sequence[Any], replacements: Sequence[Any]) -> list[Any]:
    """The leaves, with replacements at the positions where the mask is true."""
    values = iter(replacements)
    return [next(values) if is_replaced else leaf for leaf, is_replaced in zip(leaves, mask, strict=True)]


def select_where(mask: Sequence[bool], leaves: Sequence[Any]) -> list[Any]:
    """The leaves at the positions where the mask is true."""
    return [leaf for leaf, is_selected in zip(leaves, mask, strict=True) if is_selected]


class _Rule(BatchRule):
    """A function and its tangent rule; batching maps both."""

    def __init__(self, run: Callable[..., list[Array]], tangent: Tangent, avals: list[Any]) -> None:
        self.run, self.tangent, self.avals = run, tangent, avals

    def __call__(self, *leaves: Any) -> list[Array]:
        return self.run(*leaves)

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        axes = list(axes)
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)

        def tangent(
            leaves: list[Array], outs: list[Array], nonzero: tuple[bool, ...], dots: list[Array]
        ) -> list[Array]:
            def tangent_one(leaves: list[Array], outs: list[Array], dots: list[Array]) -> list[Array]:
                return self.tangent(leaves, outs, nonzero, dots)

            tangent_axes = select_where(nonzero, axes)
            return jax.vmap(tangent_one, (axes, 0, tangent_axes), axis_size=size)(leaves, outs, dots)

        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        rule = _Rule(jax.vmap(self.run, axes, axis_size=size), tangent, avals)
        return bind_rule(rule, *args), [0] * len(avals)

    def jvp(self, primals: Any, tangents: Any) -> Any:
        leaves = [jnp.asarray(primal) for primal in primals]
        outs = bind_rule(self, *leaves)
        nonzero = tuple(type(tangent) is not ad.Zero for tangent in tangents)
        dots = self.tangent(leaves, outs, nonzero, select_where(nonzero, list(tangents)))
        return outs, [*dots, *(ad.Zero(aval.to_tangent_aval()) for aval in self.avals[len(dots) :])]


def forward_only(x: Array, message: str) -> Array:
    """The identity, whose reverse mode raises NotImplementedError with this message."""
    return _forward_only.bind(x, message=message)


def _refuse(cotangent: Any, x: Any, *, message: str) -> Any:
    raise NotImplementedError(message)


_forward_only = Primitive("forward_only")
_forward_only.def_impl(lambda x, message: x)
_forward_only.def_abstract_eval(lambda x, message: x)
ad.deflinear2(_forward_only, _refuse)
batching.defvectorized(_forward_only)
mlir.register_lowering(_forward_only, lambda ctx, x, message: [x])
