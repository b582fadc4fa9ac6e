"""Which coordinates a coupling layer transforms: masks, True where the coordinate is transformed."""

import numpy as np

from pushforward.errors import ShapeError


def halves(dim: int) -> np.ndarray:
    """The first ceil(D / 2) coordinates (Dinh, Krueger & Bengio 2015): shape (D,).

    Example:
        >>> from pushforward.bijections import halves
        >>> print(halves(3).astype(int))
        [1 1 0]
    """
    return np.arange(dim) < (dim + 1) // 2


def alternating(dim: int) -> np.ndarray:
    """Every second coordinate, the first included: shape (D,).

    Example:
        >>> from pushforward.bijections import alternating
        >>> print(alternating(5).astype(int))
        [1 0 1 0 1]
    """
    return np.arange(dim) % 2 == 0


def random_half(dim: int, *, seed: int) -> np.ndarray:
    """ceil(D / 2) coordinates drawn at random: shape (D,).

    Example:
        >>> from pushforward.bijections import random_half
        >>> print(random_half(5, seed=0).sum())
        3
    """
    return np.random.default_rng(seed).permutation(halves(dim))


def checkerboard(shape: tuple[int, ...]) -> np.ndarray:
    """Pixels whose row and column sum to an even number, in all channels; `shape` is (H, W, C) or (H, W).

    Example (Dinh, Sohl-Dickstein & Bengio 2017, figure 3):
        >>> from pushforward.bijections import checkerboard
        >>> print(checkerboard((2, 3)).astype(int))
        [[1 0 1]
         [0 1 0]]
    """
    if len(shape) not in (2, 3):
        raise ShapeError(f"shape: expected (H, W) or (H, W, C), got {shape}.")
    rows, columns = np.indices(shape)[:2]
    return (rows + columns) % 2 == 0


def channel_wise(shape: tuple[int, ...]) -> np.ndarray:
    """The first ceil(C / 2) channels of shape (..., C).

    Example:
        >>> from pushforward.bijections import channel_wise
        >>> print(channel_wise((1, 1, 3)).astype(int))
        [[[1 1 0]]]
    """
    return np.broadcast_to(halves(shape[-1]), shape)
