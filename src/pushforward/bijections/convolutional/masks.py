"""Masks of masked convolutions: the neighbours before a pixel in a fixed order, which makes the matrix triangular.

The order is row by row; rotations by 90 degrees make it column by column or backwards. Two more rotations give the
opposite order of all H W C entries, because the order of channels is reversed too.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from pushforward.bijections.convolutional.checks import check_kernel_size
from pushforward.numerics.im2col import Offsets

MASKS = ("raster", "quadrant")


@dataclass(frozen=True)
class Mask:
    """The mask of a masked convolution.

    "raster" is the part of a d x d kernel in the rows above the pixel and to the left in its row. "quadrant" is the
    part above and to the left in a kernel of side (d + 1) / 2. Offsets are (rows, columns) from the pixel to its
    neighbour.

    Attributes:
        kind: "raster" or "quadrant".
        kernel_size: d, odd.
        rotation: number of counterclockwise rotations by 90 degrees, 0 to 3, as in `numpy.rot90`.
    """

    kind: str
    kernel_size: int
    rotation: int = 0

    def __post_init__(self) -> None:
        check_kernel_size(self.kernel_size)
        if self.kind not in MASKS:
            raise ValueError(f"mask: expected one of {', '.join(map(repr, MASKS))}, got {self.kind!r}.")
        if self.rotation not in range(4):
            raise ValueError(f"rotation: expected 0, 1, 2 or 3 rotations by 90 degrees, got {self.rotation}.")

    @property
    def radius(self) -> int:
        """Number of rows above and columns to the left in the mask."""
        return (self.kernel_size - 1) // 2

    @property
    def right(self) -> int:
        """Number of columns to the right in the mask, in the rows above."""
        return self.radius if self.kind == "raster" else 0

    @property
    def skew(self) -> int:
        """Pixels (i, j) of equal j + skew i do not depend on each other and are solved for together."""
        return self.right + 1

    @property
    def unrotated_offsets(self) -> Offsets:
        """The offsets for rotation 0, row by row."""
        above = [(row, column) for row in range(-self.radius, 0) for column in range(-self.radius, self.right + 1)]
        return (*above, *((0, column) for column in range(-self.radius, 0)))

    @property
    def offsets(self) -> Offsets:
        """The offsets of the neighbours, in the order of `unrotated_offsets`."""
        offsets = self.unrotated_offsets
        for _ in range(self.rotation):
            offsets = tuple((-column, row) for row, column in offsets)
        return offsets

    @property
    def is_lower(self) -> bool:
        """Whether a channel depends on lower channels of its pixel (otherwise on higher ones)."""
        return self.rotation < 2

    @property
    def opposite(self) -> "Mask":
        """The mask of the opposite order, that of the transposed matrix."""
        return Mask(self.kind, self.kernel_size, (self.rotation + 2) % 4)

    def triangle(self, factor: Array) -> Array:
        """The off-diagonal triangle of a matrix of channels (C, C) in the mask."""
        return jnp.tril(factor, -1) if self.is_lower else jnp.triu(factor, 1)

    def unrotate(self, image: Array) -> Array:
        """An image (H, W, ...) rotated so that the order is row by row."""
        return jnp.rot90(image, -self.rotation)

    def rotate(self, image: Array) -> Array:
        """The inverse of `unrotate`."""
        return jnp.rot90(image, self.rotation)
