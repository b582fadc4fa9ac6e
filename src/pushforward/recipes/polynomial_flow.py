"""Flows with polynomial transformers: sums of squares and Bernstein polynomials."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Bernstein, SumOfSquares
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow
from pushforward.recipes.checks import without
from pushforward.recipes.network_factory import NetworkFactory


def sos_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    degree: int = 4,
    n_squares: int = 2,
    bound: float = 3.0,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Sum-of-squares flow: z_i = shift + int_0^(x_i) sum_s p_s(t)^2 dt, polynomials p_s functions of x of lower rank.

    A universal approximator with one layer of high degree; a few layers of low degree train better.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        degree: of each squared polynomial.
        n_squares: number of squares.
        bound: half-width of the box in standardised units; outside it a layer is linear in x_i.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network and O(n_squares degree^2) a coordinate; sample sequential, with the
    root solver at every coordinate.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Jaini, Selby & Yu 2019.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.sos_flow(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    arguments = without(locals(), "degree", "n_squares", "bound")
    return autoregressive_flow(**arguments, transformer=SumOfSquares(degree, n_squares=n_squares, bound=bound))


def bernstein_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    degree: int = 12,
    bound: float = 4.0,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Bernstein flow: z_i = sum_k alpha_k b_k(x_i), increasing alpha that depend on the coordinates of lower rank.

    The slope is a sum of positive terms, which makes the transformer robust to rounding and noise.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        degree: of the polynomial.
        bound: half-width of the box in standardised units; outside it a layer is linear in x_i.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network and O(degree) a coordinate; sample sequential, with the root solver at
    every coordinate.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Ramasinghe, Fernando, Khan & Barnes 2021.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.bernstein_flow(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    return autoregressive_flow(**without(locals(), "degree", "bound"), transformer=Bernstein(degree, bound=bound))
