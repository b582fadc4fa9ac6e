"""Neural autoregressive flows: sigmoidal networks as transformers, in coupling or autoregressive layers."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Sigmoidal
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow
from pushforward.recipes.checks import without
from pushforward.recipes.coupling_flow import coupling_flow


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
    activation: str = "relu",
    residual: bool = False,
    dropout: float = 0.0,
    mixing: str = "permutation",
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
        context_dim, whiten, n_layers, width, depth, activation, residual, dropout, mixing, base: as for
            `coupling_flow`.

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
    activation: str = "relu",
    residual: bool = False,
    order: Order = "reverse",
    method: str | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Neural autoregressive flow: z_i = logit(w sigmoid(a x_i + b)), w, a, b functions of x of lower rank.

    One layer with enough units is a universal approximator of densities.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_units: sigmoids in a layer of the scalar network.
        n_sigmoid_layers: 1 for deep sigmoidal transformers (DSF), 2 or more for dense ones (DDSF).
        context_dim, whiten, n_layers, width, depth, activation, residual, order, method, base: as for
            `autoregressive_flow`.

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
