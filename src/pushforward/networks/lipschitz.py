"""Lipschitz-bounded networks: the abstract classes of perceptrons and convolutions.

Each layer's weight is divided by its norm where the norm exceeds the layer's share of the bound. Training estimates the
spectral norm by power iteration, a lower bound; `finalise` replaces it by certified norms.
"""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.initial_weights import normal
from pushforward.networks.network import AbstractNetwork
from pushforward.numerics.arrays import zeros

_START_SLOPE = 0.5

LIPSCHITZ_ACTIVATIONS: dict[str, Callable[[Array, Any], Array]] = {
    # x sigmoid(b x) has a slope of at most 1.0998 for every b > 0
    "lipswish": lambda x, slope: x * jax.nn.sigmoid(jax.nn.softplus(slope) * x) / 1.1,
    "elu": lambda x, slope: jax.nn.elu(x),
    "softplus": lambda x, slope: jax.nn.softplus(x),
    "tanh": lambda x, slope: jnp.tanh(x),
}


class AbstractLipschitzNetwork(AbstractNetwork):
    """A network x -> g(x; context) whose output has the shape of x, with a bound on its Lipschitz constant.

        |g(a; c) - g(b; c)| <= bound |a - b|   for every context c, in the norm `norm`

    Attributes:
        lipschitz: the bound that training enforces by power iteration.
        bound: the certified bound, from exact norms, computed when the network was built, finalised or loaded.
        norm: 1, 2 or infinity.
    """

    lipschitz: eqx.AbstractVar[float]
    bound: eqx.AbstractVar[Array]

    @property
    @abc.abstractmethod
    def norm(self) -> float:
        """The norm in which the bound holds."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of x and of the output."""

    @property
    @abc.abstractmethod
    def context_size(self) -> int:
        """Length of the context, 0 for none."""

    @abc.abstractmethod
    def certified(self) -> Array:
        """The bound, computed from the current weights."""


class AbstractLipschitzLayer(eqx.Module):
    """A linear map with weight W min(1, c / |W|) and a bias.

    Attributes:
        weight, bias: trained.
        left, right: the power iteration's estimates of the leading singular vectors; unused where the norm has a closed
            form.
        coefficient: c.
    """

    weight: eqx.AbstractVar[Array]
    bias: eqx.AbstractVar[Array]
    left: eqx.AbstractVar[Array]
    right: eqx.AbstractVar[Array]
    coefficient: eqx.AbstractVar[float]

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """The output, bias included."""

    @abc.abstractmethod
    def norm(self) -> Array:
        """The estimate of |W| that training uses, differentiable in W."""

    @abc.abstractmethod
    def certified_norm(self, weight: Array) -> Array:
        """An upper bound of the norm of a weight."""

    @abc.abstractmethod
    def leading(self, weight: Array) -> tuple[Array, Array]:
        """The leading singular vectors of a weight."""

    @abc.abstractmethod
    def refreshed(self) -> "AbstractLipschitzLayer":
        """The layer after a few more power iterations."""

    def scaled(self) -> Float[Array, "..."]:
        """The weight that the layer applies."""
        return self.weight * self._factor(self.norm())

    def finalised(self) -> "AbstractLipschitzLayer":
        """The layer with its weight scaled by certified norms, and exact singular vectors."""
        weight = self.weight * self._factor(self.certified_norm(self.weight))
        return eqx.tree_at(lambda layer: (layer.weight, layer.left, layer.right), self, (weight, *self.leading(weight)))

    def certified(self) -> Float[Array, ""]:
        """The certified Lipschitz constant of the layer."""
        return self.certified_norm(self.scaled())

    def _factor(self, norm: Array) -> Array:
        exceeds = norm > self.coefficient
        return jnp.where(exceeds, self.coefficient / jnp.where(exceeds, norm, 1), jnp.ones_like(norm))


