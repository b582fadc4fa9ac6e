"""Functions with a tangent rule of their own, which holds inside loops and to every order.

`jax.custom_jvp` and `jax.custom_vjp` are inlined when JAX linearises a loop around them (`lax.scan`, so every
`Repeat`): a second derivative is then that of the function as it is written, the loop of a solver or a constant. A
primitive stays.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from pushforward.numerics.trailing_batch import BatchRule, whole_batch

# (leaves, results, which leaves move, tangents of those) -> tangents of the first results; the others have none
Tangent = Callable[[list[Array], list[Array], tuple[bool, ...], list[Array]], list[Array]]


def with_tangents(run: Callable[..., list[Array]], tangent: Tangent, *leaves: Array) -> list[Array]:
    """run(*leaves), a list of arrays, differentiated by a rule.

    The rule must be made of differentiable operations; results that it reads are themselves differentiated by it, so
    derivatives of every order follow. Neither function may close over traced values.

    Args:
        run: the function.
        tangent: called as tangent(leaves, results, moves, dots), `moves` saying for each leaf whether it has a tangent,
            `dots` being these tangents. Returns the tangents of as many results as it likes, from the first on.
        leaves: arrays.
    """
    with jax.disable_jit(False):  # else JAX would unroll loops for their shapes
        avals = [jax.core.ShapedArray(out.shape, out.dtype) for out in jax.eval_shape(run, *leaves)]
    return whole_batch(_Rule(run, tangent, avals), *leaves)


def merged(leaves: Sequence[Any], moves: Sequence[bool], replacements: Sequence[Any]) -> list[Any]:
    """The leaves with others in place of those that move."""
    others = iter(replacements)
    return [next(others) if does_move else leaf for leaf, does_move in zip(leaves, moves, strict=True)]


def moving(leaves: Sequence[Any], moves: Sequence[bool]) -> list[Any]:
    """The leaves that move."""
    return [leaf for leaf, does_move in zip(leaves, moves, strict=True) if does_move]


class _Rule(BatchRule):
    """The function and its rule, for a sample or both mapped over batches."""

    def __init__(self, run: Callable[..., list[Array]], tangent: Tangent, avals: list[Any]) -> None:
        self.run, self.tangent, self.avals = run, tangent, avals

    def __call__(self, *leaves: Any) -> list[Array]:
        return self.run(*leaves)

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        axes = list(axes)
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)

        def tangent(leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]) -> list[Array]:
            def one(leaves: list[Array], outs: list[Array], dots: list[Array]) -> list[Array]:
                return self.tangent(leaves, outs, moves, dots)

            tangent_axes = [axis for axis, does_move in zip(axes, moves, strict=True) if does_move]
            return jax.vmap(one, (axes, 0, tangent_axes), axis_size=size)(leaves, outs, dots)

        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        rule = _Rule(jax.vmap(self.run, axes, axis_size=size), tangent, avals)
        return whole_batch(rule, *args), [0] * len(avals)

    def jvp(self, primals: Any, tangents: Any) -> Any:
        leaves = [jnp.asarray(primal) for primal in primals]
        outs = whole_batch(self, *leaves)
        moves = tuple(type(tangent) is not ad.Zero for tangent in tangents)
        dots = self.tangent(leaves, outs, moves, moving(list(tangents), moves))
        return outs, [*dots, *(ad.Zero(aval.to_tangent_aval()) for aval in self.avals[len(dots) :])]


def forward_only(x: Array, message: str) -> Array:
    """x, a value whose gradient in reverse mode is refused with a NotImplementedError that says `message`."""
    return _forward_only.bind(x, message=message)


def _refuse(cotangent: Any, x: Any, *, message: str) -> Any:
    raise NotImplementedError(message)


_forward_only = Primitive("forward_only")
_forward_only.def_impl(lambda x, message: x)
_forward_only.def_abstract_eval(lambda x, message: x)
ad.deflinear2(_forward_only, _refuse)
batching.defvectorized(_forward_only)
mlir.register_lowering(_forward_only, lambda ctx, x, message: [x])


def reverse_only(tree: Any, message: str) -> Any:
    """The arrays of a tree, whose tangents in forward mode are refused with a TypeError that says `message`.

    For what goes into a `jax.custom_vjp`, whose own error does not say what to do. Forward mode over a gradient passes:
    the gradient has left nothing of it.
    """
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, _reverse_only.bind(*leaves, message=message))


def _tangents_in_reverse(primals: Any, tangents: Any, *, message: str) -> Any:
    # One operation for all of them: it is evaluated, and refuses, only where all of them are known.
    moves = [type(tangent) is not ad.Zero for tangent in tangents]
    dots = iter(_tangent_in_reverse.bind(*moving(tangents, moves), message=message) if any(moves) else ())
    return list(primals), [next(dots) if does else tangent for tangent, does in zip(tangents, moves, strict=True)]


def _refuse_tangent(*args: Any, message: str) -> Any:
    raise TypeError(message)


def _identity_transposed(cotangents: Any, *args: Any, message: str) -> Any:
    return [bar if ad.is_undefined_primal(arg) else None for bar, arg in zip(cotangents, args, strict=True)]


_tangent_in_reverse = Primitive("tangent_in_reverse")
_tangent_in_reverse.multiple_results = True
_tangent_in_reverse.def_impl(_refuse_tangent)
_tangent_in_reverse.def_abstract_eval(lambda *args, message: args)
ad.primitive_transposes[_tangent_in_reverse] = _identity_transposed
batching.primitive_batchers[_tangent_in_reverse] = lambda args, axes, message: _refuse_tangent(message=message)
mlir.register_lowering(_tangent_in_reverse, _refuse_tangent)

_reverse_only = Primitive("reverse_only")
_reverse_only.multiple_results = True
_reverse_only.def_impl(lambda *args, message: list(args))
_reverse_only.def_abstract_eval(lambda *args, message: args)
batching.primitive_batchers[_reverse_only] = lambda args, axes, message: (
    _reverse_only.bind(*args, message=message),
    axes,
)
mlir.register_lowering(_reverse_only, lambda ctx, *args, message: list(args))
ad.primitive_jvps[_reverse_only] = _tangents_in_reverse
