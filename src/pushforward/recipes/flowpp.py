"""Flow++ on vectors."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Affine, Chain, MixtureLogistic
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.recipes.checks import without
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.network_factory import NetworkFactory, network_arguments


def flowpp(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 6,
    width: int = 64,
    depth: int = 2,
    n_components: int = 8,
    activation: Activation = "relu",
    residual: bool = True,
    dropout: float = 0.0,
    mixing: str = "permutation",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Flow++ on vectors: each half is mapped by the distribution function of a mixture of logistics, then scaled.

        z^A = (logit(sum_k w_k sigmoid((x^A - mu_k) / s_k)) - b) / a,   z^B = x^B,   in every layer

    with a, b, w, mu, s outputs of a residual network of x^B and the context.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_components: K.
        context_dim, whiten, n_layers, width, depth, activation, residual, dropout, mixing, network, start_at_identity,
            base: as for `coupling_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions; log_prob O(n_components) a coordinate, sample that for each
    step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Ho, Chen, Srinivas, Duan & Abbeel 2019, section 3.2. Deviation: residual networks instead of attention
    over pixels.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.flowpp(dim=2, key=0)
        >>> print(flow.log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    transformer = Chain([Affine(), MixtureLogistic(n_components)])
    arguments = network_arguments(flowpp, without(locals(), "n_components", "transformer"))
    return coupling_flow(**arguments, transformer=transformer)
