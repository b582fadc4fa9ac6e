"""Checks of image shapes and kernel sizes."""

from pushforward.errors import ShapeError


def check_image(shape: tuple[int, ...]) -> None:
    """Raise unless the shape is that of an image, (H, W, C)."""
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"shape: expected (height, width, channels), each at least 1, got {tuple(shape)}.")


def check_kernel_size(kernel_size: int) -> None:
    """Raise unless the kernel size is odd and at least 3."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size: expected an odd number from 3 on, got {kernel_size}. Use OneByOne for kernel size 1."
        )
