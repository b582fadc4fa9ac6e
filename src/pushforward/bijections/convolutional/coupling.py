"""Image couplings: half of the channels, or every second pixel, is transformed, with parameters from the rest."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.partitions import checkerboard
from pushforward.bijections.scalar import n_parameters, transformer_named
from pushforward.bijections.scalar.slope_check import check_never_singular
from pushforward.bijections.scalar.transformer import transformer_fn
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import emitted
from pushforward.core.network_call import call_network, check_output
from pushforward.errors import ShapeError

_PARTITIONS = ("channels", "checkerboard")


class ImageCoupling(AbstractBijection):
    """Coupling of an image: x^A = h(z^A; theta(z^B, context)), x^B = z^B.

    With `partition="channels"` A is the first ceil(C / 2) channels. With "checkerboard" it is the pixels whose row and
    column sum to an even number, in all channels; the input of the network has zeros in A, and its output in B is
    ignored. `is_swapped` exchanges A and B. log|det| = sum over A of log h'.

    Args:
        transformer: a name in `TRANSFORMERS` or a scalar bijection.
        network: called as network(image, context, key=...) with z^B of shape (H, W, channels of B), or (H, W, C) for a
            checkerboard; returns (H, W, P a), P = n_parameters(transformer) numbers for each of the a channels of A,
            grouped by parameter, or as many in a vector. A module of one array gets z^B and the context as channels.
        shape: (H, W, C).
        partition: "channels" or "checkerboard".
        is_swapped: whether B is transformed instead of A.
        context_shape: shape of the network's context, or None.

    Cost: one pass of the network and an evaluation of h (or of its inverse) for each element of A, the same in both
        directions; a checkerboard evaluates h everywhere.

    Raises:
        ShapeError: if the shape is not that of an image, a part is empty, or the network's output does not fit.
        ValueError: if the partition is unknown, or the transformer's slope can vanish, as it declares or as a trial
            shows.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3.4; Kingma & Dhariwal 2018, section 3.3. Deviation: scales
        are bounded on both sides, as in all layers here.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import ImageCoupling
        >>> from pushforward.networks import ConvNet
        >>> network = ConvNet(1, 2, width=8, depth=1, key=jax.random.key(0))     # affine: two numbers an element
        >>> layer = ImageCoupling("affine", network, (4, 4, 2))
        >>> print(layer.forward(jnp.ones((4, 4, 2))).sum())                      # starts as the identity
        32.0
    """

    transformer: AbstractBijection = emitted()
    network: Callable[..., Array]
    shape: tuple[int, int, int] = eqx.field(static=True)
    partition: str = eqx.field(static=True)
    is_swapped: bool = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        transformer: str | AbstractBijection,
        network: Callable[..., Array],
        shape: tuple[int, int, int],
        *,
        partition: str = "channels",
        is_swapped: bool = False,
        context_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.transformer, self.network = transformer_named(transformer), network
        check_never_singular(self.transformer)
        self.shape, self.partition, self.is_swapped = tuple(shape), partition, bool(is_swapped)
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def __check_init__(self) -> None:
        if self.partition not in _PARTITIONS:
            raise ValueError(f"partition: expected one of {', '.join(_PARTITIONS)}, got {self.partition!r}.")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ShapeError(f"shape: expected (height, width, channels), got {self.shape}.")
        height, width, channels = self.shape
        is_board = self.partition == "checkerboard"
        if (height * width if is_board else channels) < 2:
            what, other = ("pixels", "channels") if is_board else ("channels", "checkerboard")
            raise ShapeError(
                f"shape: expected at least two {what} to partition, got {self.shape}. Use partition={other!r}, or "
                "Squeeze the image first."
            )
        n, n_transformed = n_parameters(self.transformer), self._n_transformed
        meaning = (
            f"{n} parameters of {type(self.transformer).__name__} for each of {n_transformed} transformed channels"
        )
        in_shape = (height, width, channels if is_board else channels - n_transformed)
        check_output(self.network, in_shape, self.context_shape, self._out_shape, meaning)

    @property
    def _out_shape(self) -> tuple[int, int, int]:
        """Shape of the network's output."""
        return *self.shape[:2], n_parameters(self.transformer) * self._n_transformed

    @property
    def _n_transformed(self) -> int:
        """Number of channels of A; all for a checkerboard."""
        channels = self.shape[2]
        if self.partition == "checkerboard":
            return channels
        return channels // 2 if self.is_swapped else (channels + 1) // 2

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._couple(z, context, key, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._couple(x, context, key, inverse=True)

    def _couple(
        self, value: Array, context: Array | None, key: PRNGKeyArray | None, inverse: bool
    ) -> tuple[Array, Array]:
        fn, weights = transformer_fn(self.transformer, inverse)
        if self.partition == "checkerboard":
            mask = checkerboard(self.shape) != self.is_swapped
            parameters = self._parameters(jnp.where(mask, 0, value), context, key)
            # pixels of B are mapped too and ignored: zero value and parameters cannot overflow
            mapped, log_det = fn(weights, jnp.where(mask[None], parameters, 0), jnp.where(mask, value, 0))
            return jnp.where(mask, mapped, value), jnp.sum(jnp.where(mask, log_det, 0))
        first = (self.shape[2] + 1) // 2
        a, b = value[..., :first], value[..., first:]
        if self.is_swapped:
            a, b = b, a
        a, log_det = fn(weights, self._parameters(b, context, key), a)
        return jnp.concatenate([b, a] if self.is_swapped else [a, b], -1), jnp.sum(log_det)

    def _parameters(
        self, conditioning: Array, context: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, "P H W A"]:
        out = call_network(self.network, conditioning, context, self._out_shape, key=key)
        return jnp.moveaxis(out.reshape(*self.shape[:2], n_parameters(self.transformer), self._n_transformed), 2, 0)
