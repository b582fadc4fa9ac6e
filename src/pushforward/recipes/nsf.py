"""Neural spline flows: rational-quadratic splines in coupling or autoregressive layers."""

from jaxtyping import PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow
from pushforward.recipes.checks import without
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.network_factory import NetworkFactory
from pushforward.recipes.vector_flow import nsf_spline


def nsf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 6,
    width: int = 64,
    depth: int = 2,
    n_bins: int = 8,
    bound: float = 4.0,
    activation: Activation = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural spline flow (coupling): monotone rational-quadratic splines map one half, conditional on the other.

        z^A = spline(x^A; theta(x^B, context)),   z^B = x^B,   in every layer

    The default choice for tables: flexible, and equally fast in both directions. The forward direction of the spline,
    which is the cheaper one, maps data to base: log_prob and training by likelihood use it.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_bins: bins of each spline.
        bound: half-width of the spline's box in standardised units; outside it a layer is the identity.
        context_dim, whiten, n_layers, width, depth, activation, residual, dropout, mixing, network, start_at_identity,
            base: as for `coupling_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions, and O(n_bins) per transformed coordinate.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Durkan, Bekasov, Murray & Papamakarios 2019. Deviations: plain conditioners and permutations by default
    (`residual=True, mixing="lu"` for theirs); no splines on the conditioning half.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.nsf(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    return coupling_flow(**without(locals(), "n_bins", "bound"), transformer=nsf_spline(n_bins, bound))


def nsf_ar(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    n_bins: int = 8,
    bound: float = 4.0,
    activation: Activation = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural spline flow (autoregressive): z_i = spline(x_i; theta_i(x of lower rank, context)) in every layer.

    Often the best likelihood of its size; density in one pass, sampling sequential.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_bins: bins of each spline.
        bound: half-width of the spline's box in standardised units; outside it a layer is the identity.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, network, start_at_identity,
            base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network and O(n_bins) a coordinate; sample about that, in D short steps a layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Durkan, Bekasov, Murray & Papamakarios 2019, section 3.3 (autoregressive).

    Example:
        >>> import pushforward as pf
        >>> print(pf.nsf_ar(dim=2, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return autoregressive_flow(**without(locals(), "n_bins", "bound"), transformer=nsf_spline(n_bins, bound))
