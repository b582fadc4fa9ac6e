"""The base class of networks, activations and argument checks."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.errors import ShapeError

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
}


class AbstractNetwork(eqx.Module):
    """A network of one sample, from (x, context) to an array; a conditioner's output has shape (P, D)."""

    @abc.abstractmethod
    def __call__(self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The output for one x (and one context); a key enables randomness of training, such as dropout."""


def activation_named(name: str) -> Callable[[Array], Array]:
    """The activation function of a name in `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(sorted(ACTIVATIONS))}, got {name!r}.")
    return ACTIVATIONS[name]


def check_sizes(**sizes: int) -> None:
    """Raise unless every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected at least 1, got {size}.")


def join(x: Array, context: Array | None, context_size: int) -> Array:
    """The network's input [x; context]."""
    if context_size == 0:
        return x
    if context is None or context.shape != (context_size,):
        got = "none" if context is None else f"shape {context.shape}"
        raise ShapeError(f"context: the network expects shape ({context_size},), got {got}. Pass context=.")
    return jnp.concatenate([x, context])
