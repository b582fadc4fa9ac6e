"""Plot of many small images on one sheet."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import DataError, ShapeError
from pushforward.reporting.plots.canvas import blank, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 7.2  # inches


def image_grid(images: Any, *, levels: int = 256, columns: int = 8) -> "Figure":
    """Images side by side, row after row, every pixel a sharp square.

    Args:
        images: (n, H, W, C) whole numbers from 0 to levels - 1; C is 1 (grey) or 3 (red, green, blue).
        levels: number of levels: 0 is black, levels - 1 is white.
        columns: images in a row. Unused positions stay empty, so that fewer images are drawn at the same scale.

    Returns:
        The figure.

    Raises:
        ShapeError: no image, or another shape.
        DataError: a number outside the levels.

    >>> import numpy as np
    >>> len(image_grid(np.zeros((3, 4, 4, 1))).axes)
    1
    """
    pixels = np.asarray(images, np.float64)
    if pixels.ndim != 4 or not pixels.size or pixels.shape[3] not in (1, 3):
        raise ShapeError(f"images: expected shape (n, H, W, C) with n >= 1 and C of 1 or 3, got {pixels.shape}.")
    if not ((pixels >= 0) & (pixels <= levels - 1)).all():
        raise DataError(
            f"expected numbers from 0 to {levels - 1}, got {pixels.min():g} to {pixels.max():g}. Round or clip "
            "them, or pass levels=.",
            "images",
        )
    count, height, width, _ = pixels.shape
    lines, gap = -(-count // columns), max(1, width // 16)
    sheet = np.zeros((lines * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)  # transparent gaps
    for index, image in enumerate(np.round(255 * pixels / (levels - 1)).astype(np.uint8)):
        top, left = (height + gap) * (index // columns), (width + gap) * (index % columns)
        sheet[top : top + height, left : left + width, :3] = np.broadcast_to(image, (height, width, 3))
        sheet[top : top + height, left : left + width, 3] = 255
    with style():
        figure = blank(_WIDTH, _WIDTH * sheet.shape[0] / sheet.shape[1], layout=None)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.imshow(sheet, interpolation="none", aspect="auto")
        return figure
