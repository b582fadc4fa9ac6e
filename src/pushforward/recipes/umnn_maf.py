"""The unconstrained monotone autoregressive flow."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import MonotoneIntegral
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow
from pushforward.recipes.checks import without


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
    activation: str = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
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
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, base: as for
            `autoregressive_flow`.

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
