"""Numerical primitives that several rooms share: batches kept last, stable elementary functions."""

import abc
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.scipy.special import erfc
from jaxtyping import Array, Float, UInt32

from pushforward.precision import in_full_precision

_TAIL, _TAIL_TERMS = 10.0, 14  # where a continued fraction takes over, and its length: 1e-16 there
_NEWTON_STEPS = 6


class BatchRule(abc.ABC):
    """A function of flat leaves that says itself how it meets a batch, and how it is differentiated if not as written.

    `whole_batch` makes it one operation of a program. Compared by identity.
    """

    avals: list[Any]

    @abc.abstractmethod
    def __call__(self, *leaves: Any) -> Any:
        """The function itself, a sequence of as many arrays as `avals`."""

    @abc.abstractmethod
    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        """The function of leaves mapped along `axes` (None: not mapped): results, and their mapped axes."""

    def jvp(self, primals: Any, tangents: Any) -> Any:
        """Results and their tangents; inputs that do not move have tangents of the type `ad.Zero`."""
        tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
        return jax.jvp(lambda *leaves: list(self(*leaves)), tuple(primals), tuple(tangents))


_primitive = Primitive("whole_batch")
_primitive.multiple_results = True
# The rules are traced late, outside of the precision that was in force where the operation was written down.
_written = in_full_precision(lambda *args, rule: list(rule(*args)))
_primitive.def_impl(_written)
_primitive.def_abstract_eval(lambda *args, rule: rule.avals)
batching.primitive_batchers[_primitive] = in_full_precision(lambda args, axes, *, rule: rule.batch(args, axes))
ad.primitive_jvps[_primitive] = in_full_precision(lambda primals, tangents, *, rule: rule.jvp(primals, tangents))
mlir.register_lowering(_primitive, mlir.lower_fun(_written, multiple_results=True))


def whole_batch(rule: BatchRule, *leaves: Any) -> list[Any]:
    """The function of a rule as one operation, which `jax.vmap` hands to the rule with the batch in one piece."""
    return _primitive.bind(*leaves, rule=rule)


