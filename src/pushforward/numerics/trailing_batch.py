"""Operations with a custom batching rule: the batch axis is moved last and the function called once."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from pushforward.numerics.precision import in_full_precision


class BatchRule(abc.ABC):
    """A function of flat leaves with a custom batching rule, and optionally a custom tangent rule.

    `bind_rule` binds it as one primitive. Rules are compared by identity.
    """

    avals: list[Any]

    @abc.abstractmethod
    def __call__(self, *leaves: Any) -> Any:
        """The function; returns a sequence of as many arrays as `avals`."""

    @abc.abstractmethod
    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        """The function of leaves that are batched along `axes` (None: not batched): results, and their batch axes."""

    def jvp(self, primals: Any, tangents: Any) -> Any:
        """Results and their tangents; inputs without a tangent have one of type `ad.Zero`."""
        tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
        return jax.jvp(lambda *leaves: list(self(*leaves)), tuple(primals), tuple(tangents))


_primitive = Primitive("bind_rule")


_primitive.multiple_results = True


# The rules are traced later, outside the precision context in which the primitive was bound.
_definition = in_full_precision(lambda *args, rule: list(rule(*args)))


_primitive.def_impl(_definition)


_primitive.def_abstract_eval(lambda *args, rule: rule.avals)


batching.primitive_batchers[_primitive] = in_full_precision(lambda args, axes, *, rule: rule.batch(args, axes))


ad.primitive_jvps[_primitive] = in_full_precision(lambda primals, tangents, *, rule: rule.jvp(primals, tangents))


mlir.register_lowering(_primitive, mlir.lower_fun(_definition, multiple_results=True))


def bind_rule(rule: BatchRule, *leaves: Any) -> list[Any]:
    """Apply the function of a rule as one primitive, whose batching under `jax.vmap` is `rule.batch`."""
    return _primitive.bind(*leaves, rule=rule)


class custom_jvp:
    """A function with a custom tangent rule, as `jax.custom_jvp`, that holds inside loops for every order.

    When JAX linearises a `lax.scan`, it inlines every `jax.custom_jvp` and `jax.custom_vjp` of the body. The next
    derivative is then that of the function's own code: the loop of a solver, which raises an error, or an expression
    with cancellation. Primitives are not inlined.

    Arguments are trees of arrays; the function must not close over tracers. The rule, set by `defjvp`, is called with
    primals and tangents, two tuples, and returns results and their tangents. It must be composed of differentiable
    operations, which may include this function: then derivatives of every order are defined.
    """

    rule: Callable[[Any, Any], tuple[Any, Any]]

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        functools.update_wrapper(self, fn)

    def defjvp(self, rule: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        self.rule = rule
        return rule

    def __call__(self, *args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        outs = jax.eval_shape(self.fn, *jax.tree.unflatten(structure, leaves))
        shapes, out_structure = jax.tree.flatten(outs)

        def fn(*leaves: Any) -> list[Any]:
            return jax.tree.leaves(self.fn(*jax.tree.unflatten(structure, leaves)))

        def rule(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
            out, out_dot = self.rule(*(jax.tree.unflatten(structure, part) for part in (primals, tangents)))
            return jax.tree.leaves(out), jax.tree.leaves(out_dot)

        operation = _WithTangents(fn, rule, [jax.core.ShapedArray(s.shape, s.dtype) for s in shapes])
        return jax.tree.unflatten(out_structure, bind_rule(operation, *leaves))


class _WithTangents(BatchRule):
    """A function of flat leaves and its tangent rule; batching maps both."""

    def __init__(self, fn: Callable[..., list[Any]], rule: Callable[[Any, Any], Any], avals: list[Any]) -> None:
        self.fn, self.rule, self.avals = fn, rule, avals

    def __call__(self, *leaves: Any) -> list[Any]:
        return self.fn(*map(jnp.asarray, leaves))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        axes = list(axes)
        batched = _WithTangents(jax.vmap(self.fn, axes, axis_size=size), jax.vmap(self.rule, (axes, axes)), avals)
        return bind_rule(batched, *args), [0] * len(avals)

    def jvp(self, primals: Any, tangents: Any) -> Any:
        # constants of a traced program may be NumPy arrays
        return self.rule(
            [jnp.asarray(leaf) for leaf in primals], [ad.instantiate_zeros(tangent) for tangent in tangents]
        )


class _Trailing(BatchRule):
    """A function of (data, weights) whose batch axis is the last axis of the data."""

    def __init__(self, fn: Callable[[Any, Any], Any], structure: Any, n_data: int, leaves: list[Any]) -> None:
        self.fn, self.structure, self.n_data = fn, structure, n_data
        out = jax.eval_shape(lambda *flat: fn(*jax.tree.unflatten(structure, flat)), *leaves)
        shapes, self.out_structure = jax.tree.flatten(out)
        self.avals = [jax.core.ShapedArray(s.shape, s.dtype) for s in shapes]

    def __call__(self, *leaves: Any) -> list[Any]:
        return jax.tree.leaves(self.fn(*jax.tree.unflatten(self.structure, leaves)))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        batched = [axis is not None for axis in axes]
        if any(batched[self.n_data :]):
            in_axes = [axis if is_batched else None for axis, is_batched in zip(axes, batched, strict=True)]
            return jax.vmap(self, in_axes)(*args), [0] * len(self.avals)
        size = next(arg.shape[axis] for arg, axis, is_batched in zip(args, axes, batched, strict=True) if is_batched)
        data = [
            jnp.moveaxis(arg, axis, -1) if is_batched else jnp.expand_dims(arg, -1)
            for arg, axis, is_batched in zip(args[: self.n_data], axes, batched, strict=False)
        ]
        outs = [jnp.broadcast_to(out, (*out.shape[:-1], size)) for out in self(*data, *args[self.n_data :])]
        return outs, [out.ndim - 1 for out in outs]


def trailing_batch(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make `fn(data, weights)` handle a batch in one call, with the batch axis *last* in every array.

    JAX's own batching rules move the batch axis to the front at the first bias, reshape or index. Element-wise code on
    arrays of shape (K, D) is fastest if the batch stays contiguous behind D. So `fn` must accept arrays with or without
    one extra trailing axis: all leaves of `data` have it if one of them is batched (unbatched ones with size one),
    leaves of `weights` never have it. If weights are batched, `fn` is mapped by an ordinary `vmap`. All leaves must be
    floating-point; every output must depend on `data`.
    """

    def call(data: Any, weights: Any = ()) -> Any:
        leaves, structure = jax.tree.flatten((data, weights))
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        rule = _Trailing(fn, structure, len(jax.tree.leaves(data)), leaves)
        return jax.tree.unflatten(rule.out_structure, bind_rule(rule, *leaves))

    return call
