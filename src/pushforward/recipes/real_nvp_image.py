"""RealNVP on images."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import ActivationNormalisation, Chain, Repeat
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.image_flow import Layers, Shape, image_coupling, image_flow


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
    activation: str = "relu",
    recompute: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """RealNVP on images: x^A = z^A exp(s(z^B)) + t(z^B), A in turn each half of a checkerboard, then of the channels.

    At each scale n_layers pairs of couplings on checkerboards, a squeeze, and as many pairs on halves of the channels;
    then half of the channels are factored out. Activation normalisation follows each pair.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, width, depth, transformer, activation, recompute,
            base: as for `glow`.
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
    check_sizes(context_dim, n_layers=n_layers, width=width, depth=depth)

    def pair(shape: Shape, key: PRNGKeyArray, partition: str) -> AbstractBijection:
        couplings = [
            image_coupling(
                shape, transformer, context_dim, partition, bool(index), key=coupling_key, width=width, depth=depth,
                activation=activation,
            )
            for index, coupling_key in enumerate(jax.random.split(key))
        ]  # fmt: skip
        return Chain([*couplings, ActivationNormalisation(shape)])

    def pairs(partition: str) -> Layers:
        return lambda shape, key, scale: Repeat(
            [pair(shape, pair_key, partition) for pair_key in jax.random.split(key, n_layers)], recompute=recompute
        )

    return image_flow(
        shape, pairs("channels"), pairs("checkerboard"), key=key, levels=levels, transform=transform, alpha=alpha,
        n_scales=n_scales, base=base,
    )  # fmt: skip
