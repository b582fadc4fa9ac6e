"""Flows of monotone networks: as transformers of coupling or autoregressive layers, or as whole layers."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import BlockAutoregressive, MonotoneIntegral, Repeat, Sigmoidal
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow, order_of
from pushforward.recipes.checks import check_sizes, without
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.network_factory import NetworkFactory
from pushforward.recipes.vector_flow import vector_flow


def naf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 6,
    width: int = 64,
    depth: int = 2,
    n_units: int = 8,
    n_sigmoid_layers: int = 1,
    activation: Activation = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural flow with coupling layers: monotone networks map one half, with parameters from the other half.

        z^A = logit(w sigmoid(a x^A + b)), w, a, b = theta(x^B, context),   z^B = x^B,   in every layer

    `naf_ar` is the autoregressive version, as in the source.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_units: sigmoids in a layer of the scalar network.
        n_sigmoid_layers: 1 for deep sigmoidal transformers (DSF), 2 or more for dense ones (DDSF).
        context_dim, whiten, n_layers, width, depth, activation, residual, dropout, mixing, network, start_at_identity,
            base: as for `coupling_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions; log_prob O(n_units) a coordinate (its square where dense),
    sample that for each step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Huang, Krueger, Lacoste & Courville 2018, section 3, in coupling layers.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.naf(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    arguments = without(locals(), "n_units", "n_sigmoid_layers")
    return coupling_flow(**arguments, transformer=Sigmoidal(n_units, n_sigmoid_layers))


def naf_ar(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    n_units: int = 8,
    n_sigmoid_layers: int = 1,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural autoregressive flow: z_i = logit(w sigmoid(a x_i + b)), w, a, b functions of x of lower rank.

    One layer with enough units is a universal approximator of densities.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_units: sigmoids in a layer of the scalar network.
        n_sigmoid_layers: 1 for deep sigmoidal transformers (DSF), 2 or more for dense ones (DDSF).
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network and O(n_units) a coordinate (its square where dense); sample
    sequential, with the root solver at every coordinate.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Huang, Krueger, Lacoste & Courville 2018.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.naf_ar(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    arguments = without(locals(), "n_units", "n_sigmoid_layers")
    return autoregressive_flow(**arguments, transformer=Sigmoidal(n_units, n_sigmoid_layers))


def umnn_maf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    n_embedded: int = 8,
    n_points: int = 32,
    bound: float = 4.0,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Unconstrained monotone flow: z_i = shift + int_0^(x_i) g(t; e) dt, g > 0, shift and e functions of lower ranks.

    All coordinates of a layer share the positive network g; the masked network emits shift and e of each.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_embedded: size of e.
        n_points: of the quadrature rule.
        bound: half-width of the box in standardised units; outside it a layer is linear in x_i.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every masked network and n_points of the positive one a coordinate; sample
    sequential, with the root solver at every coordinate.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Wehenkel & Louppe 2019.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.umnn_maf(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    arguments = without(locals(), "n_embedded", "n_points", "bound")
    return autoregressive_flow(**arguments, transformer=MonotoneIntegral(n_embedded, n_points=n_points, bound=bound))


def bnaf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 1,
    n_units: int = 8,
    depth: int = 2,
    order: Order = "reverse",
    base: AbstractDistribution | None = None,
) -> Flow:
    """Block neural autoregressive flow: each layer is one monotone triangular network, z = f(x; context).

    Density in one pass. The layer has no closed inverse: sampling solves for one coordinate after the other.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_layers: number of networks; a single one is a universal approximator.
        n_units: hidden units of each coordinate.
        depth: hidden layers of each network.
        context_dim, whiten, order, base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network of D n_units units; sample D such passes and D root searches.

    Raises:
        ValueError: if an argument is out of range.

    Reference: De Cao, Titov & Aziz 2019. Deviation: the activation is unbounded, so that the density integrates to one.

    Example:
        >>> import pushforward as pf
        >>> print(pf.bnaf(dim=2, key=0).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    check_sizes(context_dim, dim=dim, n_layers=n_layers, n_units=n_units, depth=depth)
    layers = [
        BlockAutoregressive(
            dim, n_units=n_units, depth=depth, order=order_of(order, dim, index), context_dim=context_dim,
            key=jax.random.fold_in(as_key(key), index),
        )
        for index in range(n_layers)
    ]  # fmt: skip
    return vector_flow([Repeat(layers)], whiten, base)
