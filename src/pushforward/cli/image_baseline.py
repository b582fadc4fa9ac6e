"""Gaussian baseline for a flow of images, with a ridge that keeps nearly constant pixels harmless."""

import math

import numpy as np

_RIDGES = np.geomspace(1e-2, 1e4, 25)  # squared levels
_NEGLIGIBLE = 1e-9  # as a share of the largest variance


def gaussian_baseline(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Mean log-density of validation and test images under N(m, S + r I), with the r that is best on validation images.

    m and S are the moments of the training images. Without r the density nearly vanishes for an image with light where
    all training images are black, and if there are fewer images than numbers in one.

    Args:
        train, validation, test: (n, H, W, C) dequantised images, as the flow's density gets them.

    Cost: the eigenvectors of a matrix of size min(n, H W C).
    """
    centre = train.mean(0)
    rows, *evaluated = ((images - centre).reshape(len(images), -1) for images in (train, validation, test))
    count, dim = rows.shape
    if count < dim:
        variances, vectors = np.linalg.eigh(rows @ rows.T / count)
        is_large = variances > _NEGLIGIBLE * variances[-1]
        variances, axes = variances[is_large], rows.T @ vectors[:, is_large] / np.sqrt(count * variances[is_large])
    else:
        variances, axes = np.linalg.eigh(rows.T @ rows / count)
        is_large = variances > _NEGLIGIBLE * variances[-1]
        variances, axes = variances[is_large], axes[:, is_large]
    means = []
    for images in evaluated:
        squares_within = np.mean((images @ axes) ** 2, axis=0)
        square_outside = max(float(np.mean(np.sum(images**2, axis=1)) - squares_within.sum()), 0.0)
        ridged = variances + _RIDGES[:, None]
        log_det = np.log(ridged).sum(1) + (dim - len(variances)) * np.log(_RIDGES)
        mahalanobis = (squares_within / ridged).sum(1) + square_outside / _RIDGES
        means.append(-0.5 * (mahalanobis + log_det + dim * math.log(2 * math.pi)))
    best = int(np.argmax(means[0]))
    return float(means[0][best]), float(means[1][best])
