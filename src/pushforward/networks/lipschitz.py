"""Networks with a bound on how much they stretch: the contract, and what perceptrons and convolutions share.

Each layer's weight is divided by its norm wherever that exceeds the layer's share of the bound. In training the
spectral norm is followed by power iteration, which sees it from below; `finalise` puts certified norms in its place.
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
    """A network x -> g(x; context) whose output has the shape of x, with a bound on how far it drives points apart.

        |g(a; c) - g(b; c)| <= bound |a - b|   for every context c, in the norm `norm`

    Attributes:
        lipschitz: the bound that training aims at: norms are held there by power iteration.
        bound: the certified one, computed from exact norms when the network was built, finalised or loaded.
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
        """The bound, computed anew from the weights as they are."""


class AbstractLipschitzLayer(eqx.Module):
    """A linear map with weight W min(1, c / |W|) and a bias.

    Attributes:
        weight, bias: trained.
        left, right: the leading pair of singular vectors, as far as power iteration has come; of no use where the norm
            has a formula.
        coefficient: c.
    """

    weight: eqx.AbstractVar[Array]
    bias: eqx.AbstractVar[Array]
    left: eqx.AbstractVar[Array]
    right: eqx.AbstractVar[Array]
    coefficient: eqx.AbstractVar[float]

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """The map, bias included."""

    @abc.abstractmethod
    def norm(self) -> Array:
        """|W| as training knows it, differentiable in W."""

    @abc.abstractmethod
    def certified_norm(self, weight: Array) -> Array:
        """What the norm of a weight does not exceed."""

    @abc.abstractmethod
    def leading(self, weight: Array) -> tuple[Array, Array]:
        """The leading singular vectors of a weight."""

    @abc.abstractmethod
    def refreshed(self) -> "AbstractLipschitzLayer":
        """The same layer, its singular vectors a few rounds of power iteration further."""

    def scaled(self) -> Float[Array, "..."]:
        """The weight that the layer applies."""
        return self.weight * self._factor(self.norm())

    def finalised(self) -> "AbstractLipschitzLayer":
        """The same layer with its weight within the bound by certified norms, and exact singular vectors."""
        weight = self.weight * self._factor(self.certified_norm(self.weight))
        return eqx.tree_at(lambda layer: (layer.weight, layer.left, layer.right), self, (weight, *self.leading(weight)))

    def certified(self) -> Float[Array, ""]:
        """The most that the layer can stretch, from the weight as it is applied."""
        return self.certified_norm(self.scaled())

    def _factor(self, norm: Array) -> Array:
        exceeds = norm > self.coefficient
        return jnp.where(exceeds, self.coefficient / jnp.where(exceeds, norm, 1), jnp.ones_like(norm))


class AbstractLipschitzStack(AbstractLipschitzNetwork):
    """Lipschitz layers with activations between them; what a context adds to each layer is a matrix of its own.

    Attributes:
        layers: from x to the output.
        contexts: for each layer (context_size, units or channels), or empty.
        slopes: what LipSwish trains, one number for each activation; None for other activations.
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
        """The same network with certified norms, and the bound they give."""
        layers = tuple(layer.finalised() for layer in self.layers)
        return eqx.tree_at(lambda net: net.layers, self, layers).recertified()

    def recertified(self) -> "AbstractLipschitzStack":
        """The same network with the bound of its weights as they are."""
        return eqx.tree_at(lambda net: net.bound, self, self.certified())

    def _checked(self, context: Array | None) -> Array:
        if context is None or context.shape != (self.context_size,):
            got = "none" if context is None else f"shape {context.shape}"
            raise ShapeError(f"context: the network expects shape ({self.context_size},), got {got}. Pass context=.")
        return context


def bounds_in(tree: Any) -> list[Array]:
    """The stored bounds of all Lipschitz networks of a tree, those of stacked layers as one array.

    Example:
        >>> import pushforward as pf
        >>> print(pf.networks.bounds_in(pf.residual_flow(dim=2, n_layers=3, width=4, key=0))[0].shape)
        (3,)
    """
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractLipschitzNetwork))
    return [node.bound for node in nodes if isinstance(node, AbstractLipschitzNetwork)]


def lipschitz_activation(name: str) -> Callable[[Array, Any], Array]:
    """The activation of a name in `LIPSCHITZ_ACTIVATIONS`: a function of x and what it trains."""
    if name not in LIPSCHITZ_ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(sorted(LIPSCHITZ_ACTIVATIONS))}, got {name!r}.")
    return LIPSCHITZ_ACTIVATIONS[name]


def start_slopes(activation: str, depth: int) -> Float[Array, "depth"] | None:
    """Start values of what LipSwish trains, one for each hidden layer; other activations train nothing."""
    return zeros(depth) + _START_SLOPE if activation == "lipswish" else None


def check_coefficient(name: str, value: float) -> None:
    """Refuse a bound that does not contract."""
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1 (a contraction), got {value}.")


def context_matrices(context_size: int, sizes: Sequence[int], key: PRNGKeyArray) -> tuple[Float[Array, "..."], ...]:
    """Start values of what a context adds to each layer."""
    if not context_size:
        return ()
    return tuple(
        normal(jax.random.fold_in(key, 1000 + i), (context_size, size), 1 / math.sqrt(context_size))
        for i, size in enumerate(sizes)
    )
