"""Which neighbours a masked convolution sees: those before the pixel in a fixed order, which makes it triangular.

The order runs row by row; quarter turns run it along columns and backwards. Two quarter turns more give the opposite
order of all H W C numbers, for the order of channels is reversed with it.
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

    "raster" lets a d x d kernel see whole rows above the pixel and, in its row, what is left of it. "quadrant" lets a
    kernel of side (d + 1) / 2 see what is above and left. Offsets are (rows, columns) from the pixel to its neighbour.

    Attributes:
        kind: "raster" or "quadrant".
        kernel_size: d, odd.
        rotation: quarter turns, 0 to 3, counterclockwise as of `numpy.rot90`.
    """

    kind: str
    kernel_size: int
    rotation: int = 0

    def __post_init__(self) -> None:
        check_kernel_size(self.kernel_size)
        if self.kind not in MASKS:
            raise ValueError(f"mask: expected one of {', '.join(map(repr, MASKS))}, got {self.kind!r}.")
        if self.rotation not in range(4):
            raise ValueError(f"rotation: expected 0, 1, 2 or 3 quarter turns, got {self.rotation}.")

    @property
    def radius(self) -> int:
        """How many rows up and columns to the left the mask reaches."""
        return (self.kernel_size - 1) // 2

    @property
    def right(self) -> int:
        """How many columns to the right it reaches, in rows above."""
        return self.radius if self.kind == "raster" else 0

    @property
    def skew(self) -> int:
        """The pixels (i, j) of equal j + skew i do not see each other: they are solved for at a time."""
        return self.right + 1

    @property
    def unturned_offsets(self) -> Offsets:
        """Those of rotation 0, row by row."""
        above = [(row, column) for row in range(-self.radius, 0) for column in range(-self.radius, self.right + 1)]
        return (*above, *((0, column) for column in range(-self.radius, 0)))

    @property
    def offsets(self) -> Offsets:
        """The neighbours that are seen, in the order of `unturned_offsets`."""
        offsets = self.unturned_offsets
        for _ in range(self.rotation):
            offsets = tuple((-column, row) for row, column in offsets)
        return offsets

    @property
    def is_lower(self) -> bool:
        """Whether a channel of the pixel itself sees those of lower number, or those of higher."""
        return self.rotation < 2

    @property
    def opposite(self) -> "Mask":
        """The mask of the opposite order, which is also that of the transposed matrix."""
        return Mask(self.kind, self.kernel_size, (self.rotation + 2) % 4)

    def triangle(self, factor: Array) -> Array:
        """The off-diagonal triangle of a matrix of channels (C, C) that is read."""
        return jnp.tril(factor, -1) if self.is_lower else jnp.triu(factor, 1)

    def unturned(self, image: Array) -> Array:
        """An image (H, W, ...) turned so that the order runs row by row."""
        return jnp.rot90(image, -self.rotation)

    def turned(self, image: Array) -> Array:
        """Undoes `unturned`."""
        return jnp.rot90(image, self.rotation)
