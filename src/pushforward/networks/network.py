"""The base class of networks, and checks of their arguments."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.errors import ShapeError


class AbstractNetwork(eqx.Module):
    """A network of one sample, from (x, context) to an array; a conditioner's output has shape (P, D)."""

    @abc.abstractmethod
    def __call__(self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The output for one x (and one context); a key enables randomness of training, such as dropout."""


def check_sizes(**sizes: int) -> None:
    """Raise unless every size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer):
            raise ValueError(f"{name}: expected a whole number, got {size!r}.")
        if size < 1:
            raise ValueError(f"{name}: expected at least 1, got {size}.")


def join(x: Array, context: Array | None, context_size: int) -> Array:
    """The network's input [x; context]."""
    if context_size == 0 and context is None:
        return x
    if context is None or context.shape != (context_size,):
        got = "none" if context is None else f"shape {context.shape}"
        advice = "Pass context=." if context_size else "Build the network with context_size=."
        expected = f"shape ({context_size},)" if context_size else "none"
        raise ShapeError(f"context: the network expects {expected}, got {got}. {advice}")
    return jnp.concatenate([x, context])


def recomputed_on_cpu(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose intermediate values a CPU computes again in the backward pass; elsewhere they are stored.

    A CPU needs more time to write and read large activations, in memory that is new in every step, than to compute
    them. The last operation, whose result the caller stores, is not repeated.
    """
    return eqx.filter_checkpoint(evaluate, prevent_cse=False) if jax.default_backend() == "cpu" else evaluate
