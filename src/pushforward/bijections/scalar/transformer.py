"""A scalar bijection as the transformer of a layer, applied to each coordinate with its parameters.

The emitted leaves of a layer's scalar bijection are start values. Its conditioner emits an array of shape (P, D), P
numbers for each of D coordinates, which is added leaf by leaf. `numerics.trailing_batch` puts the batch axis last here
and in the networks' `solve`.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import emitted_leaves
from pushforward.core.scalar import apply_elementwise
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array
from pushforward.numerics.trailing_batch import trailing_batch


def check_transformer(transformer: AbstractBijection) -> None:
    """Raise unless the object is an unconditional bijection of shape ()."""
    if not isinstance(transformer, AbstractBijection):
        raise TypeError(
            f"transformer: expected the name of a scalar bijection or a bijection of shape (), got {transformer!r}."
        )
    if transformer.shape != ():
        raise ShapeError(
            f"transformer: expected a scalar bijection (shape ()), got {type(transformer).__name__} of shape "
            f"{transformer.shape}."
        )
    if transformer.context_shape is not None:
        raise ShapeError(
            f"transformer: expected an unconditional scalar bijection, got {type(transformer).__name__} with a context "
            f"of shape {transformer.context_shape}. Give the context to the layer's network."
        )


def n_parameters(transformer: AbstractBijection) -> int:
    """P, the number of parameters that a conditioner emits for each coordinate.

    Args:
        transformer: a scalar bijection.

    Example:
        >>> from pushforward.bijections import Affine, n_parameters
        >>> n_parameters(Affine())
        2
    """
    starts = eqx.filter(transformer, emitted_leaves(transformer))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(starts))


def apply_transformer(
    transformer: AbstractBijection, parameters: Float[Array, "P D"], value: Float[Array, " D"], inverse: bool
) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
    """Map D coordinates by D copies of a scalar bijection; returns the values and each coordinate's log-derivative.

    Args:
        transformer: the scalar bijection; its leaves are the start values.
        parameters: (P, D), added to the emitted leaves.
        value: (D,).
        inverse: which direction.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Translation, apply_transformer
        >>> x, _ = apply_transformer(Translation(), jnp.array([[1.0, 2.0]]), jnp.zeros(2), inverse=False)
        >>> print(x)
        [1. 2.]
    """
    fn, weights = transformer_fn(transformer, inverse)
    return trailing_batch(lambda data, weights: fn(weights, *data))((parameters, value), weights)


def transformer_fn(
    transformer: AbstractBijection, inverse: bool
) -> tuple[Callable[[Any, Array, Array], tuple[Array, Array]], Any]:
    """A scalar bijection as a function, and its weights.

    The function (weights, parameters (P, ...), value (...)) -> (value, log-slope) acts element by element on arrays of
    any shape. Networks call it without depending on bijections.

    Args:
        transformer: the scalar bijection; its leaves are the start values.
        inverse: which direction.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Translation
        >>> from pushforward.bijections.scalar.transformer import transformer_fn
        >>> fn, weights = transformer_fn(Translation(), inverse=True)
        >>> print(fn(weights, jnp.ones(1), jnp.array(3.0))[0])
        2.0
    """
    starts, rest = eqx.partition(transformer, emitted_leaves(transformer))
    shared, static = eqx.partition(rest, is_array)

    def fn(weights: Any, parameters: Array, value: Array) -> tuple[Array, Array]:
        starts, shared = weights
        tail = parameters.shape[1:]
        leaves, structure = jax.tree.flatten(starts)
        # split, not slices: its transpose is one concatenation, that of slices a sum of padded arrays
        parts = jax.lax.split(parameters, [math.prod(start.shape) for start in leaves]) if leaves else []
        leaves = [
            part.reshape(start.shape + tail) + start.reshape(start.shape + (1,) * len(tail))
            for part, start in zip(parts, leaves, strict=True)
        ]
        bijection = eqx.combine(jax.tree.unflatten(structure, leaves), shared, static)
        return apply_elementwise(bijection, value, inverse)

    return fn, (starts, shared)
