"""What rounding can do to a round trip, added up over the layers.

The Jacobian of the whole flow is blind to a layer that expands what the next one contracts: rounding in between is
carried by the layers on its own side alone.
"""

from typing import Any

import jax
import numpy as np

from pushforward.core.fields import cast
from pushforward.core.flow import Flow
from pushforward.diagnostics.layers import jacobians, passes
from pushforward.diagnostics.points import inverses, times

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
            inverted = inverses(slopes)
            there, step_back = (slopes, inverted) if inverse != passed.layer.turned else (inverted, slopes)
            back = back @ step_back
            moved = np.abs(passed.images.reshape(n, dim)) + times(np.abs(there), np.abs(passed.given.reshape(n, dim)))
            size = size + times(np.abs(back), moved)
    return size


def inner_conditions(flow: Flow, starts: list[np.ndarray], contexts: list[np.ndarray | None]) -> np.ndarray:
    """Condition numbers (n,) without the outermost maps of single coordinates: those of latents, set after set.

    A column that is bounded or spans many powers of ten has slopes as different as its values. That costs digits of
    that column alone, at its ends, and no other one.
    """
    found = []
    with jax.enable_x64(True):
        wide: Any = cast(flow, np.float64)
        for start, given in zip(starts, contexts, strict=False):
            n, dim = start.shape
            whole, outer, deviation = np.eye(dim), True, _deviations(start)
            passed = list(passes(wide, start.reshape(n, *flow.shape), given, inverse=False))
            for part in reversed(passed):
                with np.errstate(all="ignore"):
                    slopes = np.asarray(jacobians(part, _BATCH, inverse=False), np.float64)
                    if outer and not (slopes * (1 - np.eye(dim))).any():
                        continue
                    if outer:
                        outer, deviation = False, _deviations(part.images.reshape(n, dim))
                    whole = whole @ (slopes if part.layer.turned else np.linalg.inv(slopes))
            singular = np.linalg.svd(whole * _deviations(start) / deviation[:, None], compute_uv=False)
            with np.errstate(divide="ignore"):
                found.append(np.broadcast_to(singular[..., 0] / singular[..., -1], n))
    return np.concatenate(found)


def _deviations(points: np.ndarray) -> np.ndarray:
    spread = points.std(0)
    return np.where(spread > 0, spread, 1.0)