class custom_jvp:
    """A function with a tangent rule of its own, as `jax.custom_jvp`, that holds inside of loops for every order.

    When JAX linearises a `lax.scan`, it splits the body into what depends on the loop and what does not, and every
    `jax.custom_jvp` or `jax.custom_vjp` in it is inlined on the way. The next derivative is then that of the function
    as it is written: the loop of a solver, which raises, or numbers that have lost their digits. A primitive stays.

    Arguments are trees of arrays; the function must not close over traced values. The rule, set by `defjvp`, is called
    with primals and tangents, two tuples, and returns results and their tangents. It must be made of differentiable
    operations, this function among them: then derivatives of every order follow.
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
        return jax.tree.unflatten(out_structure, whole_batch(operation, *leaves))


class _WithTangents(BatchRule):
    """A function of flat leaves and its tangent rule, both of which are mapped over a batch."""

    def __init__(self, fn: Callable[..., list[Any]], rule: Callable[[Any, Any], Any], avals: list[Any]) -> None:
        self.fn, self.rule, self.avals = fn, rule, avals

    def __call__(self, *leaves: Any) -> list[Any]:
        return self.fn(*map(jnp.asarray, leaves))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        avals = [jax.core.ShapedArray((size, *aval.shape), aval.dtype) for aval in self.avals]
        axes = list(axes)
        mapped = _WithTangents(jax.vmap(self.fn, axes, axis_size=size), jax.vmap(self.rule, (axes, axes)), avals)
        return whole_batch(mapped, *args), [0] * len(avals)

    def jvp(self, primals: Any, tangents: Any) -> Any:
        # a constant of a traced program may be an array of NumPy
        return self.rule(
            [jnp.asarray(leaf) for leaf in primals], [ad.instantiate_zeros(tangent) for tangent in tangents]
        )


class _Trailing(BatchRule):
    """A function of (data, weights) that takes the batch as the last axis of its data."""

    def __init__(self, fn: Callable[[Any, Any], Any], structure: Any, n_data: int, leaves: list[Any]) -> None:
        self.fn, self.structure, self.n_data = fn, structure, n_data
        out = jax.eval_shape(lambda *flat: fn(*jax.tree.unflatten(structure, flat)), *leaves)
        shapes, self.out_structure = jax.tree.flatten(out)
        self.avals = [jax.core.ShapedArray(s.shape, s.dtype) for s in shapes]

    def __call__(self, *leaves: Any) -> list[Any]:
        return jax.tree.leaves(self.fn(*jax.tree.unflatten(self.structure, leaves)))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        mapped = [axis is not None for axis in axes]
        if any(mapped[self.n_data :]):
            in_axes = [axis if is_mapped else None for axis, is_mapped in zip(axes, mapped, strict=True)]
            return jax.vmap(self, in_axes)(*args), [0] * len(self.avals)
        size = next(arg.shape[axis] for arg, axis, is_mapped in zip(args, axes, mapped, strict=True) if is_mapped)
        data = [
            jnp.moveaxis(arg, axis, -1) if is_mapped else jnp.expand_dims(arg, -1)
            for arg, axis, is_mapped in zip(args[: self.n_data], axes, mapped, strict=False)
        ]
        outs = [jnp.broadcast_to(out, (*out.shape[:-1], size)) for out in self(*data, *args[self.n_data :])]
        return outs, [out.ndim - 1 for out in outs]


def trailing_batch(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make `fn(data, weights)` meet a batch as one call with the batch axis *last* in every array.

    JAX's own batching rules carry a mapped axis to the front at the first bias, reshape or index. Code that works
    element by element on arrays of shape (K, D) is fastest when the batch stays contiguous behind D. So `fn` must be
    written for arrays with or without one extra trailing axis: leaves of `data` arrive with it as soon as one of them
    is mapped (unmapped ones with a trailing axis of one), leaves of `weights` never have it. Where weights are mapped,
    the function is mapped in the ordinary way. All leaves must be floating-point; every output must depend on `data`.
    """

    def call(data: Any, weights: Any = ()) -> Any:
        leaves, structure = jax.tree.flatten((data, weights))
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        rule = _Trailing(fn, structure, len(jax.tree.leaves(data)), leaves)
        return jax.tree.unflatten(rule.out_structure, whole_batch(rule, *leaves))

    return call


def on_device(array: Any, dtype: Any = None) -> Array:
    """A copy of an array of the host as one of JAX, in its own type or another, without a program.

    `jnp.asarray` compiles one for every shape and type that it meets, and none of them is ever given back.

    >>> on_device(np.arange(3), jnp.int32)
    Array([0, 1, 2], dtype=int32)
    """
    return jax.device_put(np.asarray(array, dtype), may_alias=False)


def zeros(shape: tuple[int, ...] | int) -> Float[Array, "..."]:
    """Zeros in JAX's default float type, made on the host: eager JAX would compile a program for every shape."""
    return on_device(np.zeros(shape, jnp.result_type(float)))


def scalar(value: float) -> Float[Array, ""]:
    """A number in JAX's default float type; not weakly typed, so that a saved and loaded leaf is the same."""
    return on_device(value, jnp.result_type(float))


def inverse_softplus(value: float) -> float:
    """log(exp(value) - 1) for a positive Python number, without overflow: the start value that softplus undoes."""
    return value + math.log(-math.expm1(-value))


def log_derivative_tanh(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2|u|))), exact to rounding for every u."""
    size = magnitude(u)
    return 2.0 * (jnp.log(2.0).astype(u.dtype) - size - jnp.log1p(jnp.exp(-2.0 * size)))


def log_one_plus(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + u) for u > -1. XLA's own `log1p` is off by up to 120 last places of a double between -0.42 and -0.36."""
    far = u < -0.25
    return jnp.where(far, jnp.log(jnp.where(far, 1.0 + u, 1.0)), jnp.log1p(jnp.where(far, 0.0, u)))


