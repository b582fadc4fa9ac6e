"""Networks with a bound on how much they stretch: the conditioners of residual flows.

Each layer's weight is divided by its norm wherever that exceeds the layer's share of the bound. In training the
spectral norm is followed by power iteration, which sees it from below; `finalise` puts exact norms in its place.
"""

import abc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.fields import fixed
from pushforward.networks.induced_norms import NORMS, SPECTRAL, certified_norm, closed_norm, power_steps
from pushforward.networks.network import AbstractNetwork, check_sizes
from pushforward.networks.start import normal
from pushforward.numerics import zeros

_START_SLOPE = 0.5
_POWER_STEPS = 2  # a round each step follows weights that move by a hundredth of themselves; two leave room

LIPSCHITZ_ACTIVATIONS: dict[str, Callable[[Array, Array], Array]] = {
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


class LipschitzDense(eqx.Module):
    """A dense layer x W min(1, c / |W|) + b, which stretches by at most c from one vector norm to another.

    Args:
        in_size, out_size: lengths.
        coefficient: c.
        norms: the norms (p, q) of input and output, of 1, 2 and inf.
        key: for the start weights.

    Cost: 2 in out operations, and as many again once a batch for the norm.
    """

    weight: Float[Array, "..."]
    bias: Float[Array, "..."]
    left: Float[Array, "..."] = fixed()
    right: Float[Array, "..."] = fixed()
    coefficient: float = eqx.field(static=True)
    norms: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self, in_size: int, out_size: int, *, coefficient: float, norms: tuple[float, float], key: PRNGKeyArray
    ) -> None:
        self.weight, self.bias = normal(key, (in_size, out_size), 1 / math.sqrt(in_size)), zeros(out_size)
        self.coefficient, self.norms = float(coefficient), norms
        self.left, self.right = _leading(self.weight)

    def __check_init__(self) -> None:
        check_coefficient("coefficient", self.coefficient)
        if len(self.norms) != 2 or any(norm not in NORMS for norm in self.norms):
            raise ValueError(f"norms: expected a pair of 1, 2 and inf, got {self.norms}.")

    def scaled(self) -> Float[Array, "..."]:
        """The weight that the layer applies."""
        return self.weight * self._factor(self._norm())

    def refreshed(self) -> "LipschitzDense":
        """The same layer, its singular vectors a few rounds of power iteration further."""
        if self.norms != SPECTRAL:
            return self
        left, right = power_steps(self.weight, self.right, _POWER_STEPS)
        return eqx.tree_at(lambda layer: (layer.left, layer.right), self, (left, right))

    def finalised(self) -> "LipschitzDense":
        """The same layer with its weight within the bound, by exact norms, and exact singular vectors."""
        weight = self.weight * self._factor(certified_norm(self.weight, self.norms))
        return eqx.tree_at(lambda layer: (layer.weight, layer.left, layer.right), self, (weight, *_leading(weight)))

    def certified(self) -> Float[Array, ""]:
        """The most that the layer can stretch, from the weight as it is applied."""
        return certified_norm(self.scaled(), self.norms)

    def _norm(self) -> Array:
        if self.norms != SPECTRAL:
            return closed_norm(self.weight, self.norms)
        return jax.lax.stop_gradient(self.left) @ self.weight @ jax.lax.stop_gradient(self.right)

    def _factor(self, norm: Array) -> Array:
        exceeds = norm > self.coefficient
        return jnp.where(exceeds, self.coefficient / jnp.where(exceeds, norm, 1), jnp.ones_like(norm))


