"""The Gaussian beside a flow of images: one that a pixel which is nearly always black cannot make absurd."""

import math

import numpy as np

_RIDGES = np.geomspace(1e-2, 1e4, 25)  # squared levels
_NEGLIGIBLE = 1e-9  # of the largest variance


def gaussian_floor(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Mean log-density of validation and test images under N(m, S + r I), r being the best on the validation images.

    m and S are the moments of the training images. Without r, an image with light where the training images have
    none, or fewer images than numbers in one, gives a density next to nothing.

    Args:
        train, validation, test: (n, H, W, C) images as the flow's density sees them, their levels filled with noise.

    Cost: the eigenvectors of a matrix of as many rows as an image has numbers, or as there are images, if fewer.
    """
    centre = train.mean(0)
    rows, *held = ((part - centre).reshape(len(part), -1) for part in (train, validation, test))
    count, dim = rows.shape
    if count < dim:
        variances, mixes = np.linalg.eigh(rows @ rows.T / count)
        kept = variances > _NEGLIGIBLE * variances[-1]
        variances, axes = variances[kept], rows.T @ mixes[:, kept] / np.sqrt(count * variances[kept])
    else:
        variances, axes = np.linalg.eigh(rows.T @ rows / count)
        kept = variances > _NEGLIGIBLE * variances[-1]
        variances, axes = variances[kept], axes[:, kept]
    means = []
    for part in held:
        along = np.mean((part @ axes) ** 2, axis=0)
        beside = max(float(np.mean(np.sum(part**2, axis=1)) - along.sum()), 0.0)
        spread = variances + _RIDGES[:, None]
        log_det = np.log(spread).sum(1) + (dim - len(variances)) * np.log(_RIDGES)
        squares = (along / spread).sum(1) + beside / _RIDGES
        means.append(-0.5 * (squares + log_det + dim * math.log(2 * math.pi)))
    best = int(np.argmax(means[0]))
    return float(means[0][best]), float(means[1][best])