def log_cosh(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log cosh u, without overflow."""
    size = magnitude(u)
    return size + jnp.log1p(jnp.exp(-2.0 * size)) - jnp.log(2.0).astype(u.dtype)


def soft_clamp(u: Float[Array, "*shape"], bound: float) -> Float[Array, "*shape"]:
    """bound * tanh(u / bound): the identity near zero, never beyond +-bound."""
    return bound * jnp.tanh(u / bound)


@custom_jvp
def log_normal_cdf(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log Phi(u) of the standard normal, with a derivative, phi / Phi, that keeps its digits in the left tail."""
    return _normal_tail(u)[0]


@log_normal_cdf.defjvp
def _log_normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (tangent,) = primals, tangents
    return log_normal_cdf(u), jnp.exp(log_normal_hazard(u)) * tangent


@custom_jvp
def log_normal_hazard(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(phi(u) / Phi(u)): the logarithm of the slope of log Phi."""
    return _normal_tail(u)[1]


@log_normal_hazard.defjvp
def _log_normal_hazard_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (tangent,) = primals, tangents
    _, log_hazard, rest = _normal_tail(u)
    return log_hazard, -rest * tangent


def _normal_tail(u: Array) -> tuple[Array, Array, Array]:
    """log Phi, log(phi / Phi), and phi / Phi + u, which is not taken as a difference of large numbers.

    Below -10 by Laplace's continued fraction, phi / Phi = -u + 1/(-u + 2/(-u + ...)).
    """
    in_tail = u < -_TAIL
    size = jnp.where(in_tail, -u, _TAIL)
    rest = jnp.zeros_like(u)
    for term in range(_TAIL_TERMS, 0, -1):
        rest = term / (size + rest)
    far = jnp.log(size + rest)
    inner = jnp.where(in_tail, -_TAIL, u)
    beyond = 0.5 * erfc(magnitude(inner) / math.sqrt(2))
    near = jnp.where(inner < 0, jnp.log(jnp.where(inner < 0, beyond, 1.0)), log_one_plus(-beyond))
    log_hazard = jnp.where(in_tail, far, -0.5 * inner**2 - 0.5 * math.log(2 * math.pi) - near)
    log_cdf = jnp.where(in_tail, -0.5 * u**2 - 0.5 * math.log(2 * math.pi) - far, near)
    return log_cdf, log_hazard, jnp.where(in_tail, rest, jnp.exp(jnp.where(in_tail, 0.0, log_hazard)) + inner)


def magnitude(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x| with the derivative 1 at zero, where that of `jnp.abs` is 0: for even and odd functions written by their
    upper half, all of whose derivatives at zero are those of that half."""
    return jnp.where(x < 0, -x, x)


@custom_jvp
def log_normal_quantile(log_p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """u <= 0 with log Phi(u) = log_p, for log_p <= log(1/2); by Newton steps from below, where log Phi is concave."""

    def step(_: Array, u: Array) -> Array:
        log_cdf, log_hazard, _ = _normal_tail(u)
        return jnp.minimum(u + (log_p - log_cdf) * jnp.exp(-log_hazard), 0.0)

    start = -jnp.sqrt(jnp.maximum(-2.0 * (log_p + math.log(2)), 0.0))
    return jax.lax.fori_loop(0, _NEWTON_STEPS, step, start)


@log_normal_quantile.defjvp
def _log_normal_quantile_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (log_p,), (tangent,) = primals, tangents
    u = log_normal_quantile(log_p)
    return u, jnp.exp(-log_normal_hazard(u)) * tangent


def bits_of(x: Array) -> UInt32[Array, ""]:
    """A number made of the bits of an array, of every one of them: a seed for random numbers that belong to it."""
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x) + 0.0, jnp.uint32).reshape(-1)
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    return jnp.sum((bits ^ (bits >> 15)) * odd * np.uint32(0x9E3779B1), dtype=jnp.uint32)


@custom_jvp
def with_gradient_of(value: Array, other: Array) -> Array:
    """`value`, whose derivative is that of `other`; where nobody differentiates, `other` is not computed."""
    return value


@with_gradient_of.defjvp
def _tangent_of_other(values: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return values[0], tangents[1]
