"""Bijections of a part of the event; the rest is unchanged.

`inner_samples(x)` returns what the inner bijection receives of samples (n, *shape), so that inner layers can be
initialised from data.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device


class Split(AbstractBijection):
    """An inner bijection applied to a part of the event: x_part = T(z_part), x_rest = z_rest.

    Nested splits give the multi-scale flow, on vectors too: coordinates leave, or join, one group at a time.

    Args:
        inner: a bijection of shape (k,), k the size of the part; wrap an image's part in `Reshape`.
        part: indices of the k transformed elements in the flattened event.
        shape: the event shape.

    Cost: that of the inner bijection and O(D) moves, in both directions.

    Raises:
        ShapeError: if the part does not fit the inner shape or the event.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3.6 (multi-scale architecture).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Permutation, Split
        >>> print(Split(Permutation([1, 0]), part=[0, 2], shape=(3,)).forward(jnp.array([1.0, 2.0, 3.0])))
        [3. 2. 1.]
    """

    inner: AbstractBijection
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection, part: list[int] | np.ndarray, shape: tuple[int, ...]) -> None:
        part, size = np.asarray(part), math.prod(shape)
        if part.ndim != 1 or len(set(part.tolist())) != part.size or not set(part.tolist()) <= set(range(size)):
            raise ShapeError(f"part: expected distinct indices below {size}, got {part.tolist()}.")
        if inner.shape != (part.size,):
            raise ShapeError(f"inner: expected shape ({part.size},) as the part has, got {inner.shape}.")
        order = np.concatenate([part, np.setdiff1d(np.arange(size), part)])
        self.inner, self.shape = inner, tuple(shape)
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.inner.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        ordered = z.reshape(-1)[self.order]
        size = self.inner.shape[0]
        part, log_det = self.inner.forward_and_log_det(ordered[:size], context, key=key)
        return jnp.concatenate([part, ordered[size:]])[self.inverse_order].reshape(self.shape), log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        ordered = x.reshape(-1)[self.order]
        size = self.inner.shape[0]
        part, log_det = self.inner.inverse_and_log_det(ordered[:size], context, key=key)
        return jnp.concatenate([part, ordered[size:]])[self.inverse_order].reshape(self.shape), log_det

    def inner_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples as the inner bijection receives them."""
        return x.reshape(len(x), -1)[:, np.asarray(self.order)[: self.inner.shape[0]]]


class SplitChannels(AbstractBijection):
    """An inner bijection applied to the first channels of an image: x[..., :k] = T(z[..., :k]), the others stay.

    `Split` for images, by slices: the channels that stay leave a multi-scale flow for the base.

    Args:
        inner: a bijection of shape (..., k).
        n_channels: channels of the whole image, at least k.

    Cost: that of the inner bijection, in both directions.

    Raises:
        ShapeError: if the inner event has no channels or more than `n_channels`.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3.6 (multi-scale architecture).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Elementwise, SplitChannels
        >>> print(SplitChannels(Elementwise(Affine(shift=1.0), (1, 1, 1)), 3).forward(jnp.zeros((1, 1, 3))))
        [[[1. 0. 0.]]]
    """

    inner: AbstractBijection
    n_channels: int = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection, n_channels: int) -> None:
        self.inner, self.n_channels = inner, int(n_channels)

    def __check_init__(self) -> None:
        if not self.inner.shape or not self.inner.shape[-1] <= self.n_channels:
            raise ShapeError(
                f"inner: expected an event with channels, at most {self.n_channels} of them, got shape "
                f"{self.inner.shape}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.inner.shape[:-1], self.n_channels)

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.inner.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        k = self.inner.shape[-1]
        part, log_det = self.inner.forward_and_log_det(z[..., :k], context, key=key)
        return jnp.concatenate([part, z[..., k:]], -1), log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        k = self.inner.shape[-1]
        part, log_det = self.inner.inverse_and_log_det(x[..., :k], context, key=key)
        return jnp.concatenate([part, x[..., k:]], -1), log_det

    def inner_samples(self, x: np.ndarray) -> np.ndarray:
        """The samples as the inner bijection receives them."""
        return x[..., : self.inner.shape[-1]]
