"""A masked perceptron whose outputs depend on exactly the parents of each coordinate in a graph.

Every hidden unit has a set of inputs on which it may depend: the parents of some coordinate, or what two coordinates
have in common. Unit h feeds unit h' if the set of h is a subset of that of h', and the outputs of a coordinate whose
parents are a superset. The masks of MADE are the special case of a full order, where the sets are nested.
"""

import functools
import itertools
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.activations import Activation, activation_fn, split_activation
from pushforward.networks.graph import checked_adjacency, checked_matrix, ranks_of
from pushforward.networks.initial_weights import normal
from pushforward.networks.masked_mlp import checked_context
from pushforward.networks.network import AbstractNetwork, check_sizes
from pushforward.numerics.arrays import zeros
from pushforward.numerics.trailing_batch import trailing_batch


class GraphMLP(AbstractNetwork):
    """Masked perceptron on a directed acyclic graph: parameters (P, D) whose column i depends on the parents of i.

        h_l = act((W_l * M_l) h_{l-1} + b_l),   out = (V * M) h_depth + c,   h_0 = [x; context]

    For an autoregressive layer with as many steps as the graph is deep. Every column depends on *exactly* its parents
    for almost all weights: the masks neither cut a dependence nor add one. V and c start at zero.

    Args:
        adjacency: the graph, where adjacency[i, j] says that coordinate i depends on coordinate j; a matrix (D, D) or
            a dict of parents (see `checked_adjacency`).
        out_shape: (P, D), for P numbers emitted for each coordinate.
        context_adjacency: (D, C), bool, which entries of the context each coordinate depends on; all by default.
        width: units of a hidden layer, at least one for each different set of parents.
        depth: number of hidden layers.
        context_size: length C of the context, 0 for none.
        activation: a name in `ACTIVATIONS`, an element-wise function, or a module, whose parameters are trained.
        n_features: number of input features of each coordinate, stored contiguously (see `PeriodicInputs`).
        key: for the start weights.

    Cost: 2 (D W + (depth - 1) W^2 + P D W) operations a pass; sequential direction one pass for each rank, of which
    there are one more than edges in the longest path.

    Raises:
        ShapeError: if a matrix or the output has another shape.
        ValueError: if the graph has a cycle, the width is too small, or the activation is unknown.

    Reference: Wehenkel & Louppe 2021, section 3 (graphical conditioners, which mask inputs); Chen, Shi, Gao, Baptista &
    Krishnan 2023, section 3 (masks of layers whose product has the pattern of the adjacency matrix); Germain et al.
    2015 (MADE, the full order). That units carry sets and feed their supersets is ours.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import GraphMLP
        >>> network = GraphMLP({1: [0], 2: [0]}, (2, 3), width=8, depth=1, key=jax.random.key(0))
        >>> print(network(jnp.ones(3)).shape, network.ranks)
        (2, 3) [0 1 1]
    """

    is_triangular: ClassVar[bool] = True

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    out_weight: Float[Array, "..."]
    out_bias: Float[Array, "..."]
    graph: tuple[str, ...] = eqx.field(static=True)  # for each coordinate a "0" or "1" for each coordinate and context
    context_size: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    n_features: int = eqx.field(static=True)
    trained_activation: eqx.Module | None = None

    def __init__(
        self,
        adjacency: Any,
        out_shape: tuple[int, ...],
        *,
        context_adjacency: Any = None,
        width: int = 64,
        depth: int = 2,
        context_size: int = 0,
        activation: Activation = "relu",
        n_features: int = 1,
        key: PRNGKeyArray,
    ) -> None:
        check_sizes(width=width, depth=depth, n_features=n_features)
        if np.shape(out_shape) != (2,):
            raise ShapeError(f"out_shape: expected (P, D), P numbers for each coordinate, got {out_shape}.")
        n_parameters, dim = out_shape
        seen = np.ones((dim, context_size), bool)
        if context_adjacency is not None:
            seen = checked_matrix("context_adjacency", context_adjacency, (dim, context_size))
        depends = np.concatenate([checked_adjacency(dim, adjacency), seen], 1)
        self.graph = tuple("".join(map(str, row)) for row in depends.astype(int))
        self.context_size, self.n_features = context_size, n_features
        self.activation, self.trained_activation = split_activation(activation)
        gain = 2.0 if self.activation == "relu" else 1.0
        sizes = [dim * n_features + context_size, *[width] * depth]
        masks = self._masks(width, depth)
        self.weights = tuple(
            normal(jax.random.fold_in(key, i), shape, math.sqrt(gain * shape[0] / max(mask.sum(), 1)))
            for i, (mask, shape) in enumerate(zip(masks, [(b, a) for a, b in itertools.pairwise(sizes)], strict=False))
        )
        self.biases = tuple(zeros(width) for _ in range(depth))
        self.out_weight, self.out_bias = zeros((n_parameters, dim, width)), zeros((n_parameters, dim))

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)

    @property
    def adjacency(self) -> np.ndarray:
        """(D, D), bool: `adjacency[i, j]` says that coordinate i depends on coordinate j."""
        return self._depends()[:, : len(self.graph)]

    @property
    def context_adjacency(self) -> np.ndarray:
        """(D, C), bool: which entries of the context each coordinate depends on."""
        return self._depends()[:, len(self.graph) :]

    @property
    def ranks(self) -> Int[np.ndarray, "..."]:
        """(D,), the length of the longest path of parents that leads to each coordinate."""
        return ranks_of(self.adjacency)

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        """Parameters (P, D) of all coordinates, from x (D,), or from D times `n_features` features grouped by D."""
        context = checked_context(context, self.context_size)
        masks = self._masks(self.out_weight.shape[-1], len(self.weights))
        masked_pass = _MaskedPass(masks, activation_fn(self.activation, self.trained_activation))
        data = (x,) if context is None else (x, context)
        weights = (self.weights, self.biases, self.out_weight, self.out_bias)
        if self.trained_activation is not None:  # its parameters are no weights of the fast pass
            return masked_pass(data, weights)
        return trailing_batch(masked_pass)(data, weights)

    def _depends(self) -> np.ndarray:
        return _as_matrix(self.graph)

    def _masks(self, width: int, depth: int) -> list[np.ndarray]:
        """The masks M of the hidden layers and of the output, bool (units, inputs)."""
        depends = self._depends()
        units = _sets_of_units(self.graph, width)
        features, context = units[:, : len(depends)], units[:, len(depends) :]
        first = np.concatenate([np.repeat(features, self.n_features, 1), context], 1)
        return [first, *[is_subset(units, units)] * (depth - 1), is_subset(depends, units)]


