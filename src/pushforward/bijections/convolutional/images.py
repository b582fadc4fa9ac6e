"""What linear layers of images share: their shape, and a convolution with zeros around."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.errors import ShapeError

Offsets = tuple[tuple[int, int], ...]


def check_image(shape: tuple[int, ...]) -> None:
    """Refuse what is no shape (H, W, C) of an image."""
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"shape: expected (height, width, channels), each at least 1, got {tuple(shape)}.")


def check_kernel_size(kernel_size: int) -> None:
    """Refuse a side without a centre."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size: expected an odd number from 3 on, got {kernel_size}. OneByOne is the kernel of size 1."
        )


def convolve(image: Array, taps: Array, offsets: Offsets) -> Float[Array, "H W C"]:
    """out[p] = sum_k taps[k] image[p + offsets[k]], zeros around: the neighbours of a pixel beside each other along
    channels, and one matrix product. XLA's own convolution takes longer on a CPU (`benchmarks/convolutions.py`).

    Args:
        image: (H, W, C).
        taps: (K, C, C).
        offsets: (rows, columns) from a pixel to its neighbour, K of them.
    """
    height, width, _ = image.shape
    reach = max(max(abs(row), abs(column)) for row, column in offsets)
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    beside = [padded[reach + row :][:height, reach + column :][:, :width] for row, column in offsets]
    return jnp.concatenate(beside, -1) @ jnp.swapaxes(taps, 1, 2).reshape(-1, taps.shape[1])
