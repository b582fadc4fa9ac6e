"""Glow with emerging convolutions."""

from jaxtyping import PRNGKeyArray

from pushforward.bijections import PLU, Chain, EmergingConvolution, Inverse, OneByOne
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.recipes.glow import glow_of
from pushforward.recipes.image_flow import Shape


def emerging_glow(
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
    mask: str = "raster",
    transformer: str | AbstractBijection = "affine",
    activation: str = "relu",
    recompute: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Glow with emerging convolutions: W x becomes z = k2 * (k1 * (W x)), masked kernels of opposite orders.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
            recompute, base: as for `glow`.
        kernel_size: odd side of the convolutions.
        mask: "raster" or "quadrant", the input pixels of each of the two.

    Returns:
        A flow of shape (H, W, C).

    Cost: log_prob one pass of every network and convolution; sample solves a triangular system for each convolution.

    Raises:
        ValueError: if an argument is out of range or the sides cannot be halved so often.

    Reference: Hoogeboom, van den Berg & Welling 2019, section 3.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.emerging_glow((4, 4, 1), n_scales=1, n_layers=2, width=8, key=0)
        >>> print(flow.shape)
        (4, 4, 1)
    """

    def mix(shape: Shape, key: PRNGKeyArray) -> AbstractBijection:
        # inverse: the density, and so training, needs only products
        channels = Inverse(OneByOne(PLU(shape[2], key=key), shape))
        return Chain([EmergingConvolution(shape, kernel_size=kernel_size, mask=mask), channels])

    return glow_of(
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
        recompute, base, mix,
    )  # fmt: skip
