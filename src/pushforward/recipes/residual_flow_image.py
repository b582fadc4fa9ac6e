"""Residual flows on images."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import AbstractLogDet, ActivationNormalisation, Chain, Contractive, Inverse, Repeat
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import LipschitzConvNet
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.image_flow import Shape, image_flow


def residual_flow_image(
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
    lipschitz: float = 0.98,
    activation: str = "lipswish",
    log_det: AbstractLogDet | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Residual flow on images: each block is z = x + g(x; c), g convolutions with a Lipschitz constant below one.

    `log_prob` is deterministic, but above 64 elements its log-determinants are unbiased estimates:
    `log_prob_with_error` returns the standard error.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, base: as for `glow`.
        n_layers: blocks of each scale, each followed by activation normalisation.
        width: channels of the hidden layers.
        depth: hidden layers of a block.
        lipschitz: bound L of each block, in (0, 1).
        activation: "lipswish", "elu", "softplus" or "tanh".
        log_det: estimator in training; by default exact for up to 8 elements, `RussianRoulette()` above.

    Returns:
        A flow of shape (H, W, C).

    Cost: log_prob one pass of every network and some ten products with its Jacobian; sample 5 to 40 passes.

    Raises:
        ValueError: if an argument is out of range or the sides cannot be halved so often.

    Reference: Chen, Behrmann, Duvenaud & Jacobsen 2019. Deviation: half of the channels are factored out
    after each scale.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.residual_flow_image((4, 4, 1), n_scales=1, n_layers=1, width=4, key=0)
        >>> print(flow.shape)
        (4, 4, 1)
    """
    check_sizes(context_dim, n_layers=n_layers, width=width, depth=depth)

    def layers(shape: Shape, key: PRNGKeyArray, scale: int) -> AbstractBijection:
        blocks = []
        for index, block_key in enumerate(jax.random.split(key, n_layers), start=scale * n_layers):
            network = LipschitzConvNet(
                shape, width=width, depth=depth, lipschitz=lipschitz, context_size=context_dim or 0,
                activation=activation, key=block_key,
            )  # fmt: skip
            block = Inverse(Contractive(network, training=log_det, seed=index))
            blocks.append(Chain([block, ActivationNormalisation(shape)]))
        return Repeat(blocks)

    return image_flow(
        shape, layers, key=key, levels=levels, transform=transform, alpha=alpha, n_scales=n_scales, base=base
    )
