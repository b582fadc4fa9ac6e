"""Multi-layer perceptrons, plain and residual: conditioners of coupling layers and of `Conditional`."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.networks.activations import Activation, activation_fn, split_activation
from pushforward.networks.initial_weights import normal
from pushforward.networks.network import AbstractNetwork, check_sizes, join, recomputed_on_cpu
from pushforward.numerics.arrays import zeros


class MLP(AbstractNetwork):
    """Multi-layer perceptron from (x, context) to an array of shape `out_shape`.

        h_0 = [x; context],  h_i = act(h_{i-1} W_i + b_i),  out = V h_depth + c

    V and c start at zero, so that a layer built on the network starts at its transformer's start values.

    Args:
        in_size: length of x.
        out_shape: shape of the output, (P, D) for a conditioner.
        width: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        context_size: length of the context, 0 for none.
        activation: a name in `ACTIVATIONS`, an element-wise function, or a module, whose parameters are trained.
        key: for the start weights.

    Cost: 2 * (in * width + (depth - 1) * width^2 + width * out) operations.

    Raises:
        ValueError: if a size is not positive or the activation is unknown.

    Reference: start weights by He, Zhang, Ren & Sun 2015, equation 10.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import MLP
        >>> network = MLP(2, (3, 4), width=8, depth=2, key=jax.random.key(0))
        >>> print(network(jnp.ones(2)).shape)
        (3, 4)
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    out_weight: Float[Array, "..."]
    out_bias: Float[Array, "..."]
    context_size: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    trained_activation: eqx.Module | None = None

    def __init__(
        self,
        in_size: int,
        out_shape: tuple[int, ...],
        *,
        width: int = 64,
        depth: int = 2,
        context_size: int = 0,
        activation: Activation = "relu",
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(in_size=in_size + context_size, width=width, depth=depth)
        sizes = [in_size + context_size, *[width] * depth]
        self.weights = tuple(
            normal(jax.random.fold_in(key, i), (a, b), math.sqrt(2.0 / a))
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.biases = tuple(zeros(width) for _ in range(depth))
        self.out_weight, self.out_bias = zeros((*out_shape, width)), zeros(out_shape)
        self.activation, self.trained_activation = split_activation(activation)
        self.context_size = context_size

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        evaluate = type(self)._evaluate
        if sum(weight.size for weight in self.weights) <= self.out_weight.size:  # else computing them again costs more
            evaluate = recomputed_on_cpu(evaluate)
        return evaluate(self, join(x, context, self.context_size))

    def _evaluate(self, hidden: Array) -> Float[Array, "..."]:
        act = activation_fn(self.activation, self.trained_activation)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = act(hidden @ weight + bias)
        # weight first: under vmap the product then has the batch axis last, the layout of the transformers
        return jnp.tensordot(self.out_weight, hidden, 1) + self.out_bias


class ResidualMLP(AbstractNetwork):
    """Residual perceptron: blocks h + W2 drop(act(W1 act(h))) between a linear input and a linear output layer.

    The output weights and the second weight of every block start at zero.

    Args:
        in_size: length of x.
        out_shape: shape of the output, (P, D) for a conditioner.
        width: units of each hidden layer.
        depth: number of blocks, at least 1; each has two layers.
        context_size: length of the context, 0 for none.
        activation: a name in `ACTIVATIONS`, an element-wise function, or a module, whose parameters are trained.
        dropout: share of units dropped in training (when a key is given), in [0, 1).
        key: for the start weights.

    Cost: 2 * (in * width + 2 * depth * width^2 + width * out) operations.

    Raises:
        ValueError: if a size is not positive, the activation is unknown, or dropout is out of range.

    Reference: He, Zhang, Ren & Sun 2016 (pre-activation); as conditioner, Durkan et al. 2019, appendix B.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import ResidualMLP
        >>> network = ResidualMLP(2, (3, 4), width=8, depth=1, key=jax.random.key(0))
        >>> print(network(jnp.ones(2)).shape)
        (3, 4)
    """

    in_weight: Float[Array, "..."]
    in_bias: Float[Array, "..."]
    blocks: tuple[tuple[Array, Array, Array, Array], ...]
    out_weight: Float[Array, "..."]
    out_bias: Float[Array, "..."]
    context_size: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    dropout: float = eqx.field(static=True)
    trained_activation: eqx.Module | None = None

    def __init__(
        self,
        in_size: int,
        out_shape: tuple[int, ...],
        *,
        width: int = 64,
        depth: int = 2,
        context_size: int = 0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(in_size=in_size + context_size, width=width, depth=depth)
        size = in_size + context_size
        self.in_weight = normal(jax.random.fold_in(key, 0), (size, width), math.sqrt(1.0 / size))
        self.in_bias = zeros(width)
        self.blocks = tuple(
            (
                normal(jax.random.fold_in(key, i + 1), (width, width), math.sqrt(2.0 / width)),
                zeros(width),
                zeros((width, width)),
                zeros(width),
            )
            for i in range(depth)
        )
        self.out_weight, self.out_bias = zeros((*out_shape, width)), zeros(out_shape)
        self.activation, self.trained_activation = split_activation(activation)
        self.context_size, self.dropout = context_size, float(dropout)

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a share in [0, 1), got {self.dropout}.")

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        act = activation_fn(self.activation, self.trained_activation)
        keys = [None] * len(self.blocks) if key is None else jax.random.split(key, len(self.blocks))
        hidden = join(x, context, self.context_size) @ self.in_weight + self.in_bias
        for (weight1, bias1, weight2, bias2), block_key in zip(self.blocks, keys, strict=True):
            inner = act(act(hidden) @ weight1 + bias1)
            if block_key is not None and self.dropout > 0:
                mask = jax.random.bernoulli(block_key, 1.0 - self.dropout, inner.shape)
                inner = jnp.where(mask, inner / (1.0 - self.dropout), 0.0)
            hidden = hidden + inner @ weight2 + bias2
        return jnp.tensordot(self.out_weight, act(hidden), 1) + self.out_bias
