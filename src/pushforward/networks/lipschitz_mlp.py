"""A Lipschitz-bounded perceptron: the network of residual flows on vectors."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.fields import frozen
from pushforward.networks.induced_norms import NORMS, SPECTRAL, certified_norm, closed_norm, power_steps
from pushforward.networks.initial_weights import normal
from pushforward.networks.lipschitz import (
    AbstractLipschitzLayer,
    AbstractLipschitzStack,
    check_coefficient,
    check_same_shape,
    context_matrices,
    start_slopes,
)
from pushforward.networks.network import check_sizes
from pushforward.numerics.arrays import on_device, zeros

_POWER_STEPS = 2  # per training step; one follows weights that change by one per cent, two leave a margin


class LipschitzDense(AbstractLipschitzLayer):
    """A dense layer x W min(1, c / |W|) + b, with Lipschitz constant at most c from one vector norm to another.

    Args:
        in_size, out_size: lengths of input and output.
        coefficient: c, in (0, 1).
        norms: the norms (p, q) of input and output, of 1, 2 and inf.
        key: for the start weights.

    Cost: 2 in out operations, and once a batch as many for the norm.

    Raises:
        ValueError: if the coefficient is outside (0, 1) or a norm unknown.

    Reference: Miyato, Kataoka, Koyama & Yoshida 2018, section 2 (spectral normalisation). Deviation: a weight below
        its bound is not rescaled.

    Example:
        >>> import jax
        >>> from pushforward.networks import LipschitzDense
        >>> layer = LipschitzDense(2, 3, coefficient=0.5, norms=(2, 2), key=jax.random.key(0))
        >>> print(bool(layer.certified() < 0.5001))
        True
    """

    weight: Float[Array, "..."]
    bias: Float[Array, "..."]
    left: Float[Array, "..."] = frozen()
    right: Float[Array, "..."] = frozen()
    coefficient: float = eqx.field(static=True)
    norms: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self, in_size: int, out_size: int, *, coefficient: float, norms: Sequence[float] = SPECTRAL, key: PRNGKeyArray
    ) -> None:
        check_sizes(in_size=in_size, out_size=out_size)
        self.weight, self.bias = normal(key, (in_size, out_size), 1 / math.sqrt(in_size)), zeros(out_size)
        first, last = checked_norms(norms, 2)
        self.coefficient, self.norms = float(coefficient), (first, last)
        self.left, self.right = self.leading(self.weight)

    def __check_init__(self) -> None:
        check_coefficient("coefficient", self.coefficient)
        checked_norms(self.norms, 2)

    def __call__(self, x: Array) -> Float[Array, "..."]:
        return x @ self.scaled() + self.bias

    def norm(self) -> Float[Array, ""]:
        if self.norms != SPECTRAL:
            return closed_norm(self.weight, self.norms)
        # `refresh` updates the vectors between steps; they are constants here.
        return jax.lax.stop_gradient(self.left) @ self.weight @ jax.lax.stop_gradient(self.right)

    def certified_norm(self, weight: Array) -> Float[Array, ""]:
        return certified_norm(weight, self.norms)

    def leading(self, weight: Array) -> tuple[Array, Array]:
        """The leading singular vectors, computed on the host if the weight is concrete, so that nothing is compiled."""
        xp = jnp if isinstance(weight, jax.core.Tracer) else np
        left, _, right = xp.linalg.svd(xp.asarray(weight), full_matrices=False)
        vectors: Any = left[:, 0], right[0]
        return vectors if xp is jnp else (on_device(vectors[0]), on_device(vectors[1]))

    def refreshed(self) -> "LipschitzDense":
        if self.norms != SPECTRAL:
            return self
        left, right = power_steps(self.weight, self.right, _POWER_STEPS)
        return eqx.tree_at(lambda layer: (layer.left, layer.right), self, (left, right))


class LipschitzMLP(AbstractLipschitzStack):
    """Perceptron from x (D,) to an output (D,), with Lipschitz constant at most `lipschitz`.

        h_0 = x,  h_i = act(h_{i-1} W_i + c C_i + b_i),  out = h_depth W + c C + b

    with every norm |W_i|, |W| <= lipschitz^(1 / (depth + 1)).

    The activations have slopes of at most one. The context c enters through unbounded matrices, which do not change the
    Lipschitz constant in x.

    Args:
        in_size: D.
        out_shape: (D,), the shape of x, which is the default.
        width: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        lipschitz: bound of the network, in (0, 1).
        context_size: length of the context, 0 for none.
        activation: "lipswish", whose slope at the origin is trained, "elu", "softplus" or "tanh". Their second
            derivatives, which the log-determinant's gradient uses, are continuous or nearly so.
        norms: the vector norms between the layers, depth + 2 of them out of 1, 2 and inf, the first equal to the last;
            all 2 by default.
        key: for the start weights.

    Cost: 2 (2 D width + (depth - 1) width^2) operations; once a batch, one product with each weight for its norm.

    Raises:
        ValueError: if a size is not positive, the bound outside (0, 1), or a name or norm unknown.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, section 2.1 (spectral normalisation); Chen,
        Behrmann, Duvenaud & Jacobsen 2019, section 3.3 (LipSwish), appendix (induced mixed norms). Deviation: exact
        norms at the end of training.

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
    bound: Float[Array, "..."] = frozen()
    lipschitz: float = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_shape: tuple[int, ...] | None = None,
        *,
        width: int = 128,
        depth: int = 2,
        lipschitz: float = 0.98,
        context_size: int = 0,
        activation: str = "lipswish",
        norms: Sequence[float] | None = None,
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(in_size=in_size, width=width, depth=depth)
        check_same_shape((in_size,), out_shape)
        check_coefficient("lipschitz", lipschitz)
        norms = checked_norms(norms, depth + 2)
        sizes, share = [in_size, *[width] * depth, in_size], lipschitz ** (1 / (depth + 1))
        self.layers = tuple(
            LipschitzDense(a, b, coefficient=share, norms=pair, key=jax.random.fold_in(key, i))
            for i, ((a, b), pair) in enumerate(zip(itertools.pairwise(sizes), itertools.pairwise(norms), strict=True))
        )
        self.contexts = context_matrices(context_size, sizes[1:], key)
        self.slopes = start_slopes(activation, depth)
        self.lipschitz, self.activation = float(lipschitz), activation
        self.bound = self.certified()

    def __check_init__(self) -> None:
        pairs = [layer.norms for layer in self.layers]
        if any(pair[1] != following[0] for pair, following in zip(pairs, [*pairs[1:], pairs[0]], strict=True)):
            raise ValueError(
                "norms: expected the output norm of each layer to be the input norm of the next, and the output norm "
                f"of the last layer to be the input norm of the first, got {pairs}."
            )

    @property
    def norm(self) -> float:
        return self.layers[0].norms[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.layers[0].weight.shape[-2],)


def checked_norms(norms: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """`count` vector norms, all 2 by default."""
    values = (2.0,) * count if norms is None else tuple(float(norm) for norm in norms)
    if len(values) != count or any(norm not in NORMS for norm in values):
        raise ValueError(
            f"norms: expected {count} numbers out of 1, 2 and inf, one before each layer and one after the last, "
            f"got {norms}."
        )
    return values
