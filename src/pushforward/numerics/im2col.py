"""Convolutions of images as matrix products by im2col and col2im.

    im2col(x)[p, (k, c)] = x[p + offset_k, c]          col2im(y)[p, c] = sum over k of y[p - offset_k, (k, c)]

Each is the transpose of the other. They are primitives with that transpose rule, because JAX would transpose nine
slices to a sum of nine padded arrays. A convolution applies im2col or col2im on its side with fewer channels, so that
no intermediate array is much larger than the other side.

XLA's own convolution is not used: on the CPU it falls back to slow code inside loops, and training is a loop. Gradient
of a network 2 -> 64 -> 64 -> 4 with kernels 3, 1, 3 on 128 images of 14 x 14, two busy threads: 51 ms alone and 168 ms
in a loop, against 50 and 35 ms with these products; of 6 -> 64 -> 64 -> 12 on 64 images of 16 x 16: 30 and 1,136 ms
against 58 and 45 ms.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from pushforward.numerics.flat_product import flat_product

Offsets = tuple[tuple[int, int], ...]


def square(side: int) -> Offsets:
    """The offsets (rows, columns) of a square kernel of an odd side, row by row."""
    reach = side // 2
    return tuple((i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1))


def im2col(image: Array, offsets: Offsets, *, is_periodic: bool = False) -> Float[Array, "... H W KC"]:
    """The image shifted by every offset, concatenated along the channels.

    Args:
        image: (..., H, W, C).
        offsets: (rows down, columns right) from an output pixel to its input pixel.
        is_periodic: whether the padding is periodic; otherwise it is zero.
    """
    return _im2col.bind(image, offsets=offsets, is_periodic=is_periodic)


def col2im(image: Array, offsets: Offsets, *, is_periodic: bool = False) -> Float[Array, "... H W C"]:
    """The transpose of `im2col`: the sum of the groups of C channels, each shifted back by its offset.

    Args:
        image: (..., H, W, K C) for K offsets.
        offsets, is_periodic: as for `im2col`.
    """
    return _col2im.bind(image, offsets=offsets, is_periodic=is_periodic)


def convolve(image: Array, kernel: Array, *, is_periodic: bool = False) -> Float[Array, "H W out"]:
    """The convolution (cross-correlation) with a square kernel (k, k, in, out) of an odd side.

    Args:
        image: (H, W, in).
        kernel: kernel[i, j] multiplies the pixel i - k // 2 below and j - k // 2 to the right.
        is_periodic: whether the padding is periodic; otherwise it is zero.
    """
    side, _, n_in, n_out = kernel.shape
    if side == 1:
        return flat_product(image, kernel[0, 0])
    if n_in <= n_out:
        return flat_product(im2col(image, square(side), is_periodic=is_periodic), kernel.reshape(-1, n_out))
    columns = flat_product(image, jnp.transpose(kernel[::-1, ::-1], (2, 0, 1, 3)).reshape(n_in, -1))
    return col2im(columns, square(side), is_periodic=is_periodic)


def _gather(image: Array, offsets: Offsets, is_periodic: bool) -> Array:
    shifted = _shifts(image, offsets, is_periodic)
    return jnp.concatenate([shifted(rows, columns) for rows, columns in offsets], -1)


def _scatter(image: Array, offsets: Offsets, is_periodic: bool) -> Array:
    shifted, size, total = _shifts(image, offsets, is_periodic), image.shape[-1] // len(offsets), None
    for k, (rows, columns) in enumerate(offsets):
        part = shifted(-rows, -columns)[..., k * size : (k + 1) * size]
        total = part if total is None else total + part
    return jnp.asarray(total)


def _shifts(image: Array, offsets: Offsets, is_periodic: bool) -> Callable[[int, int], Array]:
    """A function from an offset to the shifted image, which is padded once for all offsets."""
    *lead, height, width, _ = image.shape
    reach = max(max(abs(rows), abs(columns)) for rows, columns in offsets)
    pads = [(0, 0)] * len(lead) + [(reach, reach), (reach, reach), (0, 0)]
    padded = jnp.pad(image, pads, mode="wrap" if is_periodic else "constant")
    return lambda rows, columns: padded[
        ..., reach + rows : reach + rows + height, reach + columns : reach + columns + width, :
    ]


def _primitive(name: str, fn: Any, transpose: Any, n_channels: Any) -> Primitive:
    """A linear primitive on (..., H, W, channels); its batching rule adds a leading axis."""
    primitive = Primitive(name)

    def batch(args: Any, axes: Any, **options: Any) -> tuple[Array, int]:
        return primitive.bind(jnp.moveaxis(args[0], axes[0], 0), **options), 0

    def shape(image: Any, *, offsets: Offsets, is_periodic: bool) -> Any:
        return image.update(shape=(*image.shape[:-1], n_channels(image.shape[-1], len(offsets))))

    primitive.def_impl(fn)
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = batch
    ad.deflinear2(primitive, lambda cotangent, image, **options: [transpose(cotangent, **options)])
    mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))
    return primitive


_im2col = _primitive("im2col", _gather, col2im, lambda channels, k: channels * k)
_col2im = _primitive("col2im", _scatter, im2col, lambda channels, k: channels // k)
