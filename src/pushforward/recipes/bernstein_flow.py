"""The Bernstein polynomial flow."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Bernstein
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow


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
    activation: str = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Bernstein flow: z_i = sum_k alpha_k b_k(x_i), increasing alpha that depend on the coordinates of lower rank.

    The slope is a sum of positive terms, which makes the transformer robust to rounding and noise.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        degree: of the polynomial.
        bound: half-width of the box in standardised units; outside it a layer is linear in x_i.
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, base: as for
            `autoregressive_flow`.

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
    return autoregressive_flow(
        dim, key=key, transformer=Bernstein(degree, bound=bound), context_dim=context_dim, n_layers=n_layers,
        width=width, depth=depth, activation=activation, residual=residual, order=order, method=method, base=base,
        whiten=whiten,
    )  # fmt: skip
