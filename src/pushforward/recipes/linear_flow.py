"""The linear flow: the base under one affine map, a Gaussian by default."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    PLU,
    Cayley,
    Chain,
    Dense,
    Diagonal,
    Householder,
    LowRank,
    MatrixExponential,
    Triangular,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_sizes
from pushforward.recipes.network_factory import NetworkFactory, check_has_network, network_arguments
from pushforward.recipes.vector_flow import conditional, vector_flow

LINEAR_KINDS: dict[str, Callable[[int, int, PRNGKeyArray], AbstractBijection]] = {
    "diagonal": lambda dim, rank, key: Diagonal(dim),
    "triangular": lambda dim, rank, key: Triangular(dim),
    "plu": lambda dim, rank, key: PLU(dim, key=key),
    "qr": lambda dim, rank, key: Chain([Triangular(dim, lower=False), Householder(dim, key=key)]),
    "orthogonal": lambda dim, rank, key: Chain([Diagonal(dim), Householder(dim, key=key)]),
    "cayley": lambda dim, rank, key: Chain([Diagonal(dim), Cayley(dim)]),
    "low_rank": lambda dim, rank, key: LowRank(dim, rank=rank, key=key),
    "matrix_exponential": lambda dim, rank, key: MatrixExponential(dim),
    "dense": lambda dim, rank, key: Dense(dim),
}


def linear_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    kind: str = "triangular",
    rank: int = 1,
    context_dim: int | None = None,
    whiten: bool | None = None,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Linear flow: x = A z + b. A base N(m, S) becomes N(A m + b, A S A^T): Gaussians are mapped to Gaussians.

    With a context, a network of it is added to the parameters of A and b.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        kind: parametrisation of A. "triangular": positive diagonal, every Gaussian. "plu": L U with a fixed
            permutation. "qr": a rotation after an upper triangular matrix. "orthogonal", "cayley": a rotation after a
            diagonal matrix (by reflections; by the Cayley transform). "low_rank": diagonal times identity plus rank r.
            "matrix_exponential": never singular. "diagonal": no correlation. "dense": no structure.
        rank: r of "low_rank".
        context_dim: length of the context, or None.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        width, depth, activation: of the context network.
        network: makes the network of the context instead: called as network(context_dim, out_shape, context_size=0,
            key=...), see `coupling_flow`.
        base: distribution of shape (dim,); standard normal by default.

    Returns:
        A flow of shape (dim,).

    Cost: O(D) for "diagonal", O(r D) for "low_rank", else O(D^2) a row in each direction; once a batch O(D^3) for
    "qr", "orthogonal", "cayley", "matrix_exponential" and "dense". Log-determinant O(D), zero for rotations, O(r^3) for
    "low_rank", O(D^3) for "dense".

    Raises:
        ValueError: if an argument is out of range.

    Reference: Kobyzev, Prince & Brubaker 2021, section 3.2; Papamakarios et al. 2021, section 3.2.

    Example:
        >>> import pushforward as pf
        >>> print(pf.linear_flow(dim=3, kind="plu", key=0).sample(4, key=1).shape)
        (4, 3)
    """
    network_arguments(linear_flow, locals())
    check_has_network(network, context_dim)
    check_sizes(context_dim, dim=dim, rank=rank, width=width, depth=depth)
    check_choice("kind", kind, tuple(LINEAR_KINDS))
    key_layer, key_network = (jax.random.fold_in(as_key(key), i) for i in range(2))
    layer = LINEAR_KINDS[kind](dim, rank, key_layer)
    make = network or functools.partial(MLP, width=width, depth=depth, activation=activation)
    layer = conditional(layer, context_dim, key_network, make)
    return vector_flow([layer], whiten, base)
