"""Modes of a density from its samples, and the share of samples of another density in each."""

from dataclasses import dataclass

import numpy as np

_N_NEAREST = 24
_PROMINENCE = 1.0
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Modes:
    """The modes of a density, the highest first.

    Attributes:
        locations: (k, D), the sample of the highest density in each.
        shares: (k,), the share of the samples that belongs to each.
        points: (n, D), the samples of the density.
        labels: (n,), the mode of each sample.
        scale: (D,), units of distances.
    """

    locations: np.ndarray
    shares: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    scale: np.ndarray

    def shares_of(self, samples: np.ndarray) -> np.ndarray:
        """(k,) share of the rows of samples (m, D) whose nearest point belongs to each mode."""
        from scipy.spatial import KDTree

        _, nearest = KDTree(self.points / self.scale).query(samples / self.scale)
        return np.bincount(self.labels[nearest], minlength=len(self.locations)) / len(samples)


def find_modes(
    points: np.ndarray, log_density: np.ndarray, *, prominence: float = _PROMINENCE, least_share: float = _LEAST_SHARE
) -> Modes:
    """Modes by persistence: peaks that rise by `prominence` nats over the highest pass to a higher one.

    The samples are the nodes of a graph of nearest neighbours. In order of falling density, each sample joins the basin
    of its highest neighbour. Where two basins meet, the lower one is merged into the higher, unless its peak is
    prominent. Samples of basins with less than `least_share` of all join the basin of the nearest sample of a larger
    one.

    Args:
        points: (n, D) samples of the density.
        log_density: (n,) their log-densities in nats, up to a constant.
        prominence: nats by which a mode must rise over the pass.
        least_share: least share of the samples in a mode.

    Cost: O(n log n) in few dimensions, O(n^2) in many.

    Reference: Chazal, Guibas, Oudot & Skraba 2013 (ToMATo), section 3, here with the exact density.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(2000, 1)) + np.repeat([-4.0, 4.0], 1000)[:, None]
        >>> modes = find_modes(x, np.logaddexp(-0.5 * (x[:, 0] - 4) ** 2, -0.5 * (x[:, 0] + 4) ** 2))
        >>> print(len(modes.locations), modes.shares)
        2 [0.5 0.5]
    """
    from scipy.spatial import KDTree

    points, log_density = np.asarray(points, np.float64), np.asarray(log_density, np.float64)
    n = len(points)
    scale = np.maximum(np.quantile(points, 0.75, 0) - np.quantile(points, 0.25, 0), 1e-12 * np.ptp(points, 0))
    scale = np.where(scale > 0, scale, 1.0)
    tree = KDTree(points / scale)
    _, nearest = tree.query(points / scale, k=min(_N_NEAREST + 1, n))
    nearest = nearest.reshape(n, -1)[:, 1:]
    basin = _basins(nearest, log_density, prominence)
    basin = _merge_small(points / scale, basin, least_share)
    peaks, labels = np.unique(basin, return_inverse=True)
    highest = np.argsort(-log_density[peaks], kind="stable")
    rank = np.empty_like(highest)
    rank[highest] = np.arange(len(highest))
    labels = rank[labels]
    return Modes(points[peaks[highest]], np.bincount(labels) / n, points, labels, scale)


def _basins(nearest: np.ndarray, log_density: np.ndarray, prominence: float) -> np.ndarray:
    """(n,) for each sample the index of the peak of its basin."""
    n = len(log_density)
    order = np.argsort(-log_density, kind="stable")
    rank = np.argsort(order).tolist()
    height = log_density.tolist()
    mutual: list[list[int]] = nearest.tolist()
    for i, row in enumerate(nearest.tolist()):
        for j in row:
            mutual[j].append(i)
    parent = list(range(n))  # a forest; the root of a basin is its peak

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i in order.tolist():
        higher = [j for j in mutual[i] if rank[j] < rank[i]]
        if not higher:
            continue
        parent[i] = root(min(higher, key=lambda j: rank[j]))
        for j in higher:  # basins that meet here
            a, b = root(i), root(j)
            low, high = (a, b) if rank[a] > rank[b] else (b, a)
            if low != high and height[low] < height[i] + prominence:
                parent[low] = high
    return np.array([root(i) for i in range(n)])


def _merge_small(points: np.ndarray, basin: np.ndarray, least_share: float) -> np.ndarray:
    """The basins (n,), where samples of too small basins have joined that of the nearest sample of a larger one."""
    from scipy.spatial import KDTree

    _, labels, counts = np.unique(basin, return_inverse=True, return_counts=True)
    large = counts >= least_share * len(basin)
    if not large.any():
        large[np.argmax(counts)] = True
    in_large = large[labels]
    if in_large.all():
        return basin
    _, nearest = KDTree(points[in_large]).query(points[~in_large])
    basin = basin.copy()
    basin[~in_large] = basin[in_large][nearest]
    return basin
