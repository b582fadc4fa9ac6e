"""What rounding can do to a round trip, added up over the layers.

The Jacobian of the whole flow is blind to a layer that expands what the next one contracts: rounding in between is
carried by the layers on its own side alone.
"""

import numpy as np

from pushforward.diagnostics.layers import jacobians, passes
from pushforward.flow import Flow

_BATCH = 16


def rounded_by_layers(flow: Flow, points: np.ndarray, contexts: np.ndarray | None, *, inverse: bool) -> np.ndarray:
    """Sizes (n, D) whose eps-th parts rounding can add to the points (n, D) on their way there and back.

    With x_k behind layer k, T_k the Jacobian of that layer and B_k the one of the way back from x_k, element by element

        |x_0| + sum_k |B_k| (|x_k| + |T_k| |x_(k-1)|)

    Args:
        flow: the flow.
        points: latents, or rows of data if `inverse`.
        contexts: one for each of them, or None.
        inverse: the way there leads from data to the base.
    """
    n, dim = points.shape
    size, back = np.abs(points), np.broadcast_to(np.eye(dim), (n, dim, dim))
    for passed in passes(flow, points.reshape(n, *flow.shape), contexts, inverse=inverse):
        slopes = np.asarray(jacobians(passed, _BATCH, inverse=inverse), np.float64)
        with np.errstate(all="ignore"):
            inverted = np.full_like(slopes, np.inf)
            regular = np.isfinite(slopes).all((1, 2)) & (np.linalg.slogdet(np.nan_to_num(slopes))[0] != 0)
            inverted[regular] = np.linalg.inv(slopes[regular])
            there, step_back = (slopes, inverted) if inverse != passed.layer.turned else (inverted, slopes)
            back = back @ step_back
            moved = np.abs(passed.images.reshape(n, dim)) + _times(np.abs(there), np.abs(passed.given.reshape(n, dim)))
            size = size + _times(np.abs(back), moved)
    return size


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nj->ni", matrices, vectors)
