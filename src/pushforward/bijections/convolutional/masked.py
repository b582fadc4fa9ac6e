"""The masked convolution: autoregressive over pixels and channels, with a triangular matrix."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.convolutional.checks import check_image
from pushforward.bijections.convolutional.masks import Mask
from pushforward.bijections.convolutional.solve import ORDERS, default_order, masked_convolve, solve_masked
from pushforward.bijections.linear.diagonal import check_min_diagonal, positive
from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START = 0.1


class MaskedConvolution(AbstractBijection):
    """Masked convolution: z = K * x + bias from data to base, zero-padded; sampling solves K * x = z - bias.

    A pixel depends on those before it in raster order, and its channel c on the channels up to c of the pixel itself,
    with diagonal softplus(diagonal + offset) + min_diagonal. K is a triangular matrix of H W C rows that cannot become
    singular, and log|det dz/dx| = H W sum_c log diagonal_c. Training evaluates densities, so that direction is the
    convolution, and sampling the sequential substitution. Starts as the identity.

    The inverse of a triangular matrix may grow exponentially along the image, and rounding errors with it, for every
    order of substitution: not while the absolute taps of a row sum to at most the diagonal, but at twice the diagonal
    32 x 32 pixels can lose all digits of float32, and at ten times the diagonal 8 x 8 pixels do. `pushforward.check`
    then reports the condition number, and a sample that overflows is an error.

    Args:
        shape: (H, W, C).
        kernel_size: d, odd, at least 3.
        mask: "raster", the part of a d x d kernel before the pixel, or "quadrant", the pixels above and to the left in
            a kernel of side (d + 1) / 2.
        rotation: number of counterclockwise rotations of the mask by 90 degrees. Two more give the opposite order, of
            channels too.
        key: for small start values of the taps; None for the identity.
        min_diagonal: floor of the diagonal, in (0, 1).
        order: of the substitution: "pixel", "wavefront", "rows"; None selects the fastest on the platform.

    Leaves (unconstrained): `taps` (K, C, C), a matrix for each neighbour in the mask; `factor` (C, C), of which one
        triangle is used; `diagonal` (C,); `bias` (C,).

    Cost: inverse H W (K + 1) C^2, as one matrix product; forward a quarter more in H W / 2 steps ("pixel"; as many in
        H W steps where W is odd), W + (r + 1)(H - 1) steps ("wavefront", r = (d - 1) / 2; H + W - 1 for quadrants), or
        H steps of r (W C)^2 after (W C)^3 once a batch ("rows"). log-determinant O(C). A tangent of forward solves the
        system once more, a gradient the transposed system.

    Raises:
        ShapeError: if the shape is not that of an image.
        ValueError: if another argument is out of range.

    Reference: Hoogeboom, van den Berg & Welling 2019, section 3.1. Softplus with a floor, quadrants, wavefronts and
        rows are ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MaskedConvolution
        >>> x, log_det = MaskedConvolution((2, 2, 1)).forward_and_log_det(jnp.ones((2, 2, 1)))
        >>> print(x.reshape(-1).round(3), f"{abs(log_det):.2f}")
        [1. 1. 1. 1.] 0.00
    """

    taps: Float[Array, "..."]
    factor: Float[Array, "..."]
    diagonal: Float[Array, "..."]
    bias: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    kernel_size: int = eqx.field(static=True)
    mask: str = eqx.field(static=True)
    rotation: int = eqx.field(static=True)
    min_diagonal: float = eqx.field(static=True)
    order: str | None = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        kernel_size: int = 3,
        mask: str = "raster",
        rotation: int = 0,
        key: PRNGKeyArray | None = None,
        min_diagonal: float = 1e-3,
        order: str | None = None,
    ) -> None:
        check_image(shape)
        self.shape, self.kernel_size, self.mask, self.rotation = tuple(shape), kernel_size, mask, rotation
        n_taps, channels = len(self.stencil.offsets), shape[2]
        size = (n_taps, channels, channels)
        self.taps = zeros(size) if key is None else normal(key, size, _START / (n_taps * channels) ** 0.5)
        self.factor, self.diagonal, self.bias = zeros(size[1:]), zeros(channels), zeros(channels)
        self.min_diagonal, self.order, self.context_shape = float(min_diagonal), order, None

    def __check_init__(self) -> None:
        check_image(self.shape)
        check_min_diagonal(self.min_diagonal)
        channels = self.shape[2]
        if self.order is not None and self.order not in ORDERS:
            raise ValueError(f"order: expected one of {', '.join(map(repr, ORDERS))} or None, got {self.order!r}.")
        if self.taps.shape[-3:] != (len(self.stencil.offsets), channels, channels):
            raise ShapeError(
                f"taps: expected shape {(len(self.stencil.offsets), channels, channels)} for this mask, got "
                f"{self.taps.shape}."
            )

    @property
    def stencil(self) -> Mask:
        """The neighbours of the taps."""
        return Mask(self.mask, self.kernel_size, self.rotation)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        centre, log_det = self._centre()
        order = default_order(self.shape) if self.order is None else self.order
        return solve_masked(self.stencil, order, self.taps, centre, z - self.bias[None, None]), -log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        centre, log_det = self._centre()
        return masked_convolve(self.stencil, self.taps, centre, x) + self.bias[None, None], log_det

    def _centre(self) -> tuple[Array, Array]:
        """The matrix of the pixel itself, and the log-determinant of the convolution."""
        diagonal = positive(self.diagonal, self.min_diagonal)
        n_pixels = self.shape[0] * self.shape[1]
        return self.stencil.triangle(self.factor) + jnp.diag(diagonal), n_pixels * jnp.sum(jnp.log(diagonal))
