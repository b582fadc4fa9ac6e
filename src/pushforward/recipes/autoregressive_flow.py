"""The general autoregressive flows, of which the named autoregressive recipes are special cases."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import Inverse, MaskedAutoregressive, n_parameters
from pushforward.bijections.scalar import Affine, Translation, transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import (
    AbstractAutoregressiveNetwork,
    CausalAttention,
    MaskedMLP,
    PeriodicInputs,
    checked_order,
)
from pushforward.networks.activations import Activation
from pushforward.networks.graph import Adjacency
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_count, check_sizes
from pushforward.recipes.dependence_graph import graph_network
from pushforward.recipes.network_factory import NetworkFactory, callers_factory, network_arguments, repeated
from pushforward.recipes.vector_flow import density_transformer, vector_flow

Order = str | Sequence[int]


def autoregressive_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "rational_quadratic",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    conditioner: str = "masked_mlp",
    n_heads: int = 4,
    token_size: int = 1,
    order: Order = "reverse",
    adjacency: Adjacency | None = None,
    context_adjacency: np.ndarray | None = None,
    allow_ancestors: bool = False,
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Autoregressive flow: n_layers layers in alternating orders, then `Standardise`.

        x = mean + scale * (T_n o ... o T_1)(z),   T_l: x_i = h(z_i; theta_l,i(x of lower rank, context))

    Density in one pass of the conditioners; sampling is sequential, at about the arithmetic of one pass (see
    `MaskedAutoregressive`). With default arguments it is `nsf_ar`. `inverse_autoregressive_flow` samples in one pass.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the initial weights.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection. "rational_quadratic" is
            the spline of `nsf_ar`: it maps x to z, which is its cheaper direction.
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of layers.
        width: units in each hidden layer of the conditioners (attention: size of a token).
        depth: hidden layers of a conditioner (residual: pairs after the first; attention: blocks).
        activation: a name in `pushforward.networks.ACTIVATIONS`, an element-wise function, or a module.
        residual: residual masked conditioners instead of plain ones.
        conditioner: "masked_mlp" or "attention".
        n_heads, token_size: of attention conditioners.
        order: "reverse" (natural and reversed alternately), "random" (a different one in each layer, the same for every
            key), "same" (natural in all), or one permutation for all, where `order[t]` is the coordinate of rank t. In
            one order a stack of unimodal transformers has unimodal conditionals only.
        adjacency: a directed acyclic graph in place of an order, of which one layer has exactly the dependences: a
            matrix (D, D) where adjacency[i, j] says that coordinate i depends on j, or a dict of the parents of each
            coordinate (see `pushforward.networks.checked_adjacency`). With it the density is that of a Bayesian
            network, prod_i p(x_i | parents of i, context), if the base is one of independent coordinates; sampling
            takes as many passes as the graph is deep; conditioners are `pushforward.networks.GraphMLP`.
        context_adjacency: with `adjacency`, which entries of the context each coordinate depends on, (D, C); all by
            default.
        allow_ancestors: whether several layers may be stacked on a graph. They depend on ancestors too, which is an
            error otherwise unless the graph has all ancestors as parents.
        method: of `sample`, "cached", "jacobi" or "sequential"; chosen by the layer if None.
        network: makes each conditioner instead of the default ones, which width, depth, activation, residual,
            conditioner, n_heads and token_size describe: called as network(ranks, out_shape, context_size=..., key=...)
            with the rank (D,) of each coordinate and out_shape = (P, D), returns a network as `MaskedAutoregressive`
            takes; for a transformer of the circle one in `PeriodicInputs`. `functools.partial(pf.networks.MaskedMLP,
            width=128)` is such a function.
        start_at_identity: multiply the outputs of networks from `network` by trained gates that start at zero
            (`pushforward.networks.ZeroInitialised`), as the outputs of the default networks do.
        base: distribution of shape (dim,); standard normal by default, uniform on circles.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every conditioner; sample about one pass, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Papamakarios, Pavlakou & Murray 2017, section 3.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.autoregressive_flow(dim=3, transformer="affine", key=0)
        >>> print(flow.sample(5, key=1).shape)
        (5, 3)
    """
    network_arguments(autoregressive_flow, locals())
    transformer = density_transformer(transformer)
    return _flow(**locals(), wrap=lambda layer: layer)


