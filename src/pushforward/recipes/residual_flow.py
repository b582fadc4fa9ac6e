"""Residual flows of vectors and images: stacks of blocks x + g(x) with a contraction g."""

import functools
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    AbstractLogDet,
    ActivationNormalisation,
    Affine,
    Chain,
    Contractive,
    Elementwise,
    Exact,
    Inverse,
    PowerSeries,
    RussianRoulette,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.errors import ShapeError
from pushforward.networks import AbstractLipschitzNetwork, LipschitzConvNet, LipschitzMLP
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_count, check_sizes, without
from pushforward.recipes.image_flow import Shape, image_flow
from pushforward.recipes.network_factory import NetworkFactory, network_arguments, repeated
from pushforward.recipes.vector_flow import vector_flow

_EXACT = 8  # coordinates up to which the exact determinant trains faster than an estimate of it


def residual_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 10,
    width: int = 128,
    depth: int = 2,
    lipschitz: float = 0.98,
    activation: str = "lipswish",
    log_det: AbstractLogDet | None = None,
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Residual flow: each block is z = x + g(x; c), g a perceptron with a Lipschitz constant below one.

    There are no masks and no special coordinates: only the norms of the weights are bounded. The log-determinant is
    computed from the Jacobian where that is cheap, else by an unbiased estimate. `log_prob` of a flow is nevertheless
    deterministic, and `log_prob_with_error` returns the standard error.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        context_dim: length of the context, or None. It enters every hidden layer, without a bound on its effect.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of blocks K, each followed by a scale and a shift.
        width: units of each hidden layer.
        depth: number of hidden layers of a block.
        lipschitz: bound L of each block, in (0, 1). A block changes distances by factors from 1 - L to 1 + L.
        activation: "lipswish", "elu", "softplus" or "tanh".
        log_det: estimator in training; by default `Exact()` for up to 8 coordinates, `RussianRoulette()` above.
            Evaluation is exact for up to 64 coordinates and by Russian roulette above.
        network: makes each g instead, which width, depth, lipschitz and activation describe: called as network(in_size,
            out_shape, context_size=..., key=...) with out_shape = (in_size,), returns an `AbstractLipschitzNetwork`.
        base: distribution of shape (dim,); standard normal by default.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob K passes of a network, and D more for an exact determinant; sample 5 to 40 passes for each block.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Chen, Behrmann, Duvenaud & Jacobsen 2019. Deviation: exact determinants in few dimensions, continuation
        tied to L, accelerated inverse.

    Example:
        >>> import pushforward as pf
        >>> print(pf.residual_flow(dim=2, n_layers=2, width=8, key=0).sample(4, key=1).shape)
        (4, 2)
    """
    network_arguments(residual_flow, locals())
    check_sizes(context_dim, dim=dim, n_layers=n_layers, width=width, depth=depth)
    training = log_det or (Exact() if dim <= _EXACT else RussianRoulette())
    make = network or functools.partial(
        LipschitzMLP, width=width, depth=depth, lipschitz=lipschitz, activation=activation
    )
    layers = []
    for index, layer_key in enumerate(jax.random.split(as_key(key), n_layers)):
        g = _checked(make(dim, (dim,), context_size=context_dim or 0, key=layer_key), (dim,))
        # inverted, so that the density needs no root solver
        block = Inverse(Contractive(g, training=training, seed=index))
        layers.append(Chain([block, Elementwise(Affine(), (dim,))]))
    return vector_flow([repeated(layers, network)], whiten, base)


def i_resnet(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 10,
    width: int = 128,
    depth: int = 2,
    lipschitz: float = 0.9,
    activation: str = "elu",
    n_terms: int = 10,
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Invertible residual network: as `residual_flow`, trained on the first terms of the power series.

    The truncated series is biased by at most D L^(n+1) / ((n + 1) (1 - L)) a block, and training may exploit the bias;
    `log_prob` does not have it. Up to 8 coordinates the exact determinant is cheaper, and is used.

    Args:
        dim, key, context_dim, whiten, n_layers, width, depth, lipschitz, activation, network, base: as for
            `residual_flow`.
        n_terms: terms of the series n in training.

    Returns:
        A flow of shape (dim,).

    Cost: as `residual_flow`; training takes n_terms products with the Jacobian for each block.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019. Deviation: exact determinants in few dimensions and
        in evaluation.

    Example:
        >>> import pushforward as pf
        >>> print(pf.i_resnet(dim=2, n_layers=2, width=8, key=0).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    check_count(n_terms=n_terms)
    arguments = network_arguments(i_resnet, without(locals(), "n_terms"))
    return residual_flow(**arguments, log_det=Exact() if dim <= _EXACT else PowerSeries(n_terms))


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
    network: NetworkFactory | None = None,
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
        network: as for `residual_flow`, called with the shape (H, W, C) instead of in_size, and as out_shape.

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
    network_arguments(residual_flow_image, locals())
    check_sizes(context_dim, n_layers=n_layers, width=width, depth=depth)
    make = network or functools.partial(
        LipschitzConvNet, width=width, depth=depth, lipschitz=lipschitz, activation=activation
    )

    def layers(shape: Shape, key: PRNGKeyArray, scale: int) -> AbstractBijection:
        blocks = []
        for index, block_key in enumerate(jax.random.split(key, n_layers), start=scale * n_layers):
            g = _checked(make(shape, shape, context_size=context_dim or 0, key=block_key), shape)
            block = Inverse(Contractive(g, training=log_det, seed=index))
            blocks.append(Chain([block, ActivationNormalisation(shape)]))
        return repeated(blocks, network)

    return image_flow(
        shape, layers, key=key, levels=levels, transform=transform, alpha=alpha, n_scales=n_scales, base=base
    )


def _checked(network: Any, shape: tuple[int, ...]) -> AbstractLipschitzNetwork:
    """The network if it states a Lipschitz bound and has the shape of x, else an error."""
    if not isinstance(network, AbstractLipschitzNetwork):
        raise ValueError(
            "network: expected one that makes an AbstractLipschitzNetwork, such as LipschitzMLP, because x + g(x) has "
            f"an inverse only if g is a contraction; got a {type(network).__name__}."
        )
    if network.shape != shape:
        raise ShapeError(f"network: expected one of shape {shape}, got {network.shape}.")
    return network
