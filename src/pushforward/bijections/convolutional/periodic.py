"""The periodic convolution, inverted by the Fourier transform.

The transform is two real matrix products. They take as long as XLA's FFT on a CPU at 32 x 32 and do not deadlock: in
jax 0.10 several FFTs of one program that share few threads can deadlock.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from pushforward.bijections.convolutional.checks import check_image, check_kernel_size
from pushforward.bijections.convolutional.small_matrices import inverse_and_log_det
from pushforward.core.bijection import AbstractBijection
from pushforward.errors import NumericError, ShapeError
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START = 0.1
_ROUNDING = 10.0  # units in the last place, times sqrt(C), by which rounding moves the matrix of a frequency


class PeriodicConvolution(AbstractBijection):
    """Periodic convolution: z = (I + K) * x + bias from data to base, on the torus.

    At a frequency f it multiplies the channels by a matrix A_f = I + sum_k taps[k] exp(2 pi i f . offset_k), so
    log|det dz/dx| = sum_f log|det A_f|, over half of the frequencies, because the others are conjugates. The inverse
    multiplies by the inverse matrices. Starts as the identity.

    Only the likelihood keeps the A_f regular: |det A_f| has no floor that is smooth where A_f is singular, as for a
    kernel that averages neighbours, at the highest frequency. If the condition number of the layer, the largest |A_f|
    times the largest |A_f^-1|, exceeds the precision, concrete arrays raise an error and traced ones become NaN, which
    a distribution reports.

    Args:
        shape: (H, W, C).
        kernel_size: d, odd, at least 3. Taps beyond the image wrap around.
        key: for small start values of the taps; None for the identity.

    Leaves (unconstrained): `taps` (d, d, C, C), `bias` (C,).

    Cost: O(H W C (H + W)) for the transforms and H W C^2 / 2 complex products, in both directions; once a batch
        H W / 2 matrices (C, C) are computed and inverted, O(H W (d^2 C^2 + C^3)).

    Raises:
        ShapeError: if the shape is not that of an image.
        ValueError: if kernel_size is even or below 3.
        NumericError: if the convolution is singular to rounding.

    Reference: Hoogeboom, van den Berg & Welling 2019, section 3.2. Deviation: no fast Fourier transform.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import PeriodicConvolution
        >>> x, log_det = PeriodicConvolution((2, 2, 1)).forward_and_log_det(jnp.ones((2, 2, 1)))
        >>> print(x.reshape(-1).round(3), f"{abs(log_det):.2f}")
        [1. 1. 1. 1.] 0.00
    """

    taps: Float[Array, "..."]
    bias: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], *, kernel_size: int = 3, key: PRNGKeyArray | None = None) -> None:
        check_image(shape)
        check_kernel_size(kernel_size)
        size = (kernel_size, kernel_size, shape[2], shape[2])
        self.taps = zeros(size) if key is None else normal(key, size, _START / (kernel_size * shape[2] ** 0.5))
        self.bias, self.shape, self.context_shape = zeros(shape[2]), tuple(shape), None

    def __check_init__(self) -> None:
        check_image(self.shape)
        side, channels = self.taps.shape[-3], self.shape[2]
        check_kernel_size(side)
        if self.taps.shape[-4:] != (side, side, channels, channels):
            raise ShapeError(f"taps: expected shape (d, d, {channels}, {channels}), got {self.taps.shape}.")

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        matrices = self._frequencies()
        inverses, log_det, is_regular = self._inverses(matrices)
        x = self._apply(z - self.bias[None, None], inverses)
        return jnp.where(is_regular, x, jnp.nan), -log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        matrices = self._frequencies()
        _, log_det, is_regular = self._inverses(matrices)
        z = self._apply(x, matrices) + self.bias[None, None]
        return jnp.where(is_regular, z, jnp.nan), log_det

    def _frequencies(self) -> Complex[Array, "H F C C"]:
        """The matrices A_f of all frequencies of rows, and of the non-negative ones of columns."""
        height, width, channels = self.shape
        side = self.taps.shape[0]
        offset = np.arange(side) - side // 2
        complex_type = jnp.result_type(self.taps.dtype, jnp.complex64)
        rows, columns = (
            jnp.asarray(np.exp(1j * _angles(n_frequencies, offset, size)), complex_type)
            for n_frequencies, size in ((height, height), (width // 2 + 1, width))
        )
        by_column = jnp.einsum("fb,aboi->faoi", columns, self.taps.astype(complex_type), precision="highest")
        matrices = jnp.einsum("ha,faoi->hfoi", rows, by_column, precision="highest")
        return matrices + jnp.eye(channels, dtype=complex_type)[None, None]

    def _inverses(self, matrices: Array) -> tuple[Array, Array, Array]:
        """The inverse matrices, log|det| of the convolution, and whether they have any correct digit."""
        inverses, log_dets = inverse_and_log_det(matrices)
        norm, inverse_norm = (
            jnp.max(jnp.sqrt(jnp.sum(jnp.abs(m) ** 2, (-2, -1)))) for m in jax.lax.stop_gradient((matrices, inverses))
        )
        condition = norm * inverse_norm
        rounding = _ROUNDING * self.shape[2] ** 0.5 * float(jnp.finfo(self.taps.dtype).eps)
        is_regular = condition * rounding < 1  # False for NaN too
        if not (isinstance(is_regular, jax.core.Tracer) or bool(is_regular)):
            raise NumericError(
                f"PeriodicConvolution: expected a kernel that is regular at all frequencies, got condition number "
                f"{float(condition):.3g}, beyond the precision of {self.taps.dtype}. Move the taps away from an "
                "average of neighbours, or use EmergingConvolution, which cannot become singular."
            )
        multiplicity = jnp.asarray(_multiplicity(self.shape[1]), log_dets.dtype)
        total = jnp.sum(log_dets * jnp.broadcast_to(multiplicity, log_dets.shape))
        return inverses, jnp.where(is_regular, total, jnp.nan), is_regular

    def _apply(self, image: Array, matrices: Array) -> Array:
        """The image times a matrix at each frequency; real and imaginary parts are on a leading axis."""
        height, width, _ = self.shape
        product = functools.partial(jnp.einsum, precision="highest")
        angles = _angles(width // 2 + 1, np.arange(width), width)
        columns = np.stack([np.cos(angles), -np.sin(angles)])
        inverse_columns = columns * _multiplicity(width)[:, None] / width
        angles = _angles(height, np.arange(height), height)
        rows = np.stack([[np.cos(angles), np.sin(angles)], [-np.sin(angles), np.cos(angles)]])
        columns, inverse_columns, rows = (jnp.asarray(table, image.dtype) for table in (columns, inverse_columns, rows))
        real, imaginary = jnp.real(matrices), jnp.imag(matrices)
        matrices = jnp.stack([jnp.stack([real, -imaginary]), jnp.stack([imaginary, real])])
        waves = product("pqgh,qhfc->pgfc", rows, product("pfw,hwc->phfc", columns, image))
        waves = product("pqgfoi,qgfi->pgfo", matrices, waves)
        return product("pfw,phfc->hwc", inverse_columns, product("qpgh,qgfc->phfc", rows / height, waves))


def _angles(n_frequencies: int, positions: np.ndarray, size: int) -> np.ndarray:
    """2 pi f position / size modulo 2 pi, reduced before rounding: exact at frequencies where a kernel may cancel."""
    return 2 * np.pi * ((np.arange(n_frequencies)[:, None] * positions) % size) / size


def _multiplicity(width: int) -> np.ndarray:
    """The number of column frequencies that each non-negative one represents: itself and its conjugate."""
    multiplicity = np.full(width // 2 + 1, 2.0)
    multiplicity[0] = 1.0
    if width % 2 == 0:
        multiplicity[-1] = 1.0
    return multiplicity
