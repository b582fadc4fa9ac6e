"""Small layers with small networks for rows, and their dependence masks."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import Conditional, Coupling, MaskedAutoregressive, n_parameters, transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.fields import count_parameters
from pushforward.networks import (
    MLP,
    AbstractNetwork,
    CausalAttention,
    CausalConvolution,
    GraphMLP,
    MaskedMLP,
    PeriodicInputs,
)
from zoo.rows import CONTEXT_DIM


def network(n_in: int, out: tuple[int, ...], context: int = 0) -> MLP:
    return MLP(n_in, out, width=8, depth=1, context_size=context, key=jax.random.key(3))


def coupling(transformer: AbstractBijection, mask: np.ndarray, context: int = 0) -> Coupling:
    n_inputs, n_transformed = int((~mask).sum()), int(mask.sum())
    n_inputs *= 2 if is_circular(transformer) else 1  # cosine and sine of an angle
    conditioner = network(n_inputs, (n_parameters(transformer), n_transformed), context)
    return Coupling(transformer, mask, conditioner, context_shape=(context,) if context else None)


def autoregressive(
    transformer: AbstractBijection | str,
    order: tuple[int, ...],
    context: int = 0,
    method: str | None = None,
    **options: Any,
) -> MaskedAutoregressive:
    transformer = transformer_named(transformer)
    angles = is_circular(transformer)
    network: AbstractNetwork = MaskedMLP(
        np.argsort(order),
        (n_parameters(transformer), len(order)),
        context_size=context,
        n_features=2 if angles else 1,
        key=jax.random.key(3),
        **{"width": 8, "depth": 1, "activation": "tanh", **options},
    )
    if angles:
        network = PeriodicInputs(network)
    return MaskedAutoregressive(transformer, network, context_shape=(context,) if context else None, method=method)


def on_graph(adjacency: np.ndarray, context: int) -> MaskedAutoregressive:
    network = GraphMLP(
        adjacency, (2, len(adjacency)), width=8, depth=2, context_size=context, activation="tanh",
        key=jax.random.key(3),
    )  # fmt: skip
    return MaskedAutoregressive("affine", network, context_shape=(context,))


def attention(name: str, dim: int, context: int = 0, **options: Any) -> MaskedAutoregressive:
    transformer = transformer_named(name)
    network = CausalAttention(
        dim,
        (n_parameters(transformer), dim),
        width=8,
        depth=2,
        n_heads=2,
        context_size=context,
        key=jax.random.key(3),
        **options,
    )
    return MaskedAutoregressive(transformer, network, context_shape=(context,) if context else None, method="cached")


def convolution(name: str, order: tuple[int, ...], context: int = 0, **options: Any) -> MaskedAutoregressive:
    transformer, context_shape = transformer_named(name), (context,) if context else None
    network = CausalConvolution(
        np.argsort(order), (n_parameters(transformer), len(order)), width=8, context_size=context,
        key=jax.random.key(3), **{"depth": 2, "cycle": 2, **options},
    )  # fmt: skip
    return MaskedAutoregressive(transformer, network, context_shape=context_shape, method="cached")


class PlainAutoregressive(eqx.Module):
    """An autoregressive network of a caller, which has `__call__` only."""

    mask: jax.Array
    weight: jax.Array
    bias: jax.Array

    def __call__(self, x, context=None, *, key=None):
        return jnp.einsum("pij,j->pi", self.weight * self.mask[None], jnp.tanh(x)) + self.bias


def plain_network(order: tuple[int, ...], n: int = 2) -> PlainAutoregressive:
    ranks, dim = np.argsort(order), len(order)
    return PlainAutoregressive(jnp.asarray(ranks[:, None] > ranks[None]), jnp.zeros((n, dim, dim)), jnp.zeros((n, dim)))


def equinox_coupling(transformer: AbstractBijection, mask: np.ndarray, context: int) -> Coupling:
    n_parameters_all = n_parameters(transformer) * int(mask.sum())
    mlp = eqx.nn.MLP(int((~mask).sum()) + context, n_parameters_all, 8, 1, activation=jnp.tanh, key=jax.random.key(3))
    return Coupling(transformer, mask, mlp, context_shape=(context,))


def autoregressive_mask(order: tuple[int, ...], token_size: int = 1, reach: int | None = None) -> np.ndarray:
    """Each coordinate depends on itself and on all of lower rank, or on the `reach` nearest of them."""
    ranks = np.argsort(order) // token_size
    back = ranks[:, None] - ranks[None, :]
    return ((back > 0) & (back <= (reach or len(order)))) | np.eye(len(order), dtype=bool)


def conditional(layer: AbstractBijection) -> Conditional:
    return Conditional(layer, network(CONTEXT_DIM, (count_parameters(layer),)), (CONTEXT_DIM,))


def coupling_mask(mask: np.ndarray, diagonal: bool = True) -> np.ndarray:
    """The transformed part of a coupling depends on itself and on the other part."""
    flat = mask.reshape(-1)
    matrix = np.outer(flat, ~flat)
    return matrix | np.eye(flat.size, dtype=bool) if diagonal else matrix
