"""Whether rows lie on a curve or a surface on which the flow's samples do not lie.

Around a row, its nearest neighbours fill an ellipsoid whose shortest half-axis is the thickness of the rows there. On a
curve or surface it falls with the square of the neighbours' distance: rows of fewer dimensions than columns are far
thinner than samples, which have a density.
"""

import math

import numpy as np

from pushforward.diagnostics.calibration import spread
from pushforward.diagnostics.certificate import Row

NAME = "dimension of the rows"
MOST_DIM = 16
_MOST_ROWS, _FEWEST = 2048, 200
_FACTOR = 2.0
_STANDARD_ERRORS = 6.0
_TIES = 0.5
_FLOOR = 1e-7


def thickness_row(x: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> Row:
    """How much thinner rows x (n, D) are than as many samples (m, D), in the median, as a factor."""
    own = [column for column in range(x.shape[1]) if len(np.unique(x[:, column])) > _TIES * len(x)]
    if not 2 <= len(own) <= MOST_DIM:
        return Row(NAME, None, None, None, f"Tested of 2 to {MOST_DIM} columns whose values do not repeat.")
    size = min(len(x), len(drawn), _MOST_ROWS)
    if size < _FEWEST:
        return Row(NAME, None, None, None, f"{size} rows are too few for their neighbours; {_FEWEST} would do.")
    centre, unit = spread(drawn[:, own])
    mine, theirs = (
        _log_thickness((part[random.permutation(len(part))[:size]][:, own] - centre) / unit) for part in (x, drawn)
    )
    gap = float(np.median(theirs) - np.median(mine))
    # neighbourhoods overlap, so that about one row in so many counts
    n_alone = size / (len(own) + 3)
    error = 1.2533 * math.hypot(*(part.std() for part in (mine, theirs))) / math.sqrt(n_alone)
    value, bound = math.exp(min(max(gap, 0.0), 50.0)), math.exp(max(math.log(_FACTOR), _STANDARD_ERRORS * error))
    if value <= bound:
        return Row(NAME, value, bound, True, f"In the median {value:.2g} times as thin as samples.")
    return Row(
        NAME, value, bound, False,
        f"Among their neighbours rows are {value:.3g} times as thin as the flow's samples: they lie nearly on a curve "
        f"or surface, of fewer dimensions than the {len(own)} columns.",
        "the rows lie on a curve or surface, where no density is right",
        "The likelihood has no bound there: leave out columns that others determine, or model coordinates of the curve "
        "or surface.",
    )  # fmt: skip


def _log_thickness(points: np.ndarray) -> np.ndarray:
    """Logarithms of the smallest singular values of neighbourhoods (n,), of D + 2 neighbours each."""
    from scipy.spatial import KDTree

    dim = points.shape[1]
    _, nearest = KDTree(points).query(points, k=dim + 3)
    around = points[nearest]
    around = around - around.mean(1, keepdims=True)
    return np.log(np.maximum(np.linalg.svd(around, compute_uv=False)[:, -1], _FLOOR))
