"""What linear layers of images ask of their shapes and kernels."""

from pushforward.errors import ShapeError


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
