"""Modes of a density, found among its own samples, and how often samples of another density fall into each."""

from dataclasses import dataclass

import numpy as np

_NEIGHBOURS = 24
_PROMINENCE = 1.0
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Modes:
    """The modes of a density, the highest first.

    Attributes:
        places: (k, D), the sample of the highest density in each.
        shares: (k,), the share of the samples that belongs to each.
        points: (n, D) the samples they were found among, and `labels` (n,) the mode of each.
        labels: as said there.
        scale: (D,) units in which distances are taken.
    """

    places: np.ndarray
    shares: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    scale: np.ndarray

    def shares_of(self, samples: np.ndarray) -> np.ndarray:
        """(k,) share of the rows of samples (m, D) whose nearest point belongs to each mode."""
        from scipy.spatial import KDTree

        _, nearest = KDTree(self.points / self.scale).query(samples / self.scale)
        return np.bincount(self.labels[nearest], minlength=len(self.places)) / len(samples)


def find_modes(
    points: np.ndarray, log_density: np.ndarray, *, prominence: float = _PROMINENCE, least_share: float = _LEAST_SHARE
) -> Modes:
    """Modes by persistence: peaks that rise by `prominence` nats over the highest pass to a higher one.

    The samples are the nodes of a graph of nearest neighbours. They are taken in falling order of density; each joins
    the basin of its highest neighbour, and where basins meet, the one whose peak is lower ends there, unless it stands
    out. Basins with less than `least_share` of the samples go to that of the nearest sample outside.

    Args:
        points: (n, D) samples of the density.
        log_density: (n,) their log-densities in nats, up to a constant.
        prominence: nats by which a mode must rise over the pass.
        least_share: share of the samples that a mode must hold.

    Cost: O(n log n) in few dimensions, O(n^2) in many.

    Reference: Chazal, Guibas, Oudot & Skraba 2013 (ToMATo), section 3, here with the exact density.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(2000, 1)) + np.repeat([-4.0, 4.0], 1000)[:, None]
        >>> found = find_modes(x, np.logaddexp(-0.5 * (x[:, 0] - 4) ** 2, -0.5 * (x[:, 0] + 4) ** 2))
        >>> print(len(found.places), found.shares)
        2 [0.5 0.5]
    """
    from scipy.spatial import KDTree

    points, log_density = np.asarray(points, np.float64), np.asarray(log_density, np.float64)
    n = len(points)
    scale = np.maximum(np.quantile(points, 0.75, 0) - np.quantile(points, 0.25, 0), 1e-12 * np.ptp(points, 0))
    scale = np.where(scale > 0, scale, 1.0)
    tree = KDTree(points / scale)
    _, neighbours = tree.query(points / scale, k=min(_NEIGHBOURS + 1, n))
    neighbours = neighbours.reshape(n, -1)[:, 1:]
    basin = _basins(neighbours, log_density, prominence)
    basin = _joined(points / scale, basin, least_share)
    peaks, labels = np.unique(basin, return_inverse=True)
    highest = np.argsort(-log_density[peaks], kind="stable")
    place = np.empty_like(highest)
    place[highest] = np.arange(len(highest))
    labels = place[labels]
    return Modes(points[peaks[highest]], np.bincount(labels) / n, points, labels, scale)


def _basins(neighbours: np.ndarray, log_density: np.ndarray, prominence: float) -> np.ndarray:
    """(n,) for each sample the index of the peak of its basin."""
    n = len(log_density)
    order = np.argsort(-log_density, kind="stable")
    rank = np.argsort(order).tolist()
    height = log_density.tolist()
    mutual: list[list[int]] = neighbours.tolist()
    for i, row in enumerate(neighbours.tolist()):
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
            mine, other = root(i), root(j)
            low, high = (mine, other) if rank[mine] > rank[other] else (other, mine)
            if low != high and height[low] < height[i] + prominence:
                parent[low] = high
    return np.array([root(i) for i in range(n)])


def _joined(points: np.ndarray, basin: np.ndarray, least_share: float) -> np.ndarray:
    """Basins that hold too few samples, given to that of the nearest sample of a larger one."""
    from scipy.spatial import KDTree

    _, labels, counts = np.unique(basin, return_inverse=True, return_counts=True)
    large = counts >= least_share * len(basin)
    if not large.any():
        large[np.argmax(counts)] = True
    kept = large[labels]
    if kept.all():
        return basin
    _, nearest = KDTree(points[kept]).query(points[~kept])
    basin = basin.copy()
    basin[~kept] = basin[kept][nearest]
    return basin
