"""The multi-scale architecture of all image flows; a recipe supplies the layers of a scale."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bases import Normal
from pushforward.bijections import (
    Chain,
    ImageCoupling,
    PixelSigmoid,
    SplitChannels,
    Squeeze,
    Standardise,
    n_parameters,
    transformer_named,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_count
from pushforward.recipes.network_factory import NetworkFactory

Shape = tuple[int, int, int]
Layers = Callable[[Shape, PRNGKeyArray, int], AbstractBijection]


def image_flow(
    shape: tuple[int, ...], layers: Layers, before: Layers | None = None, *, key: PRNGKeyArray | int, n_scales: int,
    levels: int | None, transform: str, alpha: float, base: AbstractDistribution | None,
) -> Flow:  # fmt: skip
    """A multi-scale flow: at each scale squeeze, apply layers, and factor out half of the channels.

    Args:
        shape: (H, W, C).
        layers: a function of the shape after squeezing, a key and the index of the scale; returns the layers there.
        before: the same for layers before squeezing, or None.
        key: split between the scales.
        n_scales: number of halvings of the sides.
        levels, transform, alpha, base: as for `glow`.
    """
    height, width, channels = check_shape(shape)
    check_count(n_scales=n_scales)
    n_halvings = _halvings(height, width)
    if n_scales > n_halvings:
        advice = f"pass n_scales={n_halvings}, or " if n_halvings else ""
        sides = " x ".join(str(-(-side // 2**n_scales) * 2**n_scales) for side in (height, width))
        raise ValueError(
            f"n_scales: sides of {height} x {width} can be halved {n_halvings} times, got {n_scales}: {advice}pad the "
            f"images to {sides}."
        )
    keys = jax.random.split(as_key(key), (n_scales, 2))

    def scale(index: int, shape: Shape) -> AbstractBijection:
        rows, columns, depth = shape[0] // 2, shape[1] // 2, shape[2] * 4
        parts = [layers((rows, columns, depth), keys[index, 0], index)]
        if index + 1 < n_scales:
            parts.insert(0, SplitChannels(scale(index + 1, (rows, columns, depth // 2)), depth))
        squeezed = Squeeze(parts[0] if len(parts) == 1 else Chain(parts))
        return squeezed if before is None else Chain([squeezed, before(shape, keys[index, 1], index)])

    stack = scale(0, (height, width, channels))
    return Flow(base or Normal(shape), Chain([stack, pixels(shape, levels, transform, alpha)]))


def pixels(shape: tuple[int, ...], levels: int | None, transform: str, alpha: float) -> AbstractBijection:
    """The outermost layer: `Standardise` for real numbers, a fixed map for dequantised levels."""
    check_choice("transform", transform, ("logit", "affine"))
    if levels is None:
        return Standardise(shape)
    if isinstance(levels, bool) or levels != int(levels) or levels < 2:
        raise ValueError(f"levels: expected a whole number of at least 2, such as 256, or None, got {levels!r}.")
    if transform == "affine":
        return Standardise(shape).filled(np.full(shape, levels / 2), np.full(shape, float(levels)))
    if not 1e-7 <= alpha < 0.5:
        raise ValueError(
            f"alpha: expected a number from 1e-7 to below 0.5, such as 0.05, got {alpha}: at 0 the edges of a level "
            "would lie at infinity."
        )
    return PixelSigmoid(shape, levels=levels, alpha=alpha)


def image_coupling(
    shape: Shape, transformer: str | AbstractBijection, context_dim: int | None, network: NetworkFactory,
    key: PRNGKeyArray, partition: str = "channels", is_swapped: bool = False,
) -> ImageCoupling:  # fmt: skip
    """An `ImageCoupling` with the network that `network` makes."""
    scalar = transformer_named(transformer)
    n_channels, half = shape[2], (shape[2] + 1) // 2
    if partition == "checkerboard":
        n_conditioning = n_transformed = n_channels
    else:
        n_transformed = n_channels - half if is_swapped else half
        n_conditioning = n_channels - n_transformed
    in_shape, out_shape = (*shape[:2], n_conditioning), (*shape[:2], n_parameters(scalar) * n_transformed)
    return ImageCoupling(
        scalar, network(in_shape, out_shape, context_size=context_dim or 0, key=key), shape, partition=partition,
        is_swapped=is_swapped, context_shape=None if context_dim is None else (context_dim,),
    )  # fmt: skip


def check_shape(shape: tuple[int, ...]) -> Shape:
    """The shape if it is (H, W, C), else a ValueError."""
    if (
        not isinstance(shape, tuple | list)
        or len(shape) != 3
        or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape)
    ):
        raise ValueError(f"shape: expected (height, width, channels), channels last, got {shape!r}.")
    height, width, channels = shape
    return height, width, channels


def _halvings(height: int, width: int) -> int:
    count = 0
    while height % 2 == width % 2 == 0:
        height, width, count = height // 2, width // 2, count + 1
    return count
