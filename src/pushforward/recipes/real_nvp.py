"""RealNVP and NICE on vectors: affine and additive couplings."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import Affine, Elementwise
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.vector_flow import with_inner_layer


def real_nvp(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "affine",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 8,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    mixing: str = "permutation",
    base: AbstractDistribution | None = None,
) -> Flow:
    """RealNVP on vectors: affine couplings, x^A = z^A exp(s(z^B, context)) + t(z^B, context), x^B = z^B.

    The log-scale s is softly bounded to +-5 on both sides, so no layer can become singular.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: another one instead of the affine one.
        context_dim, whiten, n_layers, width, depth, activation, mixing, base: as for `coupling_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017. Deviations: no batch normalisation; random partitions.

    Example:
        >>> import pushforward as pf
        >>> print(pf.real_nvp(dim=2, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return coupling_flow(**locals())


def nice(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 4,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    base: AbstractDistribution | None = None,
) -> Flow:
    """NICE: additive couplings, x^A = z^A + t(z^B, context), x^B = z^B, after one diagonal scaling of the latent.

    Every coupling preserves volume; the scaling alone changes it.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        context_dim, whiten, n_layers, width, depth, activation, base: as for `coupling_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: one pass of every conditioner in both directions.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Dinh, Krueger & Bengio 2015. Deviations: normal base by default; random partitions; start at identity.

    Example:
        >>> import pushforward as pf
        >>> print(pf.nice(dim=2, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    return with_inner_layer(Elementwise(Affine(), (dim,)), coupling_flow(**locals(), transformer="additive"))