def inverse_autoregressive_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "affine",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    residual: bool = False,
    conditioner: str = "masked_mlp",
    n_heads: int = 4,
    token_size: int = 1,
    order: Order = "reverse",
    adjacency: Adjacency | None = None,
    context_adjacency: np.ndarray | None = None,
    allow_ancestors: bool = False,
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Inverse autoregressive flow: each layer is the inverse of one of `autoregressive_flow`, with parameters from z.

        x = mean + scale * (T_n o ... o T_1)(z),   T_l^-1: z_i = h(x_i; theta_l,i(z of lower rank, context))

    Sampling, with the density of the sample, takes one pass of the conditioners; the density of data is sequential, at
    about the arithmetic of one pass. With default arguments it is `iaf`.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the initial weights.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection.
        method: of `log_prob`, "cached", "jacobi" or "sequential"; chosen by the layer if None.
        adjacency: as for `autoregressive_flow`, of the dependence of x_i on z_j: x_i = f(z_i; z_j of the parents of i).
        context_dim, whiten, n_layers, width, depth, activation, residual, conditioner, n_heads, token_size, order,
            context_adjacency, allow_ancestors, network, start_at_identity, base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: sample one pass of every conditioner; log_prob about one pass, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling 2016, section 3.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.inverse_autoregressive_flow(dim=3, transformer="sinh_arcsinh", key=0)
        >>> print(flow.sample(5, key=1).shape)
        (5, 3)
    """
    network_arguments(inverse_autoregressive_flow, locals())
    transformer = transformer_named(transformer)
    return _flow(**locals(), wrap=Inverse)


def _flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: AbstractBijection,
    context_dim: int | None,
    whiten: bool | None,
    n_layers: int,
    order: Order,
    adjacency: Adjacency | None,
    context_adjacency: Any,
    allow_ancestors: bool,
    method: str | None,
    base: AbstractDistribution | None,
    network: NetworkFactory | None,
    start_at_identity: bool,
    wrap: Callable[[MaskedAutoregressive], AbstractBijection],
    **of_default: Any,
) -> Flow:
    """The flow of autoregressive layers, each wrapped; `of_default` describes the default conditioners."""
    network = callers_factory(network, start_at_identity)
    check_sizes(context_dim, dim=dim, n_layers=n_layers)
    context_shape = None if context_dim is None else (context_dim,)
    default, layers = _default_network(is_circular(transformer), **of_default), []
    if adjacency is not None:
        default = graph_network(
            dim, context_dim, adjacency=adjacency, context_adjacency=context_adjacency, n_layers=n_layers,
            allow_ancestors=allow_ancestors, has_angles=is_circular(transformer), width=of_default["width"],
            depth=of_default["depth"], activation=of_default["activation"],
            others={**of_default, "order": order, "whiten": whiten, "network": network},
        )  # fmt: skip
        whiten = False  # it would mix the coordinates
    elif context_adjacency is not None or allow_ancestors:
        raise ValueError("context_adjacency, allow_ancestors: expected neither without adjacency=.")
    make = network or default
    for index in range(n_layers):
        ranks = np.argsort(checked_order(dim, order_of(order, dim, index)))
        conditioner = make(
            ranks, (n_parameters(transformer), dim), context_size=context_dim or 0,
            key=jax.random.fold_in(as_key(key), index),
        )  # fmt: skip
        layers.append(wrap(ranked(transformer, conditioner, ranks, context_shape, method)))
    is_default = network is None and of_default["conditioner"] == "masked_mlp"
    is_cheap = is_default and isinstance(transformer, Affine | Translation)
    return vector_flow([repeated(layers, network, unroll=n_layers if is_cheap else 1)], whiten, base, transformer)


def ranked(
    transformer: AbstractBijection, conditioner: Any, ranks: np.ndarray, context_shape: tuple[int, ...] | None,
    method: str | None,
) -> MaskedAutoregressive:  # fmt: skip
    """The layer of a conditioner that was made for these ranks; one with `ranks` of its own keeps them."""
    has_ranks = isinstance(conditioner, AbstractAutoregressiveNetwork) or hasattr(conditioner, "ranks")
    return MaskedAutoregressive(
        transformer, conditioner, ranks=None if has_ranks else ranks, context_shape=context_shape, method=method
    )


def _default_network(
    has_angles: bool, *, conditioner: str, residual: bool, n_heads: int, token_size: int, **sizes: Any
) -> NetworkFactory:
    """The function that makes the default conditioners; an angle enters them as cosine and sine."""
    check_count(width=sizes["width"], depth=sizes["depth"], n_heads=n_heads, token_size=token_size)
    check_choice("conditioner", conditioner, ("masked_mlp", "attention"))
    if has_angles:
        sizes["n_features"] = 2
    make: NetworkFactory
    if conditioner == "masked_mlp":
        make = functools.partial(MaskedMLP, residual=residual, **sizes)
    elif residual:
        raise ValueError(
            "residual: expected False with conditioner='attention', which has residual connections already; got True."
        )
    else:
        make = functools.partial(CausalAttention, n_heads=n_heads, token_size=token_size, **sizes)
    if not has_angles:
        return make
    return lambda ranks, out_shape, **options: PeriodicInputs(make(ranks, out_shape, **options))


def order_of(order: Order, dim: int, index: int) -> np.ndarray:
    """The order of layer `index`: `order[t]` is the coordinate of rank t."""
    natural = np.arange(dim)
    if not isinstance(order, str):
        return np.asarray(order)
    check_choice("order", order, ("reverse", "random", "same"))
    if order == "random":
        return np.random.default_rng(index).permutation(dim)
    return natural[::-1] if order == "reverse" and index % 2 else natural
