"""The neural spline flow, coupling version."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Inverse, RationalQuadraticSpline
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.coupling_flow import coupling_flow


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
    activation: str = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
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
        context_dim, whiten, n_layers, width, depth, activation, residual, dropout, mixing, base: as for
            `coupling_flow`.

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
    return coupling_flow(
        dim, key=key, transformer=Inverse(RationalQuadraticSpline(n_bins, bound=bound)), context_dim=context_dim,
        n_layers=n_layers, width=width, depth=depth, activation=activation, residual=residual, dropout=dropout,
        mixing=mixing, base=base, whiten=whiten,
    )  # fmt: skip
