"""The masked perceptron (MADE), with hidden units sorted by degree.

A unit of degree d depends on the coordinates of rank below d, an output of rank t on the units of degree at most t.
With sorted coordinates and units, all weight matrices are block lower triangular. The parallel pass skips most of the
zero blocks (`masked_pass`). The sequential direction computes each unit once, when its inputs are known
(`masked_solve`), so it costs the arithmetic of one pass.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.activations import Activation, activation_fn, split_activation
from pushforward.networks.autoregressive import (
    AbstractAutoregressiveNetwork,
    Ranks,
    TransformerFn,
    order_and_parameters,
    solve_by_passes,
)
from pushforward.networks.initial_weights import normal
from pushforward.networks.masked_pass import MaskedPass
from pushforward.networks.masked_solve import BlockedSolve
from pushforward.networks.network import check_sizes
from pushforward.numerics.arrays import on_device, zeros
from pushforward.numerics.trailing_batch import trailing_batch


class MaskedMLP(AbstractAutoregressiveNetwork):
    """Masked perceptron (MADE): parameters (P, D) whose column i depends on the coordinates of rank below rank(i).

        h_l = act((W_l * M_l) h_{l-1} + C_l context + b_l),   out = (V * M) h_depth + U context + c

    With `residual=True` the hidden layers after the first come in pairs, h + W'' act(W' act(h)). The context enters
    every layer, and units of degree 0 depend on it alone, so it reaches every output, also the first and for D = 1.
    V, U and c start at zero.

    Args:
        ranks: (D,), the rank of each coordinate, a permutation of 0..D-1: `numpy.argsort(order)` of the `order=` of a
            recipe. Or the number D, for the natural order.
            p(x2) p(x3|x2) p(x1|x2,x3) is `ranks=(2, 0, 1)`.
        out_shape: (P, D), for P numbers emitted for each coordinate.
        width: units of a hidden layer; rounded to a multiple of the number of degrees if it exceeds that. With a width
            below D, some ranks have no unit.
        depth: number of hidden layers (residual: of blocks of two layers, after the first layer).
        context_size: length of the context, 0 for none.
        residual: whether the hidden layers after the first form residual blocks of two layers.
        activation: a name in `ACTIVATIONS`, an element-wise function, or a module, whose parameters are trained; with a
            module the sequential direction takes D passes.
        n_features: number of input features of each coordinate, stored contiguously (see `PeriodicInputs`).
        key: for the start weights.

    Cost: 2 (D W + (depth - 1) W^2 + P D W) operations in both directions.

    Raises:
        ShapeError: if `ranks` is not a permutation, or `out_shape` not (P, D).
        ValueError: if a size is not positive or the activation is unknown.

    Reference: Germain, Gregor, Murray & Larochelle 2015, section 4; residual: Durkan & Nash 2019, section 3. Sorted
    degrees and the blocked recurrence are ours.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import MaskedMLP
        >>> network = MaskedMLP(3, (2, 3), width=8, depth=2, key=jax.random.key(0))
        >>> print(network(jnp.ones(3)).shape)
        (2, 3)
    """

    is_triangular: ClassVar[bool] = True

    weights: tuple[Float[Array, "..."], ...]
    context_weights: tuple[Float[Array, "..."], ...]  # of the hidden layers and of the output, or none
    biases: tuple[Float[Array, "..."], ...]
    out_weight: Float[Array, "..."]
    out_bias: Float[Array, "..."]
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    n_ranks: int = eqx.field(static=True)
    context_size: int = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    n_features: int = eqx.field(static=True, default=1)  # files of versions without it are read as 1
    trained_activation: eqx.Module | None = None

    def __init__(
        self,
        ranks: Ranks,
        out_shape: tuple[int, int],
        *,
        width: int = 64,
        depth: int = 2,
        context_size: int = 0,
        residual: bool = False,
        activation: Activation = "relu",
        n_features: int = 1,
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(width=width, depth=depth, n_features=n_features)
        order, n_parameters = order_and_parameters(ranks, out_shape)
        dim = len(order)
        self.activation, self.trained_activation = split_activation(activation)
        n_degrees = dim - _lowest_degree(dim, context_size)
        width = max(round(width / n_degrees), 1) * n_degrees if width > n_degrees else width
        n_hidden = 1 + 2 * depth if residual else depth
        gain = 2.0 if self.activation == "relu" else 1.0
        weights = [
            normal(jax.random.fold_in(key, i), (b, a), math.sqrt((2.0 if i else 1.0) * gain / a))
            for i, (a, b) in enumerate(itertools.pairwise([dim * n_features, *[width] * n_hidden]))
        ]
        if residual:  # blocks start as the identity
            weights[2::2] = [zeros(weight.shape) for weight in weights[2::2]]
        self.weights = tuple(weights)
        self.context_weights = tuple(
            normal(jax.random.fold_in(key, n_hidden + i), (context_size, width), 1.0 / math.sqrt(max(context_size, 1)))
            for i in range(n_hidden if context_size else 0)
        )
        if context_size:
            self.context_weights += (zeros((n_parameters, dim, context_size)),)
        self.biases = tuple(zeros(width) for _ in range(n_hidden))
        self.out_weight, self.out_bias = zeros((n_parameters, dim, width)), zeros((n_parameters, dim))
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.n_ranks, self.context_size, self.residual, self.n_features = dim, context_size, residual, n_features

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)
        n_inputs, n_ranks = self.weights[0].shape[1], self.out_weight.shape[1]
        if self.n_ranks != n_ranks or n_inputs != n_ranks * self.n_features:
            raise ShapeError(
                f"n_ranks, n_features: expected {n_ranks} ranks with {n_inputs} inputs in all, as the weights have, "
                f"got {self.n_ranks} and {self.n_features} for each."
            )

    @property
    def ranks(self) -> Int[Array, "..."]:
        return self.inverse_order

    def parameters(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        masked_pass, data = self._masked_pass(), self._data(x, context)
        if self.trained_activation is not None:  # its parameters are no weights of the fast pass
            return masked_pass(data, self._weights())
        return trailing_batch(masked_pass)(data, self._weights())

    def solve(
        self, transformer_fn: TransformerFn, weights: Any, z: Array, context: Array | None = None
    ) -> tuple[Array, Array]:
        if self.n_features > 1:
            raise ShapeError(
                "solve: expected a network of one feature of each coordinate. Wrap it in "
                "PeriodicInputs, whose layer takes one pass for each rank."
            )
        if self.trained_activation is not None:
            ranks = jnp.arange(self.n_ranks)
            return solve_by_passes(
                lambda x: transformer_fn(weights, self.parameters(x, context), z), ranks, len(ranks), z
            )
        solver = BlockedSolve(transformer_fn, self._masked_pass(), self._degrees(), self.out_weight.shape[:2])
        return trailing_batch(solver)(self._data(z, context), (self._weights(), weights))

    def masks(self) -> list[np.ndarray]:
        """The masks M of the hidden layers and of the output, bool (units, inputs), coordinates sorted by `order`.

        >>> import jax
        >>> print(MaskedMLP(3, (1, 3), width=2, depth=1, key=jax.random.key(0)).masks()[0].astype(int))
        [[1 0 0]
         [1 1 0]]
        """
        sizes = [self.weights[0].shape[1], *[len(weight) for weight in self.weights]]
        return [np.arange(size) < fan_in[:, None] for size, fan_in in zip(sizes, self._fan_ins(), strict=True)]

    def _masked_pass(self) -> MaskedPass:
        return MaskedPass(self._fan_ins(), activation_fn(self.activation, self.trained_activation), self.residual)

    def _data(self, value: Array, context: Array | None) -> tuple[Array, ...]:
        context = checked_context(context, self.context_size)
        return (value,) if context is None else (value, context)

    def _weights(self) -> tuple:
        return self.weights, self.biases, self.out_weight, self.out_bias, self.context_weights

    def _degrees(self) -> np.ndarray:
        """Degrees (W,) of the hidden units, non-decreasing and evenly spread."""
        dim, width = self.out_weight.shape[1:]
        lowest = _lowest_degree(dim, self.context_size)
        return lowest + np.arange(width) * (dim - lowest) // width

    def _fan_ins(self) -> list[np.ndarray]:
        """For every hidden layer and the output: the number of inputs of each of its rows."""
        degrees = self._degrees()
        units = np.searchsorted(degrees, degrees, side="right")
        outputs = np.searchsorted(degrees, np.arange(self.out_weight.shape[1]), side="right")
        return [degrees * self.n_features, *[units] * (len(self.weights) - 1), outputs]


def checked_order(dim: int, order: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """The order as an array, natural by default; an error if it is not a permutation.

    Example:
        >>> from pushforward.networks import checked_order
        >>> print(checked_order(3, None))
        [0 1 2]
    """
    order = np.arange(dim) if order is None else np.asarray(order)
    if order.ndim != 1 or sorted(order.tolist()) != list(range(dim)):
        raise ShapeError(f"order: expected a permutation of 0..{dim - 1}, got {order.tolist()}.")
    return order


def checked_context(context: Array | None, context_size: int) -> Array | None:
    """The context of a network, None if it has none; an error unless the shape is (context_size,)."""
    if context_size == 0 and context is None:
        return None
    if context is None or context.shape != (context_size,):
        got = "none" if context is None else f"shape {context.shape}"
        advice = "Pass context=." if context_size else "Build the network with context_size=."
        expected = f"shape ({context_size},)" if context_size else "none"
        raise ShapeError(f"context: the network expects {expected}, got {got}. {advice}")
    return context


def _lowest_degree(dim: int, context_size: int) -> int:
    """0 if units of degree 0 have a context as input, or D = 1 leaves no other degree; else 1."""
    return 0 if context_size > 0 or dim == 1 else 1
