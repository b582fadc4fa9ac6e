"""Whether rows lie on a curve or a surface on which the flow's samples do not lie.

The nearest neighbours of a row fill an ellipsoid whose shortest half-axis is the local thickness. On a curve or surface
it falls with the square of the neighbours' distance: rows of fewer dimensions than columns are far thinner than
samples, which have a density.
"""

import math

import numpy as np

from pushforward.diagnostics.calibration import spread
from pushforward.diagnostics.row import Row, bounded_row

NAME = "dimension of the rows"
MOST_DIM = 16
_MOST_ROWS, _FEWEST = 2048, 200
_FACTOR = 2.0
_STANDARD_ERRORS = 6.0
_TIES = 0.5
_LEAST = 1e-7


def thickness_row(x: np.ndarray, samples: np.ndarray, random: np.random.Generator) -> Row:
    """Median thickness of as many samples (m, D) over that of rows x (n, D), as a factor."""
    continuous = [column for column in range(x.shape[1]) if len(np.unique(x[:, column])) > _TIES * len(x)]
    if not 2 <= len(continuous) <= MOST_DIM:
        return Row(NAME, None, None, None, f"Tested for 2 to {MOST_DIM} columns whose values do not repeat.")
    size = min(len(x), len(samples), _MOST_ROWS)
    if size < _FEWEST:
        return Row(NAME, None, None, None, f"{size} rows are too few for their neighbours; {_FEWEST} would do.")
    centre, unit = spread(samples[:, continuous])
    thickness, sample_thickness = (
        _log_thickness((part[random.permutation(len(part))[:size]][:, continuous] - centre) / unit)
        for part in (x, samples)
    )
    gap = float(np.median(sample_thickness) - np.median(thickness))
    # neighbourhoods overlap: the effective number of rows is smaller
    n_effective = size / (len(continuous) + 3)
    error = 1.2533 * math.hypot(*(part.std() for part in (thickness, sample_thickness))) / math.sqrt(n_effective)
    value, bound = math.exp(min(max(gap, 0.0), 50.0)), math.exp(max(math.log(_FACTOR), _STANDARD_ERRORS * error))
    return bounded_row(
        NAME, value, bound, f"In the median {value:.2g} times as thin as samples.",
        f"Among their neighbours rows are {value:.3g} times as thin as the flow's samples: they lie nearly on a curve "
        f"or surface, of fewer dimensions than the {len(continuous)} columns.",
        "the rows lie on a curve or surface, where no density is right",
        "The likelihood is unbounded there: leave out columns that others determine, or model coordinates of the curve "
        "or surface.",
        finding="Some columns are, nearly, determined by others: the rows lie on a curve or surface, where scores are "
        "without bound.",
        advice="Leave out columns that others determine (--exclude).",
    )  # fmt: skip


def _log_thickness(points: np.ndarray) -> np.ndarray:
    """Logarithms of the smallest singular values of neighbourhoods (n,), of D + 2 neighbours each."""
    from scipy.spatial import KDTree

    dim = points.shape[1]
    _, nearest = KDTree(points).query(points, k=dim + 3)
    neighbourhoods = points[nearest]
    neighbourhoods = neighbourhoods - neighbourhoods.mean(1, keepdims=True)
    return np.log(np.maximum(np.linalg.svd(neighbourhoods, compute_uv=False)[:, -1], _LEAST))
