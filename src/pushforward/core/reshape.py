"""Bijections of the same event in another shape.

`inner_samples(x)` returns what the inner bijection receives of samples (n, *shape), so that inner layers can be
initialised from data.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError


class Reshape(AbstractBijection):
    """An inner bijection applied to the event in another shape: x = T(z.reshape(inner)).reshape(shape).

    Args:
        inner: the bijection, of shape `inner.shape`.
        shape: the event shape, with as many elements.

    Cost: that of the inner bijection, in both directions.

    Raises:
        ShapeError: if the element counts differ.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Permutation, Reshape
        >>> print(Reshape(Permutation([1, 0]), (2, 1)).forward(jnp.array([[1.0], [2.0]])))
        [[2.]
         [1.]]
    """

    inner: AbstractBijection
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection, shape: tuple[int, ...]) -> None:
        self.inner, self.shape = inner, tuple(shape)

    def __check_init__(self) -> None:
        if math.prod(self.shape) != math.prod(self.inner.shape):
            raise ShapeError(
                f"shape: expected {math.prod(self.inner.shape)} elements as in the inner shape {self.inner.shape}, got "
                f"{self.shape}."
            )

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.inner.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.inner.forward_and_log_det(z.reshape(self.inner.shape), context, key=key)
        return x.reshape(self.shape), log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        z, log_det = self.inner.inverse_and_log_det(x.reshape(self.inner.shape), context, key=key)
        return z.reshape(self.shape), log_det

    def inner_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples as the inner bijection receives them."""
        return x.reshape(len(x), *self.inner.shape)


class Squeeze(AbstractBijection):
    """An inner bijection applied after blocks of factor x factor pixels are moved into channels.

    The inner event has shape (H / f, W / f, C f^2): half the side, four times the channels for f = 2.

    Args:
        inner: a bijection of shape (H / f, W / f, C f^2).
        factor: f, at least 1.

    Cost: that of the inner bijection, in both directions.

    Raises:
        ShapeError: if the inner shape is not (height, width, channels) or its channels are not divisible by f^2.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3.6.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Elementwise, Squeeze
        >>> squeezed = Squeeze(Elementwise(Affine(), (1, 1, 4)))
        >>> print(squeezed.shape)
        (2, 2, 1)
    """

    inner: AbstractBijection
    factor: int = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection, factor: int = 2) -> None:
        self.inner, self.factor = inner, int(factor)

    def __check_init__(self) -> None:
        shape, block = self.inner.shape, self.factor**2
        if self.factor < 1 or len(shape) != 3 or shape[2] % block:
            raise ShapeError(
                f"inner: expected the shape (H/f, W/f, C f^2) of a squeezed image with f = {self.factor}, got {shape}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        height, width, channels = self.inner.shape
        return height * self.factor, width * self.factor, channels // self.factor**2

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.inner.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.inner.forward_and_log_det(self._squeeze(z), context, key=key)
        return self._unsqueeze(x), log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        z, log_det = self.inner.inverse_and_log_det(self._squeeze(x), context, key=key)
        return self._unsqueeze(z), log_det

    def inner_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples as the inner bijection receives them."""
        (height, width, _), f = self.inner.shape, self.factor
        blocks = x.reshape(len(x), height, f, width, f, self.shape[2])
        return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(len(x), *self.inner.shape)

    def _squeeze(self, image: Array) -> Array:
        (height, width, _), f = self.inner.shape, self.factor
        blocks = image.reshape(height, f, width, f, self.shape[2])
        return jnp.transpose(blocks, (0, 2, 4, 1, 3)).reshape(self.inner.shape)

    def _unsqueeze(self, image: Array) -> Array:
        (height, width, _), f = self.inner.shape, self.factor
        blocks = image.reshape(height, width, self.shape[2], f, f)
        return jnp.transpose(blocks, (0, 3, 1, 4, 2)).reshape(self.shape)
