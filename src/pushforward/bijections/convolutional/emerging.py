"""The emerging convolution: two masked convolutions of opposite orders, whose product has a full receptive field."""

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.convolutional.masked import MaskedConvolution
from pushforward.bijections.convolutional.one_by_one import OneByOne
from pushforward.bijections.linear.plu import PLU
from pushforward.core.bijection import AbstractBijection


class EmergingConvolution(AbstractBijection):
    """Emerging convolution: z = K2 * (K1 * (P x) + b1) + b2 from data to base, K1 and K2 masked in opposite orders.

    The receptive field of two d x d "raster" masks has d rows and 2 d - 1 columns, less (d - 1) / 2 pixels at two
    opposite corners; that of two "quadrant" masks of side (d + 1) / 2 is d x d. log|det| is the sum of both. P is an
    invertible matrix of channels, used if there is a `key`: the layer then starts as a permutation of channels, without
    it as the identity.

    Args:
        shape: (H, W, C).
        kernel_size: d, odd, at least 3.
        mask: "raster" or "quadrant".
        key: for the permutation with which P, a `PLU` of the channels, starts; None omits P.
        min_diagonal: floor of every diagonal, in (0, 1).
        order: of the substitution, as for `MaskedConvolution`.

    Cost: twice that of a masked convolution: inverse two matrix products, forward two substitutions.

    Raises:
        ShapeError: if the shape is not that of an image.
        ValueError: if another argument is out of range.

    Reference: Hoogeboom, van den Berg & Welling 2019, section 3.1. Quadrant masks are ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import EmergingConvolution
        >>> x, log_det = EmergingConvolution((2, 2, 1)).forward_and_log_det(jnp.ones((2, 2, 1)))
        >>> print(x.reshape(-1).round(3), f"{abs(log_det):.2f}")
        [1. 1. 1. 1.] 0.00
    """

    mixing: OneByOne | None
    first: MaskedConvolution
    second: MaskedConvolution
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        kernel_size: int = 3,
        mask: str = "raster",
        key: PRNGKeyArray | None = None,
        min_diagonal: float = 1e-3,
        order: str | None = None,
    ) -> None:
        self.first, self.second = (
            MaskedConvolution(
                shape, kernel_size=kernel_size, mask=mask, rotation=rotation, min_diagonal=min_diagonal, order=order
            )
            for rotation in (0, 2)
        )
        channels = PLU(shape[2], key=key, min_diagonal=min_diagonal)
        self.mixing = None if key is None else OneByOne(channels, shape)
        self.shape, self.context_shape = tuple(shape), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        value, second = self.second.forward_and_log_det(z)
        value, first = self.first.forward_and_log_det(value)
        if self.mixing is None:
            return value, first + second
        value, log_det = self.mixing.forward_and_log_det(value)
        return value, first + second + log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_det = None
        if self.mixing is not None:
            x, log_det = self.mixing.inverse_and_log_det(x)
        value, first = self.first.inverse_and_log_det(x)
        value, second = self.second.inverse_and_log_det(value)
        return value, first + second if log_det is None else first + second + log_det
