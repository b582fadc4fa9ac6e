"""Convolutions of images as matrix products: the neighbours of every pixel side by side, and the sum over them.

    stacked(x)[p, (k, c)] = x[p + offset_k, c]          summed(y)[p, c] = sum over k of y[p - offset_k, (k, c)]

Each is the transpose of the other, and JAX is told so: its own transpose of nine slices is a sum of nine padded arrays.
A convolution with few channels on one side is a product next to a stack or a sum on that side, so that no array is
larger than that of the other side by much.

Why not XLA's own convolution: on the CPU it falls back to slow code inside a loop, and training is a loop. Gradient of
a network 2 -> 64 -> 64 -> 4 with kernels 3, 1, 3 on 128 images of 14 x 14, two busy threads: 51 ms alone and 168 in a
loop, 50 and 35 ms by these products; of 6 -> 64 -> 64 -> 12 on 64 images of 16 x 16 30 and 1,136 against 58 and 45.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Offsets = tuple[tuple[int, int], ...]


def square(side: int) -> Offsets:
    """The offsets (rows, columns) of a square kernel of an odd side, row by row."""
    reach = side // 2
    return tuple((i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1))


def im2col(image: Array, offsets: Offsets, *, is_periodic: bool = False) -> Float[Array, "... H W KC"]:
    """The image moved by every offset, stacked along channels.

    Args:
        image: (..., H, W, C).
        offsets: what is put at a pixel stands so many rows below and columns to the right of it.
        is_periodic: whether opposite edges touch; otherwise there are zeros around.
    """
    return _stacked.bind(image, offsets=offsets, is_periodic=is_periodic)


def col2im(image: Array, offsets: Offsets, *, is_periodic: bool = False) -> Float[Array, "... H W C"]:
    """The transpose of `im2col`: every group of C channels moved back by its offset, and their sum.

    Args:
        image: (..., H, W, K C) for K offsets.
        offsets, is_periodic: as for `im2col`.
    """
    return _summed.bind(image, offsets=offsets, is_periodic=is_periodic)


def convolve(image: Array, kernel: Array, *, is_periodic: bool = False) -> Float[Array, "H W out"]:
    """The convolution (cross-correlation) with a square kernel (k, k, in, out) of an odd side.

    Args:
        image: (H, W, in).
        kernel: kernel[i, j] is what the pixel i - k // 2 below and j - k // 2 to the right contributes.
        is_periodic: whether opposite edges touch; otherwise there are zeros around.
    """
    side, _, n_in, n_out = kernel.shape
    if side == 1:
        return image @ kernel[0, 0]
    if n_in <= n_out:
        return im2col(image, square(side), is_periodic=is_periodic) @ kernel.reshape(-1, n_out)
    spread = image @ jnp.transpose(kernel[::-1, ::-1], (2, 0, 1, 3)).reshape(n_in, -1)
    return col2im(spread, square(side), is_periodic=is_periodic)


def _stack(image: Array, offsets: Offsets, is_periodic: bool) -> Array:
    moved = _mover(image, offsets, is_periodic)
    return jnp.concatenate([moved(rows, columns) for rows, columns in offsets], -1)


def _sum(image: Array, offsets: Offsets, is_periodic: bool) -> Array:
    moved, size, total = _mover(image, offsets, is_periodic), image.shape[-1] // len(offsets), None
    for k, (rows, columns) in enumerate(offsets):
        part = moved(-rows, -columns)[..., k * size : (k + 1) * size]
        total = part if total is None else total + part
    return jnp.asarray(total)


def _mover(image: Array, offsets: Offsets, is_periodic: bool) -> Callable[[int, int], Array]:
    """A function of an offset: the image moved by it. It is padded once."""
    *lead, height, width, _ = image.shape
    reach = max(max(abs(rows), abs(columns)) for rows, columns in offsets)
    pads = [(0, 0)] * len(lead) + [(reach, reach), (reach, reach), (0, 0)]
    padded = jnp.pad(image, pads, mode="wrap" if is_periodic else "constant")
    return lambda rows, columns: padded[
        ..., reach + rows : reach + rows + height, reach + columns : reach + columns + width, :
    ]


def _primitive(name: str, fn: Any, transpose: Any, channels: Any) -> Primitive:
    """A linear map of (..., H, W, channels) whose batch joins the leading axes."""
    primitive = Primitive(name)

    def batch(args: Any, axes: Any, **how: Any) -> tuple[Array, int]:
        return primitive.bind(jnp.moveaxis(args[0], axes[0], 0), **how), 0

    def shape(image: Any, *, offsets: Offsets, is_periodic: bool) -> Any:
        return image.update(shape=(*image.shape[:-1], channels(image.shape[-1], len(offsets))))

    primitive.def_impl(fn)
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = batch
    ad.deflinear2(primitive, lambda cotangent, image, **how: [transpose(cotangent, **how)])
    mlir.register_lowering(primitive, mlir.lower_fun(fn, multiple_results=False))
    return primitive


_stacked = _primitive("stacked_neighbours", _stack, col2im, lambda channels, k: channels * k)
_summed = _primitive("summed_neighbours", _sum, im2col, lambda channels, k: channels // k)
