"""Gaussianization flows: maps of single coordinates, and rotations between them."""

import functools

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import Chain, Elementwise, Householder
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP
from pushforward.networks.activations import Activation
from pushforward.networks.initial_weights import normal
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.network_factory import NetworkFactory, check_has_network, network_arguments, repeated
from pushforward.recipes.vector_flow import conditional, density_transformer, vector_flow


def gaussianization_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "rational_quadratic",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 12,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Gaussianization flow: every layer rotates the data, then maps each coordinate by itself towards a normal.

        z = h(Q^T x; theta),   Q orthogonal, h element by element, theta and Q trained, in every layer

    A layer that made all marginals normal, whatever the rotation, would lower the divergence from the normal
    distribution at each step; here all layers are trained together by likelihood. No network couples the coordinates,
    so a layer has few parameters; a context, through networks, shifts theta. Rotations start at random.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection. "rational_quadratic" is
            the spline of `nsf`; "mixture_gaussian" maps the distribution function of a mixture of normals to a normal,
            as in the sources, and samples by a root search.
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of layers.
        width, depth, activation: of the context networks.
        network: makes the network of the context of each layer instead: called as network(context_dim, out_shape,
            context_size=0, key=...), see `coupling_flow`.
        base: distribution of shape (dim,); standard normal by default.

    Returns:
        A flow of shape (dim,).

    Cost: O(D^2) a row for the rotation, after O(D^3) once a batch, and D evaluations of h, in each direction and layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Chen & Gopinath 2000, section 3; Meng, Song, Song & Ermon 2020, section 3. Deviation: splines by default,
    whose inverse has a formula.

    Example:
        >>> import pushforward as pf
        >>> print(pf.gaussianization_flow(dim=3, key=0).sample(4, key=1).shape)
        (4, 3)
    """
    network_arguments(gaussianization_flow, locals())
    check_has_network(network, context_dim)
    check_sizes(context_dim, dim=dim, n_layers=n_layers, width=width, depth=depth)
    transformer = density_transformer(transformer)
    make = network or functools.partial(MLP, width=width, depth=depth, activation=activation)
    layers: list[AbstractBijection] = []
    for index in range(n_layers):
        key_network, key_rotation = jax.random.split(jax.random.fold_in(as_key(key), index))
        layer = conditional(Elementwise(transformer, (dim,)), context_dim, key_network, make)
        layers.append(layer if dim == 1 else Chain([layer, _random_rotation(dim, key_rotation)]))
    return vector_flow([repeated(layers, network)], whiten, base, transformer)


def _random_rotation(dim: int, key: PRNGKeyArray) -> Householder:
    """D reflections in random directions; those of a new `Householder` cancel in pairs."""
    return eqx.tree_at(lambda layer: layer.vectors, Householder(dim, dim, key=key), normal(key, (dim, dim), 1.0))
