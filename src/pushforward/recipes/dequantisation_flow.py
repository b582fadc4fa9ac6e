"""The noise of variational dequantisation: a small flow on the unit cube, conditional on the image."""

import functools

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bases import Normal
from pushforward.bijections import Chain, ImageCoupling, PixelSigmoid, n_parameters, transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import ConvNet
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_count
from pushforward.recipes.image_flow import check_shape
from pushforward.recipes.network_factory import NetworkFactory, network_arguments, repeated


def dequantisation_flow(
    shape: tuple[int, ...],
    *,
    levels: int,
    key: PRNGKeyArray | int,
    n_layers: int = 2,
    width: int = 32,
    depth: int = 2,
    n_features: int = 8,
    transformer: str | AbstractBijection = "affine",
    network: NetworkFactory | None = None,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Noise for `Dequantised`: u = sigmoid(T(z; e(x))), z nearly logistic, T couplings on checkerboards.

    A network e of the image gives features for each pixel, an input of every coupling. The initial noise is close to
    uniform: before the sigmoid it is normal, with the variance of a logistic distribution.

    Args:
        shape: (H, W, C), of at least two pixels.
        levels: number of levels of the image; they define its standardisation.
        key: a JAX key or an int.
        n_layers: pairs of couplings.
        width: channels of the hidden layers of all networks.
        depth: hidden layers of a network.
        n_features: channels of e.
        transformer: of the couplings, a name or a scalar bijection.
        network: makes all networks instead, which width and depth describe: called as network(in_shape, out_shape,
            context_size=..., key=...) with (H, W, C) shapes. Those of the couplings get the features as context, an
            image too, and context_size is its channels.
        base: distribution of the image's shape; normal with the variance of a standard logistic by default.

    Returns:
        A conditional flow of shape (H, W, C) given a context of that shape.

    Cost: a pass of every network, at the full number of pixels.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Ho, Chen, Srinivas, Duan & Abbeel 2019, section 3.1. Deviation: affine couplings and no attention.

    Example:
        >>> import pushforward as pf
        >>> noise = pf.dequantisation_flow((4, 4, 1), levels=17, width=4, key=0)
        >>> print(noise.shape, noise.context_shape)
        (4, 4, 1) (4, 4, 1)
    """
    height, columns, channels = check_shape(shape)
    network_arguments(dequantisation_flow, locals())
    check_count(n_layers=n_layers, width=width, depth=depth, n_features=n_features)
    if levels < 2:
        raise ValueError(f"levels: expected a whole number of at least 2, got {levels}.")
    scalar = transformer_named(transformer)
    key_features, *keys = jax.random.split(as_key(key), 2 * n_layers + 1)
    size = height, columns, channels

    def coupling(key: PRNGKeyArray, is_swapped: bool) -> AbstractBijection:
        out_shape = (height, columns, n_parameters(scalar) * channels)
        if network is None:
            conditioner = ConvNet(size, out_shape, width=width, depth=depth, context_channels=n_features, key=key)
        else:
            conditioner = network(size, out_shape, context_size=n_features, key=key)
        return ImageCoupling(
            scalar, conditioner, size, partition="checkerboard", is_swapped=is_swapped,
            context_shape=(height, columns, n_features),
        )  # fmt: skip

    pairs = [Chain([coupling(keys[2 * i], False), coupling(keys[2 * i + 1], True)]) for i in range(n_layers)]
    make = network or functools.partial(ConvNet, width=width, depth=depth)
    features = make(size, (height, columns, n_features), context_size=0, key=key_features)
    base = base or Normal(size, scale=np.pi / np.sqrt(3.0))
    bijection = Chain([repeated(pairs, network), PixelSigmoid(size, levels=1, alpha=0.0)])
    flow = Flow(base, bijection, embed=features, context_shape=size)
    moments = np.full(size, (levels - 1) / 2), np.full(size, levels / np.sqrt(12.0))
    return eqx.tree_at(lambda f: f.context_scaling, flow, replace_fn=lambda scaling: scaling.filled(*moments))
