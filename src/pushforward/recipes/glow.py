"""Glow, and its variants with convolutions that mix pixels too."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    PLU,
    ActivationNormalisation,
    Chain,
    EmergingConvolution,
    Inverse,
    OneByOne,
    PeriodicConvolution,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import ConvNet
from pushforward.networks.activations import Activation
from pushforward.recipes.checks import check_sizes, without
from pushforward.recipes.image_flow import Shape, image_coupling, image_flow
from pushforward.recipes.network_factory import NetworkFactory, callers_factory, network_arguments, repeated


def glow(
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
    transformer: str | AbstractBijection = "affine",
    activation: Activation = "relu",
    recompute: bool = False,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Glow: at every scale n_layers times z = coupling^-1(W actnorm^-1(x)), W a matrix over the channels.

    A scale halves the sides, squeezes blocks of four pixels into channels, applies its layers, and factors out half of
    the channels. `fit` initialises activation normalisation from the data.

    Args:
        shape: (H, W, C); both sides must be divisible by 2^n_scales.
        key: a JAX key or an int.
        context_dim: length of the context, or None; it shifts every hidden layer of the networks.
        levels: None if the data are real numbers: `fit` standardises every element. A number L, such as 256, if they
            are integers from 0 to L - 1 plus dequantisation noise, so that they lie in [0, L): see `Dequantised`.
        transform: map from [0, L) to the real line: "logit", x = L (sigmoid(y) - alpha) / (1 - 2 alpha), or "affine",
            x = L (y + 1/2).
        alpha: margin of the logit at the edges, from 1e-7 to below 0.5; 0.05 is usual for photographs, 1e-6 for black
            and white digits.
        n_scales: number of scales.
        n_layers: layers of each scale.
        width: channels of the hidden layers of the networks.
        depth: hidden layers of a network; the first and the last kernel are 3 x 3, those between 1 x 1.
        transformer: of the couplings, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection.
        activation: a name in `pushforward.networks.ACTIVATIONS`, an element-wise function, or a module.
        network: makes the network of each coupling instead of the default ones, which width, depth and activation
            describe: called as network(in_shape, out_shape, context_size=..., key=...) with (H, W, C) shapes, as
            `functools.partial(pf.networks.ConvNet, width=128)` is.
        start_at_identity: as for `coupling_flow`.
        recompute: whether training recomputes the input of each layer from its output instead of storing it: memory
            does not grow with n_layers, for up to twice the time.
        base: distribution of the image's shape; standard normal by default.

    Returns:
        A flow of shape (H, W, C).

    Cost: one pass of every network in both directions.

    Raises:
        ValueError: if an argument is out of range or the sides cannot be halved so often.

    Reference: Kingma & Dhariwal 2018. Deviations: smaller networks without normalisation; the base of the
        factored-out channels does not depend on the others; scales are bounded.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.glow((4, 4, 1), n_scales=1, n_layers=2, width=8, key=0)
        >>> print(flow.shape)
        (4, 4, 1)
    """
    return _flow(_one_by_one, **locals())


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
    activation: Activation = "relu",
    recompute: bool = False,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Glow with emerging convolutions: W x becomes z = k2 * (k1 * (W x)), masked kernels of opposite orders.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
            recompute, network, start_at_identity, base: as for `glow`.
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
        return Chain([EmergingConvolution(shape, kernel_size=kernel_size, mask=mask), _one_by_one(shape, key)])

    return _flow(**without(locals(), "kernel_size", "mask"))


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
    activation: Activation = "relu",
    recompute: bool = False,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Glow with periodic convolutions: W x becomes z = x + k * x on the torus, diagonal in the Fourier domain.

    Args:
        shape, key, context_dim, levels, transform, alpha, n_scales, n_layers, width, depth, transformer, activation,
            recompute, network, start_at_identity, base: as for `glow`.
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

    return _flow(**without(locals(), "kernel_size"))


def _one_by_one(shape: Shape, key: PRNGKeyArray) -> AbstractBijection:
    return Inverse(OneByOne(PLU(shape[2], key=key), shape))  # the density, and so training, needs only products


def _flow(
    mix: Callable[[Shape, PRNGKeyArray], AbstractBijection], shape: tuple[int, ...], *, context_dim: int | None,
    n_layers: int, width: int, depth: int, transformer: str | AbstractBijection, activation: Activation,
    recompute: bool, network: NetworkFactory | None, start_at_identity: bool, **image: Any,
) -> Flow:  # fmt: skip
    """Glow with any bijection `mix` instead of the 1 x 1 convolution; `image` has arguments of `image_flow`."""
    network_arguments(glow, {"width": width, "depth": depth, "activation": activation, "network": network})
    network = callers_factory(network, start_at_identity)
    check_sizes(context_dim, n_layers=n_layers, width=width, depth=depth)
    make = network or functools.partial(ConvNet, width=width, depth=depth, activation=activation)

    def layer(shape: Shape, key: PRNGKeyArray) -> AbstractBijection:
        key_coupling, key_mix = jax.random.split(key)
        coupling = image_coupling(shape, transformer, context_dim, make, key_coupling)
        return Chain([coupling, mix(shape, key_mix), ActivationNormalisation(shape)])

    def layers(shape: Shape, key: PRNGKeyArray, scale: int) -> AbstractBijection:
        built = [layer(shape, layer_key) for layer_key in jax.random.split(key, n_layers)]
        return repeated(built, network, recompute=recompute)

    return image_flow(shape, layers, **image)
