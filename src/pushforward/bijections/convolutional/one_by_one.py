"""The 1x1 convolution: a layer of the channels at every pixel."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.convolutional.checks import check_image
from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError


class OneByOne(AbstractBijection):
    """A bijection of the channels, the same one at every pixel: x[i, j] = T(z[i, j]; context).

    With a linear T (`PLU`, a QR chain of `Triangular` and `Householder`, `Cayley`, `Dense`) this is the invertible 1x1
    convolution. log|det| is H W times that of T if it does not depend on the pixel, else the sum over pixels.

    Args:
        inner: a bijection of shape (C,).
        shape: (H, W, C).

    Cost: H W times that of the inner bijection, in both directions; matrix operations (factorisation, log-determinant,
        triangular inversion) run once a batch.

    Raises:
        ShapeError: if the inner bijection does not have the shape of the channels.

    Reference: Kingma & Dhariwal 2018 (Glow), section 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import OneByOne, Permutation
        >>> print(OneByOne(Permutation([1, 0]), (1, 2, 2)).forward(jnp.array([[[1.0, 2.0], [3.0, 4.0]]])))
        [[[2. 1.]
          [4. 3.]]]
    """

    inner: AbstractBijection
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection, shape: tuple[int, ...]) -> None:
        self.inner, self.shape = inner, tuple(shape)

    def __check_init__(self) -> None:
        check_image(self.shape)
        if self.inner.shape != self.shape[2:]:
            raise ShapeError(
                f"inner: expected a bijection of the {self.shape[2]} channels, of shape {self.shape[2:]}, got "
                f"{type(self.inner).__name__} of shape {self.inner.shape}."
            )

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.inner.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at_pixels(self.inner.forward_and_log_det, z, context, key)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at_pixels(self.inner.inverse_and_log_det, x, context, key)

    def _at_pixels(
        self, method: Any, image: Array, context: Array | None, key: PRNGKeyArray | None
    ) -> tuple[Array, Array]:
        pixels = image.reshape(-1, self.shape[2])
        keys = None if key is None else jax.random.split(key, len(pixels))

        def one(pixel: Array, key: PRNGKeyArray | None) -> tuple[Array, Array]:
            return method(pixel, context, key=key)

        # vmap raises if the log-determinant depends on the pixel
        log_det_axis = None
        try:
            jax.eval_shape(jax.vmap(one, out_axes=(0, None)), pixels, keys)
        except ValueError:
            log_det_axis = 0
        out, log_det = jax.vmap(one, out_axes=(0, log_det_axis))(pixels, keys)
        total = len(pixels) * log_det if log_det_axis is None else jnp.sum(log_det)
        return out.reshape(self.shape), total
