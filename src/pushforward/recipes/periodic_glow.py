"""Glow with periodic convolutions."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import PeriodicConvolution
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.glow import glow_of
from pushforward.recipes.image_flow import Shape


def periodic_glow(
    shape: tuple[int, ...],
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    levels: int | None = None,
    transform: str = "logit",
    alpha: float = 0.05,
    n_scales: int = 2,
    n_layers: int = 4,
    width: int = 64,
    depth: int = 2,
    kernel_size: int = 3,
    transformer: str | AbstractBijection = "affine",
    activation: str = "relu",
    recompute: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Glow with periodic convolutions: W x becomes z = x + k * x on the torus, diagonal in the Fourier domain.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
            recompute, base: as for `glow`.
        kernel_size: odd side of the convolutions.

    Returns:
        A flow of shape (H, W, C).

    Cost: one pass of every network in both directions, and the Fourier transforms of the image.

    Raises:
        ValueError: if an argument is out of range or the sides cannot be halved so often.

    Reference: Hoogeboom, van den Berg & Welling 2019, section 4.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.periodic_glow((4, 4, 1), n_scales=1, n_layers=2, width=8, key=0)
        >>> print(flow.shape)
        (4, 4, 1)
    """

    def mix(shape: Shape, key: PRNGKeyArray) -> AbstractBijection:
        return PeriodicConvolution(shape, kernel_size=kernel_size, key=key)

    return glow_of(
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
        recompute, base, mix,
    )  # fmt: skip
