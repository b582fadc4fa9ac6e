"""The neural spline flow, autoregressive version."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Inverse, RationalQuadraticSpline
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow


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
    activation: str = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural spline flow (autoregressive): z_i = spline(x_i; theta_i(x of lower rank, context)) in every layer.

    Often the best likelihood of its size; density in one pass, sampling sequential.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_bins: bins of each spline.
        bound: half-width of the spline's box in standardised units; outside it a layer is the identity.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, base: as for
            `autoregressive_flow`.

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
    return autoregressive_flow(
        dim, key=key, transformer=Inverse(RationalQuadraticSpline(n_bins, bound=bound)), context_dim=context_dim,
        n_layers=n_layers, width=width, depth=depth, activation=activation, residual=residual, order=order,
        method=method, base=base, whiten=whiten,
    )  # fmt: skip
