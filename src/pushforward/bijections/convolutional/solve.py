"""The inverse of a masked convolution: a triangular system, solved by substitution for a whole batch at a time.

    centre x[p] + sum_k taps[k] x[p + offsets[k]] = right[p],   with zeros around the image

Three orders of the same substitution:

    pixel       H W / 2 steps (H W for odd widths), one small product each: fastest on a CPU
    wavefront   W + skew (H - 1) steps: pixels that do not see each other at a time, on a slanted copy of the image
    rows        H steps: a whole row by the inverse of its matrix (W C, W C)

They are written for one image, channels last, and JAX's own batching puts the batch first: then the channels of a
pixel lie together, and the image need not be transposed. With the batch last the pixel loop is no faster at eight
channels, and slower with more channels or more images.

Derivatives are those of the equation, not of the loop, in every mode and to every order: a tangent is one more solution
of the same system, a gradient one of the transposed system, which is a masked convolution of the opposite order, and
then the gradient of an ordinary convolution.
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
from pushforward.numerics.im2col import im2col

_LARGEST_ROW = 1024  # W C, up to which an accelerator takes rows
_UNROLL = 2  # pixels in one turn of the loop: a tenth faster than one, and four are no faster


def default_order(shape: tuple[int, ...]) -> str:
    """The order for images (H, W, C): measured on CPUs and on one GPU, where few large steps win."""
    if jax.default_backend() == "cpu":
        return "pixel"
    return "rows" if shape[1] * shape[2] <= _LARGEST_ROW else "wavefront"


def masked_convolve(mask: Mask, taps: Array, centre: Array, image: Array) -> Float[Array, "H W C"]:
    """centre x[p] + sum_k taps[k] x[p + offsets[k]], zeros around."""
    kernel = jnp.swapaxes(jnp.concatenate([taps, centre[None]]), 1, 2).reshape(-1, taps.shape[1])
    return im2col(image, (*mask.offsets, (0, 0))) @ kernel


def solve_masked(mask: Mask, order: str, taps: Array, centre: Array, right: Array) -> Float[Array, "H W C"]:
    """The image x whose masked convolution is `right`.

    Args:
        mask: which neighbours the taps belong to.
        order: a name in `ORDERS`.
        taps: (K, C, C), a matrix for each of `mask.offsets`.
        centre: (C, C), triangular as `mask.is_lower` says.
        right: (H, W, C).
    """

    def solve(_: Any, right: Array) -> Array:
        return _substituted(mask, order, taps, centre, right)

    def solve_transposed(_: Any, right: Array) -> Array:
        return _substituted(mask.opposite, order, jnp.swapaxes(taps, 1, 2), centre.T, right)

    return jax.lax.custom_linear_solve(
        functools.partial(masked_convolve, mask, taps, centre), right, solve, solve_transposed
    )


def _substituted(mask: Mask, order: str, taps: Array, centre: Array, right: Array) -> Array:
    # The system divided by its centre, all at once: what is left has the identity there.
    inverse = solve_triangular(centre, jnp.eye(centre.shape[0], dtype=centre.dtype), lower=mask.is_lower)
    image, taps = _product(right, inverse.T), _product(inverse, taps)
    return mask.turned(ORDERS[order](mask, mask.unturned(image), taps))


def _product(a: Array, b: Array) -> Array:
    """Substitution adds up what products lose: not in the short floats of accelerators."""
    return jnp.matmul(a, b, precision="highest")


def _stacked(taps: Array) -> Array:
    """Taps (K, C, C) as one matrix (K C, C) behind the neighbours of a pixel in the order of the offsets."""
    return jnp.swapaxes(taps, 1, 2).reshape(-1, taps.shape[1])


def _by_pixel(mask: Mask, image: Array, taps: Array) -> Array:
    radius, right = mask.radius, mask.right
    height, width, channels = image.shape
    at_once = 2 if width % 2 == 0 else 1
    weights = _stacked(taps)
    if at_once == 2:
        weights, within = _of_pairs(mask, weights)
        image = _product(image.reshape(height, -1, 2 * channels), within).reshape(image.shape)
    span, size = radius + at_once + right, at_once * channels

    def step(t: Array, padded: Array) -> Array:
        i, j = jax.lax.div(t, width // at_once), at_once * jax.lax.rem(t, width // at_once)
        above = jax.lax.dynamic_slice(padded, (i, j, 0), (radius, span, channels)).reshape(-1)
        row = jax.lax.dynamic_slice(padded, (i + radius, j, 0), (1, radius + at_once, channels)).reshape(-1)
        new = row[-size:] - _product(jnp.concatenate([above, row[:-size]]), weights)
        return jax.lax.dynamic_update_slice(padded, new.reshape(1, at_once, channels), (i + radius, j + radius, 0))

    padded = jnp.pad(image, ((radius, 0), (radius, right), (0, 0)))
    padded = jax.lax.fori_loop(0, height * width // at_once, step, padded, unroll=_UNROLL)
    return padded[radius:, radius : radius + width]


def _of_pairs(mask: Mask, weights: Array) -> tuple[Array, Array]:
    """The system of two pixels side by side, divided by what the right one sees of the left one.

    x (I + M) = r - n W for the pair's row x, right-hand side r and neighbours n, where M is the tap of the left pixel
    on the right one; so x = r B - n (W B) with B = I - M, for M M = 0. Returns W B and B.
    """
    radius, channels = mask.radius, weights.shape[1]
    columns = radius + 1 + mask.right
    above = weights[: radius * columns * channels].reshape(radius, columns, channels, channels)
    row = weights[radius * columns * channels :].reshape(radius, channels, channels)
    both = [
        jnp.stack(
            [jnp.pad(above, ((0, 0), (0, 1), (0, 0), (0, 0))), jnp.pad(above, ((0, 0), (1, 0), (0, 0), (0, 0)))], 3
        ),
        jnp.stack([row, jnp.pad(row[:-1], ((1, 0), (0, 0), (0, 0)))], 2),
    ]
    wide = jnp.concatenate([part.reshape(-1, 2 * channels) for part in both])
    within = jnp.eye(2 * channels, dtype=weights.dtype) - jnp.pad(row[-1], ((0, channels), (channels, 0)))
    return _product(wide, within), within


def _by_wavefront(mask: Mask, image: Array, taps: Array) -> Array:
    radius, skew = mask.radius, mask.skew
    height, width, channels = image.shape
    n_steps, before = width + skew * (height - 1), radius * (1 + skew)
    weights = _stacked(taps)
    # pixel (i, j) in row j + skew i of the slanted image; beside the image its zeros must stay
    column = np.arange(n_steps)[:, None] - skew * np.arange(height)
    inside = jnp.asarray((column >= 0) & (column < width), image.dtype)
    wide = jnp.pad(image, ((0, 0), (0, n_steps + skew - width), (0, 0)))
    slanted = wide.reshape(-1, channels)[: height * n_steps].reshape(height, n_steps, channels)
    buffer = jnp.pad(jnp.swapaxes(slanted, 0, 1), ((before, 0), (radius, 0), (0, 0)))

    def part(buffer: Array, t: Array, row: int, column: int) -> Array:
        start = (t + before + column + skew * row, radius + row, 0)
        return jax.lax.dynamic_slice(buffer, start, (1, height, channels))[0]

    def step(t: Array, buffer: Array) -> Array:
        seen = [part(buffer, t, row, column) for row, column in mask.unturned_offsets]
        new = part(buffer, t, 0, 0) - _product(jnp.concatenate(seen, -1), weights)
        return jax.lax.dynamic_update_slice(buffer, (new * inside[t][:, None])[None], (t + before, radius, 0))

    buffer = jax.lax.fori_loop(0, n_steps, step, buffer)
    slanted = jnp.swapaxes(buffer[before:, radius:], 0, 1).reshape(-1, channels)
    wide = jnp.pad(slanted, ((0, height * skew), (0, 0))).reshape(height, n_steps + skew, channels)
    return wide[:, :width]


def _by_row(mask: Mask, image: Array, taps: Array) -> Array:
    radius = mask.radius
    height, width, channels = image.shape
    size = width * channels

    def spread(row: int) -> Array:
        """What the taps of one row of the kernel do to a row of the image, as a matrix."""
        parts = [
            jnp.kron(jnp.eye(width, k=column, dtype=taps.dtype), tap)
            for (here, column), tap in zip(mask.unturned_offsets, taps, strict=True)
            if here == row
        ]
        return functools.reduce(jnp.add, parts)

    eye = jnp.eye(size, dtype=taps.dtype)
    inverse = solve_triangular(spread(0) + eye, eye, lower=True, unit_diagonal=True)
    above = _product(inverse, jnp.concatenate([spread(row) for row in range(-radius, 0)], axis=1))

    def step(before: Array, own: Array) -> tuple[Array, Array]:
        new = own - _product(above, before)
        return jnp.concatenate([before[size:], new]), new

    own = _product(image.reshape(height, size), inverse.T)
    _, rows = jax.lax.scan(step, jnp.zeros(radius * size, image.dtype), own)
    return rows.reshape(image.shape)


ORDERS: dict[str, Callable[[Mask, Array, Array], Array]] = {
    "pixel": _by_pixel,
    "wavefront": _by_wavefront,
    "rows": _by_row,
}
