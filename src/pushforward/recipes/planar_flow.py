"""Flows of few parameters: stacks of planar, radial or Sylvester layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bijections import Householder, Permutation, Planar, Radial, Repeat, Sylvester
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_count, check_sizes, without
from pushforward.recipes.network_factory import NetworkFactory, check_has_network, network_arguments
from pushforward.recipes.vector_flow import conditional, vector_flow

SYLVESTER_KINDS = ("orthogonal", "householder", "triangular")


def planar_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 16,
    nonlinearity: str = "tanh",
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Planar flow: each layer is z + v h(w.z + b), 2 D + 1 parameters. Made for variational inference.

    Both directions are exact and differentiable, so it is fitted to data too. One layer is nonlinear in one direction:
    many are needed in high dimension, where `sylvester_flow` or `iaf` do more. With a context one network of it shifts
    the parameters of all layers (an amortised posterior).

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        context_dim: length of the context, or None.
        whiten: a full-covariance `Whiten` layer outside, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: K.
        nonlinearity: h: "tanh", or "leaky_relu", whose inverse is a formula but whose density jumps: it trains badly.
        width, depth, activation: of the context network.
        network: makes the network of the context instead: called as network(context_dim, out_shape, context_size=0,
            key=...), see `coupling_flow`.
        base: distribution of shape (dim,); standard normal by default.

    Returns:
        A flow of shape (dim,).

    Cost: O(K D) in both directions; log_prob adds K sequential scalar roots for tanh.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Rezende & Mohamed 2015.

    Example:
        >>> import pushforward as pf
        >>> print(pf.planar_flow(dim=2, n_layers=4, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    arguments = without(locals(), "nonlinearity")
    return _flow(lambda key, index: Planar(dim, nonlinearity=nonlinearity, key=key), **arguments)


def radial_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 16,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Radial flow: each layer contracts space towards a centre or expands it, D + 2 parameters.

    Both directions have formulas. A layer is symmetric about its centre, so it turns a Gaussian into shells and holes
    more easily than into elongated shapes.

    Args:
        dim, key, context_dim, whiten, n_layers, width, depth, activation, network, base: as for `planar_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: O(K D) in both directions.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Rezende & Mohamed 2015.

    Example:
        >>> import pushforward as pf
        >>> print(pf.radial_flow(dim=2, n_layers=4, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return _flow(lambda key, index: Radial(dim, key=key), **locals())


def sylvester_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    kind: str = "orthogonal",
    n_units: int | None = None,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 8,
    nonlinearity: str = "tanh",
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Sylvester flow: each layer is a planar one with M units, z + Q R h(S Q^T z + b).

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        kind: of Q. "orthogonal": M columns, by M reflections. "householder": a rotation by `n_units` reflections; then
            M = D. "triangular": a permutation, reversed in every other layer; then M = D too.
        n_units: M of "orthogonal", at most D; the number of reflections of "householder"; by default D.
        context_dim, whiten, n_layers, nonlinearity, width, depth, activation, network, base: as for `planar_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: O(K (M D + M^2)) in both directions; log_prob adds K M sequential scalar roots for tanh.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Van den Berg, Hasenclever, Tomczak & Welling 2018.

    Example:
        >>> import pushforward as pf
        >>> print(pf.sylvester_flow(dim=3, n_layers=2, key=0).sample(4, key=1).shape)
        (4, 3)
    """
    arguments = without(locals(), "kind", "n_units", "nonlinearity")
    check_count(dim=dim)
    check_choice("kind", kind, SYLVESTER_KINDS)
    if n_units is not None:
        check_count(n_units=n_units)

    def layer(key: PRNGKeyArray, index: int) -> AbstractBijection:
        key_rotation, key_units = jax.random.split(key)
        if kind == "triangular":
            order = np.arange(dim)
            return Sylvester(Permutation(order[::-1] if index % 2 else order), nonlinearity=nonlinearity, key=key_units)
        rotation = Householder(dim, n_units or dim, key=key_rotation)
        return Sylvester(rotation, n_units if kind == "orthogonal" else None, nonlinearity=nonlinearity, key=key_units)

    return _flow(layer, **arguments)


def _flow(
    layer: Callable[[PRNGKeyArray, int], AbstractBijection], dim: int, *, key: PRNGKeyArray | int, n_layers: int,
    context_dim: int | None, whiten: bool | None, base: AbstractDistribution | None, network: NetworkFactory | None,
    **sizes: Any,
) -> Flow:  # fmt: skip
    """Layers of one type in a `Repeat`; with a context one network is added to the parameters of all layers."""
    network_arguments(planar_flow, {"network": network, **sizes})
    check_has_network(network, context_dim)
    check_sizes(context_dim, dim=dim, n_layers=n_layers, width=sizes["width"], depth=sizes["depth"])
    keys = jax.random.split(as_key(key), n_layers + 1)
    stack = Repeat([layer(keys[index], index) for index in range(n_layers)])
    return vector_flow(
        [conditional(stack, context_dim, keys[-1], network or functools.partial(MLP, **sizes))], whiten, base
    )
