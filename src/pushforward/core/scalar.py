"""Scalar bijections: maps of one number, the transformers of element-wise, coupling and autoregressive layers."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.fields import emitted_leaves
from pushforward.core.inverse import Inverse
from pushforward.numerics.precision import in_full_precision


class AbstractScalarBijection(AbstractBijection):
    """A bijection x = T(z) of one number, with unconstrained leaves of shapes (K,) or (): a transformer of layers.

    The methods map one number, with leaves of these shapes. A layer applies one scalar bijection to all its
    coordinates, each with leaves of its own: it maps the methods over them, or calls them once if the class is
    `elementwise`.

    Attributes:
        elementwise: whether the methods also act on arrays, which is faster: on values of a shape S such as (D,) or
            (D, batch), with leaves of shapes (K, *S) or S, in which an axis that does not matter has size one. They are
            then written element by element, with no reduction over axes other than the first one of a leaf, no gather
            and no scatter, both results have the shape S, and they call one another by `apply_elementwise`. Leaves of
            `shared` fields keep their shape.
        bound: half-width of the box [-bound, bound] of the data side, outside which the map is linear; None without a
            box. `fit` warns of values outside the box.
        identity_outside: whether the map is the identity outside its box, so that a layer can learn nothing there, and
            not linear with learned slopes. `fit` scales columns into the narrowest such box.
        support: the interval (low, high) onto which `forward` maps. At its finite ends and beyond them the inverse
            returns 0 with a log-determinant of -inf, unless `is_circular`.
        is_circular: whether `support` is a circle, whose ends are one point.
        never_singular: whether the map increases with a positive, finite slope at all values of its leaves, which
            training may reach: layers whose network emits the leaves require it. None to let them try it.
    """

    shape: ClassVar[tuple[int, ...]] = ()
    context_shape: ClassVar[None] = None
    elementwise: ClassVar[bool] = False
    bound: ClassVar[float | None] = None
    identity_outside: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    is_circular: ClassVar[bool] = False
    never_singular: ClassVar[bool | None] = None

    def __check_init__(self) -> None:
        if self.bound is not None and not 0 < self.bound < math.inf:
            raise ValueError(f"bound: expected a positive half-width of the box, got {self.bound}.")


def scalar_parts(bijection: AbstractBijection) -> list[Any]:
    """The bijections of a chain, each without `Inverse`; the bijection alone if it is neither."""
    if isinstance(bijection, Inverse):
        return scalar_parts(bijection.bijection)
    if isinstance(bijection, Chain):
        return [inner for part in bijection.bijections for inner in scalar_parts(part)]
    return [bijection]


@in_full_precision
def apply_elementwise(bijection: Any, value: Array, inverse: bool) -> tuple[Array, Array]:
    """A scalar bijection, or a chain or inverse of such, at each element of an array, and the log-slopes.

    A class that is not `elementwise`, or no `AbstractScalarBijection`, is mapped over the elements.

    Args:
        bijection: its emitted leaves have the axes of `value` behind their own.
        value: an array of any shape.
        inverse: which direction.
    """
    if isinstance(bijection, Inverse):
        return apply_elementwise(bijection.bijection, value, not inverse)
    if isinstance(bijection, Chain):
        total = jnp.zeros((), value.dtype)
        for part in reversed(bijection.bijections) if inverse else bijection.bijections:
            value, log_slope = apply_elementwise(part, value, inverse)
            total = total + log_slope
        return value, total
    if not getattr(bijection, "elementwise", False):
        return _map_elements(bijection, value, inverse)
    checked: Any = type(bijection).inverse_and_log_det if inverse else type(bijection).forward_and_log_det
    return checked.__wrapped__(bijection, value)  # the method as its class defines it, without the check of one sample


def _map_elements(bijection: Any, value: Array, inverse: bool) -> tuple[Array, Array]:
    emitted, rest = eqx.partition(bijection, emitted_leaves(bijection))

    def flat(leaf: Array) -> Array:
        own = leaf.shape[: leaf.ndim - value.ndim]
        return jnp.broadcast_to(leaf, own + value.shape).reshape((*own, value.size))

    def at_element(emitted: Any, value: Array) -> tuple[Array, Array]:
        one = eqx.combine(emitted, rest)
        return one.inverse_and_log_det(value) if inverse else one.forward_and_log_det(value)

    out, log_slope = jax.vmap(at_element, (-1, 0))(jax.tree.map(flat, emitted), value.reshape(-1))
    return out.reshape(value.shape), log_slope.reshape(value.shape)


def boxed_parts(tree: Any) -> list[Any]:
    """The scalar bijections with a box in a tree, such as a flow."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractScalarBijection))
    return [node for node in nodes if isinstance(node, AbstractScalarBijection) and node.bound is not None]
