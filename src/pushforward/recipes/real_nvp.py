"""RealNVP and NICE: affine and additive couplings of vectors and images."""

import functools

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import ActivationNormalisation, Affine, Chain, Elementwise
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import ConvNet
from pushforward.networks.activations import Activation
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.coupling_flow import coupling_flow
from pushforward.recipes.image_flow import Layers, Shape, image_coupling, image_flow
from pushforward.recipes.network_factory import NetworkFactory, callers_factory, network_arguments, repeated
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
    activation: Activation = "relu",
    mixing: str = "permutation",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """RealNVP on vectors: affine couplings, x^A = z^A exp(s(z^B, context)) + t(z^B, context), x^B = z^B.

    The log-scale s is softly bounded to +-5 on both sides, so no layer can become singular.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: another one instead of the affine one.
        context_dim, whiten, n_layers, width, depth, activation, mixing, network, start_at_identity, base: as for
            `coupling_flow`.

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
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """NICE: additive couplings, x^A = z^A + t(z^B, context), x^B = z^B, after one diagonal scaling of the latent.

    Every coupling preserves volume; the scaling alone changes it.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        context_dim, whiten, n_layers, width, depth, activation, network, start_at_identity, base: as for
            `coupling_flow`.

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


def real_nvp_image(
    shape: tuple[int, ...],
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    levels: int | None = None,
    transform: str = "logit",
    alpha: float = 0.05,
    n_scales: int = 2,
    n_layers: int = 2,
    width: int = 64,
    depth: int = 2,
    transformer: str | AbstractBijection = "affine",
    activation: Activation = "relu",
    recompute: bool = False,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """RealNVP on images: x^A = z^A exp(s(z^B)) + t(z^B), A in turn each half of a checkerboard, then of the channels.

    At each scale n_layers pairs of couplings on checkerboards, a squeeze, and as many pairs on halves of the channels;
    then half of the channels are factored out. Activation normalisation follows each pair.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, width, depth, transformer, activation, recompute,
            network, start_at_identity, base: as for `glow`.
        n_layers: pairs of couplings of each of the two kinds at each scale.

    Returns:
        A flow of shape (H, W, C).

    Cost: one pass of every network in both directions; those of checkerboards have four times as many pixels.

    Raises:
        ValueError: if an argument is out of range or the sides cannot be halved so often.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, sections 3.4 to 3.7. Deviations: activation normalisation
        instead of batch normalisation, small networks without skips, the last scale like the others.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.real_nvp_image((4, 4, 1), n_scales=1, n_layers=1, width=8, key=0)
        >>> print(flow.shape)
        (4, 4, 1)
    """
    network_arguments(real_nvp_image, locals())
    network = callers_factory(network, start_at_identity)
    check_sizes(context_dim, n_layers=n_layers, width=width, depth=depth)
    make = network or functools.partial(ConvNet, width=width, depth=depth, activation=activation)

    def pair(shape: Shape, key: PRNGKeyArray, partition: str) -> AbstractBijection:
        couplings = [
            image_coupling(shape, transformer, context_dim, make, coupling_key, partition, bool(index))
            for index, coupling_key in enumerate(jax.random.split(key))
        ]
        return Chain([*couplings, ActivationNormalisation(shape)])

    def pairs(partition: str) -> Layers:
        return lambda shape, key, scale: repeated(
            [pair(shape, pair_key, partition) for pair_key in jax.random.split(key, n_layers)], network,
            recompute=recompute,
        )  # fmt: skip

    return image_flow(
        shape, pairs("channels"), pairs("checkerboard"), key=key, levels=levels, transform=transform, alpha=alpha,
        n_scales=n_scales, base=base,
    )  # fmt: skip
