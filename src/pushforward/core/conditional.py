"""Conditional layers: a network of the context shifts the parameters of an unconditional layer."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import trainable
from pushforward.core.network_call import call_network, check_output
from pushforward.errors import ShapeError


class Conditional(AbstractBijection):
    """A layer of few parameters made conditional: x = T(z; theta + network(context)).

    The network's output, a vector of `count_parameters(layer)` numbers, is split and added to the trained leaves of the
    layer; zero output leaves the layer unchanged. Layers with a network (coupling, autoregressive) pass the context to
    that network instead.

    Args:
        layer: an unconditional bijection with trained leaves.
        network: maps a context to a vector of `count_parameters(layer)` numbers.
        context_shape: shape of the context.

    Cost: one pass of the network, then the layer's, in both directions.

    Raises:
        ShapeError: if the layer is conditional already, has nothing to train, or the network's output does not fit.

    Reference: Winkler, Worrall, Hoogeboom & Welling 2019, section 3 (conditional flows).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Conditional, Elementwise
        >>> from pushforward.networks import MLP
        >>> layer = Elementwise(Affine(), shape=(2,))
        >>> network = MLP(3, (4,), width=8, depth=1, key=jax.random.key(0))
        >>> conditional = Conditional(layer, network, context_shape=(3,))
        >>> print(conditional.forward(jnp.ones(2), jnp.ones(3)))
        [1. 1.]
    """

    layer: AbstractBijection
    network: Callable[..., Array]
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, layer: AbstractBijection, network: Callable[..., Array], context_shape: tuple[int, ...]) -> None:
        self.layer, self.network, self.context_shape = layer, network, tuple(context_shape)

    def __check_init__(self) -> None:
        if self.layer.context_shape is not None:
            raise ShapeError(
                f"layer: expected an unconditional layer, got one with a context of shape {self.layer.context_shape}."
            )
        expected = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.layer, trainable(self.layer))))
        if expected == 0:
            raise ShapeError(f"layer: {type(self.layer).__name__} has no trained leaves for a context to act on.")
        meaning = f"one number for each trained number of {type(self.layer).__name__}"
        check_output(self.network, self.context_shape or (), None, (expected,), meaning)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layer.shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at(context, key).forward_and_log_det(z, key=key)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at(context, key).inverse_and_log_det(x, key=key)

    def _at(self, context: Any, key: PRNGKeyArray | None) -> AbstractBijection:
        key = None if key is None else jax.random.fold_in(key, 0)  # the layer takes the key itself
        return shift_leaves(self.layer, call_network(self.network, context, None, None, key=key))


def shift_leaves(tree: Any, shifts: Array) -> Any:
    """Add consecutive parts of a vector to the trained leaves of a tree."""
    trained, rest = eqx.partition(tree, trainable(tree))
    leaves, structure = jax.tree.flatten(trained)
    ends = np.cumsum([leaf.size for leaf in leaves])
    leaves = [leaf + shifts[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)