def is_subset(supersets: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """(n, m), whether set j is a subset of superset i, for rows of bool.

    >>> print(is_subset(np.eye(2, dtype=bool), np.ones((1, 2), bool)))
    [[False]
     [False]]
    """
    return ~(~supersets.astype(bool) @ sets.astype(bool).T)


@functools.lru_cache(maxsize=64)
def _sets_of_units(graph: tuple[str, ...], width: int) -> np.ndarray:
    """(width, inputs), bool: the set of each unit. All sets of parents, and intersections of two while half of the
    units are left for them, take turns.
    """
    parents = list(dict.fromkeys(bits for row in graph if (bits := int(f"0{row}", 2))))
    if len(parents) > width:
        raise ValueError(
            f"width: expected at least {len(parents)} units, one for each different set of parents in the graph, got "
            f"{width}."
        )
    common = dict.fromkeys(both for one, other in itertools.combinations(parents, 2) if (both := one & other))
    sets = [*parents, *[bits for bits in common if bits not in parents][: max(width // 2 - len(parents), 0)]] or [0]
    rows = [f"{bits:0{len(graph[0])}b}" for bits in sets]
    return _as_matrix(tuple(rows[unit % len(rows)] for unit in range(width)))


def _as_matrix(rows: tuple[str, ...]) -> np.ndarray:
    return np.array([list(row) for row in rows]) == "1"


class _MaskedPass:
    """The pass as a function of (data, weights), for `numerics.trailing_batch`."""

    def __init__(self, masks: list[np.ndarray], activation: Any) -> None:
        self.masks, self.activation = masks, activation

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> Array:
        """Parameters (P, D, ...), from arrays with or without a trailing batch axis."""
        matrices, biases, out_weight, out_bias = weights
        inputs, value = data, data[0]
        for matrix, bias, mask in zip(matrices, biases, self.masks, strict=False):
            parts = jnp.split(matrix * mask, [len(inputs[0])], 1)  # one context for all samples is multiplied once
            products = [jnp.tensordot(part, given, 1) for part, given in zip(parts, inputs, strict=False)]
            value = self.activation(sum(products, _column(bias, value)))
            inputs = (value,)
        return jnp.tensordot(out_weight * self.masks[-1][None], value, 1) + _column(out_bias, value)


def _column(bias: Array, value: Array) -> Array:
    return bias.reshape(bias.shape + (1,) * (value.ndim - 1))
