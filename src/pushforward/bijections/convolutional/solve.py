"""The inverse of a masked convolution: a triangular system, solved by substitution.

    centre x[p] + sum_k taps[k] x[p + offsets[k]] = right[p],   with zero padding

Three orders of the same substitution:

    pixel       H W / 2 steps (H W for odd widths), one small product each: fastest on a CPU
    wavefront   W + skew (H - 1) steps: all pixels of a diagonal, which are independent, on a skewed copy of the image
    rows        H steps: a row by the inverse of its matrix (W C, W C)

They act on one image, channels last, and JAX's batching puts the batch first: the channels of a pixel are contiguous,
and images need no transposition. With the batch last the pixel loop is no faster at eight channels, and slower with
more channels or more images.

Derivatives are implicit, in every mode and order: a tangent is one more solution of the same system; a gradient is a
solution of the transposed system, a masked convolution of the opposite order, and the gradient of a convolution.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from pushforward.bijections.convolutional.masks import Mask
from pushforward.numerics.flat_product import flat_product
from pushforward.numerics.im2col import im2col

_LARGEST_ROW = 1024  # W C, up to which accelerators use rows
_UNROLL = 2  # steps per loop iteration: a tenth faster than one, and four are no faster


def default_order(shape: tuple[int, ...]) -> str:
    """The fastest order for images (H, W, C), measured on CPUs and one GPU; a GPU prefers few large steps."""
    if jax.default_backend() == "cpu":
        return "pixel"
    return "rows" if shape[1] * shape[2] <= _LARGEST_ROW else "wavefront"


def masked_convolve(mask: Mask, taps: Array, centre: Array, image: Array) -> Float[Array, "H W C"]:
    """centre x[p] + sum_k taps[k] x[p + offsets[k]], zero-padded."""
    kernel = jnp.swapaxes(jnp.concatenate([taps, centre[None]]), 1, 2).reshape(-1, taps.shape[1])
    return flat_product(im2col(image, (*mask.offsets, (0, 0))), kernel)


def solve_masked(mask: Mask, order: str, taps: Array, centre: Array, right: Array) -> Float[Array, "H W C"]:
    """The image x whose masked convolution is `right`.

    Args:
        mask: the neighbours of the taps.
        order: a name in `ORDERS`.
        taps: (K, C, C), a matrix for each of `mask.offsets`.
        centre: (C, C), lower triangular if `mask.is_lower`, else upper.
        right: (H, W, C).
    """

    def solve(_: Any, right: Array) -> Array:
        return _substitute(mask, order, taps, centre, right)

    def solve_transposed(_: Any, right: Array) -> Array:
        return _substitute(mask.opposite, order, jnp.swapaxes(taps, 1, 2), centre.T, right)

    return jax.lax.custom_linear_solve(
        functools.partial(masked_convolve, mask, taps, centre), right, solve, solve_transposed
    )


def _substitute(mask: Mask, order: str, taps: Array, centre: Array, right: Array) -> Array:
    # Multiply the system by the inverse of its centre: the centre becomes the identity.
    inverse = solve_triangular(centre, jnp.eye(centre.shape[0], dtype=centre.dtype), lower=mask.is_lower)
    image, taps = _product(right, inverse.T), _product(inverse, taps)
    return mask.rotate(ORDERS[order](mask, mask.unrotate(image), taps))


def _product(a: Array, b: Array) -> Array:
    """A product in full precision, because substitution accumulates rounding errors."""
    return jnp.matmul(a, b, precision="highest")


def _as_matrix(taps: Array) -> Array:
    """Taps (K, C, C) as a matrix (K C, C), to multiply the concatenated neighbours of a pixel."""
    return jnp.swapaxes(taps, 1, 2).reshape(-1, taps.shape[1])


def _by_pixel(mask: Mask, image: Array, taps: Array) -> Array:
    radius, right = mask.radius, mask.right
    height, width, channels = image.shape
    n_pixels = 2 if width % 2 == 0 else 1
    weights = _as_matrix(taps)
    if n_pixels == 2:
        weights, within_pair = _pair_weights(mask, weights)
        image = _product(image.reshape(height, -1, 2 * channels), within_pair).reshape(image.shape)
    span, size = radius + n_pixels + right, n_pixels * channels

    def step(t: Array, padded: Array) -> Array:
        i, j = jax.lax.div(t, width // n_pixels), n_pixels * jax.lax.rem(t, width // n_pixels)
        above = jax.lax.dynamic_slice(padded, (i, j, 0), (radius, span, channels)).reshape(-1)
        row = jax.lax.dynamic_slice(padded, (i + radius, j, 0), (1, radius + n_pixels, channels)).reshape(-1)
        new = row[-size:] - _product(jnp.concatenate([above, row[:-size]]), weights)
        return jax.lax.dynamic_update_slice(padded, new.reshape(1, n_pixels, channels), (i + radius, j + radius, 0))

    padded = jnp.pad(image, ((radius, 0), (radius, right), (0, 0)))
    padded = jax.lax.fori_loop(0, height * width // n_pixels, step, padded, unroll=_UNROLL)
    return padded[radius:, radius : radius + width]


def _pair_weights(mask: Mask, weights: Array) -> tuple[Array, Array]:
    """The system of two adjacent pixels, with the dependence of the right one on the left one eliminated.

    x (I + M) = r - n W for the pair's row x, right-hand side r and neighbours n, where M is the tap from the left pixel
    to the right one; so x = r B - n (W B) with B = I - M, because M M = 0. Returns W B and B.
    """
    radius, channels = mask.radius, weights.shape[1]
    columns = radius + 1 + mask.right
    above = weights[: radius * columns * channels].reshape(radius, columns, channels, channels)
    row = weights[radius * columns * channels :].reshape(radius, channels, channels)
    padded = [
        jnp.stack(
            [jnp.pad(above, ((0, 0), (0, 1), (0, 0), (0, 0))), jnp.pad(above, ((0, 0), (1, 0), (0, 0), (0, 0)))], 3
        ),
        jnp.stack([row, jnp.pad(row[:-1], ((1, 0), (0, 0), (0, 0)))], 2),
    ]
    wide = jnp.concatenate([part.reshape(-1, 2 * channels) for part in padded])
    within_pair = jnp.eye(2 * channels, dtype=weights.dtype) - jnp.pad(row[-1], ((0, channels), (channels, 0)))
    return _product(wide, within_pair), within_pair


def _by_wavefront(mask: Mask, image: Array, taps: Array) -> Array:
    radius, skew = mask.radius, mask.skew
    height, width, channels = image.shape
    n_steps, n_padding = width + skew * (height - 1), radius * (1 + skew)
    weights = _as_matrix(taps)
    # pixel (i, j) is in row j + skew i of the skewed image; entries outside the image must stay zero
    column = np.arange(n_steps)[:, None] - skew * np.arange(height)
    in_image = jnp.asarray((column >= 0) & (column < width), image.dtype)
    wide = jnp.pad(image, ((0, 0), (0, n_steps + skew - width), (0, 0)))
    skewed = wide.reshape(-1, channels)[: height * n_steps].reshape(height, n_steps, channels)
    buffer = jnp.pad(jnp.swapaxes(skewed, 0, 1), ((n_padding, 0), (radius, 0), (0, 0)))

    def neighbour(buffer: Array, t: Array, row: int, column: int) -> Array:
        start = (t + n_padding + column + skew * row, radius + row, 0)
        return jax.lax.dynamic_slice(buffer, start, (1, height, channels))[0]

    def step(t: Array, buffer: Array) -> Array:
        neighbours = [neighbour(buffer, t, row, column) for row, column in mask.unrotated_offsets]
        new = neighbour(buffer, t, 0, 0) - _product(jnp.concatenate(neighbours, -1), weights)
        return jax.lax.dynamic_update_slice(buffer, (new * in_image[t][:, None])[None], (t + n_padding, radius, 0))

    buffer = jax.lax.fori_loop(0, n_steps, step, buffer)
    skewed = jnp.swapaxes(buffer[n_padding:, radius:], 0, 1).reshape(-1, channels)
    wide = jnp.pad(skewed, ((0, height * skew), (0, 0))).reshape(height, n_steps + skew, channels)
    return wide[:, :width]


def _by_row(mask: Mask, image: Array, taps: Array) -> Array:
    radius = mask.radius
    height, width, channels = image.shape
    size = width * channels

    def row_matrix(row: int) -> Array:
        """The matrix by which the taps of one row of the kernel act on a row of the image."""
        parts = [
            jnp.kron(jnp.eye(width, k=column, dtype=taps.dtype), tap)
            for (tap_row, column), tap in zip(mask.unrotated_offsets, taps, strict=True)
            if tap_row == row
        ]
        return functools.reduce(jnp.add, parts)

    eye = jnp.eye(size, dtype=taps.dtype)
    inverse = solve_triangular(row_matrix(0) + eye, eye, lower=True, unit_diagonal=True)
    above = _product(inverse, jnp.concatenate([row_matrix(row) for row in range(-radius, 0)], axis=1))

    def step(previous: Array, right: Array) -> tuple[Array, Array]:
        new = right - _product(above, previous)
        return jnp.concatenate([previous[size:], new]), new

    right = _product(image.reshape(height, size), inverse.T)
    _, rows = jax.lax.scan(step, jnp.zeros(radius * size, image.dtype), right)
    return rows.reshape(image.shape)


ORDERS: dict[str, Callable[[Mask, Array, Array], Array]] = {
    "pixel": _by_pixel,
    "wavefront": _by_wavefront,
    "rows": _by_row,
}