class LipschitzMLP(AbstractLipschitzNetwork):
    """Perceptron from x (D,) to an output (D,) that drives no two points further apart than `lipschitz` times.

        h_0 = x,  h_i = act(h_{i-1} W_i + c C_i + b_i),  out = h_depth W + c C + b

    with every norm |W_i|, |W| <= lipschitz^(1 / (depth + 1)).

    The activations have slopes of at most one. The context c enters by matrices of its own, which nothing bounds: for
    every context the network is as Lipschitz in x as without.

    Args:
        size: D.
        width: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        lipschitz: bound of the whole network, in (0, 1).
        context_size: length of the context, 0 for none.
        activation: "lipswish", whose slope at the origin is trained, "elu", "softplus" or "tanh". Their second
            derivatives are continuous or nearly so: the log-determinant's gradient reads them.
        norms: the vector norms between the layers, depth + 2 of them out of 1, 2 and inf, the first and the last alike;
            all 2 by default.
        key: for the start weights.

    Cost: 2 (2 D width + (depth - 1) width^2) operations; once a batch, one product with each weight for its norm.

    Raises:
        ValueError: if a size is not positive, the bound outside (0, 1), or a name or norm unknown.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, section 2.1 (spectral normalisation); Chen,
        Behrmann, Duvenaud & Jacobsen 2019, sections 3.2 and 3.3 (LipSwish, mixed norms). Deviation: exact norms at the
        end of training.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import LipschitzMLP
        >>> network = LipschitzMLP(2, width=8, depth=1, lipschitz=0.9, key=jax.random.key(0))
        >>> print(network(jnp.ones(2)).shape, bool(network.bound < 0.9001))
        (2,) True
    """

    layers: tuple[LipschitzDense, ...]
    contexts: tuple[Float[Array, "..."], ...]
    slopes: Float[Array, "..."] | None
    bound: Float[Array, "..."] = fixed()
    lipschitz: float = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        width: int,
        depth: int,
        lipschitz: float,
        context_size: int = 0,
        activation: str = "lipswish",
        norms: Sequence[float] | None = None,
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(size=size, width=width, depth=depth)
        check_coefficient("lipschitz", lipschitz)
        norms = checked_norms(norms, depth + 2)
        sizes, share = [size, *[width] * depth, size], lipschitz ** (1 / (depth + 1))
        self.layers = tuple(
            LipschitzDense(a, b, coefficient=share, norms=pair, key=jax.random.fold_in(key, i))
            for i, ((a, b), pair) in enumerate(zip(itertools.pairwise(sizes), itertools.pairwise(norms), strict=True))
        )
        self.contexts = tuple(
            normal(jax.random.fold_in(key, 1000 + i), (context_size, b), 1 / math.sqrt(context_size))
            for i, b in enumerate(sizes[1:])
            if context_size
        )
        self.slopes = start_slopes(activation, depth)
        self.lipschitz, self.activation = float(lipschitz), activation
        self.bound = self.certified()

    def __check_init__(self) -> None:
        lipschitz_activation(self.activation)
        check_coefficient("lipschitz", self.lipschitz)

    @property
    def norm(self) -> float:
        return self.layers[0].norms[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.layers[0].weight.shape[-2],)

    @property
    def context_size(self) -> int:
        return self.contexts[0].shape[-2] if self.contexts else 0

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        act = lipschitz_activation(self.activation)
        if self.contexts and (context is None or context.shape != (self.context_size,)):
            got = "none" if context is None else f"shape {context.shape}"
            raise ShapeError(f"context: the network expects shape ({self.context_size},), got {got}. Pass context=.")
        hidden = x
        for index, layer in enumerate(self.layers):
            shift = layer.bias + context @ self.contexts[index] if self.contexts else layer.bias
            hidden = hidden @ layer.scaled() + shift
            if index < len(self.layers) - 1:
                hidden = act(hidden, None if self.slopes is None else self.slopes[index])
        return hidden

    def certified(self) -> Float[Array, ""]:
        return product_of([layer.certified() for layer in self.layers])

    def finalised(self) -> "LipschitzMLP":
        """The same network with exact norms, and the bound they give."""
        network = eqx.tree_at(lambda net: net.layers, self, tuple(layer.finalised() for layer in self.layers))
        return eqx.tree_at(lambda net: net.bound, network, network.certified())


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


def checked_norms(norms: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """`count` vector norms, the first and the last alike."""
    found = (2.0,) * count if norms is None else tuple(float(norm) for norm in norms)
    if len(found) != count or any(norm not in NORMS for norm in found) or found[0] != found[-1]:
        raise ValueError(
            f"norms: expected {count} numbers out of 1, 2 and inf (one before each layer and one after the last), the "
            f"first and the last alike, got {norms}."
        )
    return found


def product_of(factors: Sequence[Array]) -> Array:
    """The product of scalars."""
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor
    return total


def _leading(weight: Array) -> tuple[Array, Array]:
    """The first pair of singular vectors; on the host where the weight is concrete, so that nothing is compiled."""
    numbers = jnp if isinstance(weight, jax.core.Tracer) else np
    left, _, right = numbers.linalg.svd(numbers.asarray(weight), full_matrices=False)
    return jnp.asarray(left[:, 0]), jnp.asarray(right[0])