class AbstractLipschitzStack(AbstractLipschitzNetwork):
    """Lipschitz layers with activations between them; a context is added to each layer through a matrix.

    Attributes:
        layers: from x to the output.
        contexts: for each layer (context_size, units or channels), or empty.
        slopes: trained slopes of LipSwish, one for each activation; None for other activations.
    """

    layers: eqx.AbstractVar[tuple[AbstractLipschitzLayer, ...]]
    contexts: eqx.AbstractVar[tuple[Array, ...]]
    slopes: eqx.AbstractVar[Array | None]
    activation: eqx.AbstractVar[str]

    def __check_init__(self) -> None:
        lipschitz_activation(self.activation)
        check_coefficient("lipschitz", self.lipschitz)

    @property
    def context_size(self) -> int:
        return self.contexts[0].shape[-2] if self.contexts else 0

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        act, hidden = lipschitz_activation(self.activation), x
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if self.contexts:
                shift = self._checked(context) @ self.contexts[index]
                hidden = hidden + shift.reshape((1,) * (hidden.ndim - 1) + shift.shape)
            if index < len(self.layers) - 1:
                hidden = act(hidden, None if self.slopes is None else self.slopes[index])
        return hidden

    def certified(self) -> Float[Array, ""]:
        total = self.layers[0].certified()
        for layer in self.layers[1:]:
            total = total * layer.certified()
        return total

    def finalised(self) -> "AbstractLipschitzStack":
        """The network with certified norms and the resulting bound."""
        layers = tuple(layer.finalised() for layer in self.layers)
        return eqx.tree_at(lambda net: net.layers, self, layers).recertified()

    def recertified(self) -> "AbstractLipschitzStack":
        """The network with the bound recomputed from its current weights."""
        return eqx.tree_at(lambda net: net.bound, self, self.certified())

    def _checked(self, context: Array | None) -> Array:
        if context is None or context.shape != (self.context_size,):
            got = "none" if context is None else f"shape {context.shape}"
            raise ShapeError(f"context: the network expects shape ({self.context_size},), got {got}. Pass context=.")
        return context


def bounds_in(tree: Any) -> list[Array]:
    """The stored bounds of all Lipschitz networks of a tree; those of stacked layers are one array.

    Example:
        >>> import pushforward as pf
        >>> print(pf.networks.bounds_in(pf.residual_flow(dim=2, n_layers=3, width=4, key=0))[0].shape)
        (3,)
    """
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractLipschitzNetwork))
    return [node.bound for node in nodes if isinstance(node, AbstractLipschitzNetwork)]


def lipschitz_activation(name: str) -> Callable[[Array, Any], Array]:
    """The activation of a name in `LIPSCHITZ_ACTIVATIONS`: a function of x and its trained slope."""
    if name not in LIPSCHITZ_ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(sorted(LIPSCHITZ_ACTIVATIONS))}, got {name!r}.")
    return LIPSCHITZ_ACTIVATIONS[name]


def start_slopes(activation: str, depth: int) -> Float[Array, "depth"] | None:
    """Start slopes of LipSwish, one for each hidden layer; None for other activations."""
    return zeros(depth) + _START_SLOPE if activation == "lipswish" else None


def check_coefficient(name: str, value: float) -> None:
    """Raise unless the bound makes a contraction."""
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1 (a contraction), got {value}.")


def check_same_shape(in_shape: tuple[int, ...], out_shape: tuple[int, ...] | None) -> None:
    """Raise unless the shape of the output, if given, is that of the input."""
    if out_shape is not None and tuple(out_shape) != tuple(in_shape):
        raise ShapeError(f"out_shape: expected {tuple(in_shape)}, the shape of x, got {tuple(out_shape)}.")


def context_matrices(context_size: int, sizes: Sequence[int], key: PRNGKeyArray) -> tuple[Float[Array, "..."], ...]:
    """Start values of the matrices that add a context to each layer."""
    if not context_size:
        return ()
    return tuple(
        normal(jax.random.fold_in(key, 1000 + i), (context_size, size), 1 / math.sqrt(context_size))
        for i, size in enumerate(sizes)
    )
