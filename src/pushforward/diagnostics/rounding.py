"""Rounding errors of a round trip, summed over the layers.

The Jacobian of the whole flow misses a layer that expands what the next one contracts: a rounding error between them is
scaled by only one of the two.
"""

import jax
import numpy as np

from pushforward.core.float64 import in_float64
from pushforward.core.flow import Flow
from pushforward.diagnostics.layers import evaluate_layers, jacobians
from pushforward.diagnostics.points import inverses, times

_BATCH = 16


def rounded_by_layers(flow: Flow, points: np.ndarray, contexts: np.ndarray | None, *, inverse: bool) -> np.ndarray:
    """Sizes (n, D) s, such that rounding can move the points (n, D) by eps s on a round trip.

    With x_k the output of layer k, T_k its Jacobian and B_k that of the way back from x_k, element by element

        |x_0| + sum_k |B_k| (|x_k| + |T_k| |x_(k-1)|)

    Args:
        flow: the flow.
        points: latents, or data if `inverse`.
        contexts: one for each of them, or None.
        inverse: whether the round trip starts at data.
    """
    n, dim = points.shape
    size, back = np.abs(points), np.broadcast_to(np.eye(dim), (n, dim, dim))
    for evaluation in evaluate_layers(flow, points.reshape(n, *flow.shape), contexts, inverse=inverse):
        slopes = np.asarray(jacobians(evaluation, _BATCH, inverse=inverse), np.float64)
        with np.errstate(all="ignore"):
            inverted = inverses(slopes)
            there, step_back = (slopes, inverted) if inverse != evaluation.layer.inverted else (inverted, slopes)
            back = back @ step_back
            inputs, outputs = (np.abs(part.reshape(n, dim)) for part in (evaluation.inputs, evaluation.outputs))
            size = size + times(np.abs(back), outputs + times(np.abs(there), inputs))
    return size


def inner_conditions(flow: Flow, starts: list[np.ndarray], contexts: list[np.ndarray | None]) -> np.ndarray:
    """Condition numbers (n,) without the outermost maps of single coordinates, at sets of latents (m, D), concatenated.

    A column that is bounded or spans many powers of ten has slopes as different as its values. That costs digits of
    that column alone, at its ends.
    """
    conditions = []
    with jax.enable_x64(True):
        wide = in_float64(flow)
        for start, start_contexts in zip(starts, contexts, strict=False):
            n, dim = start.shape
            product, outer, deviation = np.eye(dim), True, _deviations(start)
            evaluations = list(evaluate_layers(wide, start.reshape(n, *flow.shape), start_contexts, inverse=False))
            for part in reversed(evaluations):
                with np.errstate(all="ignore"):
                    slopes = np.asarray(jacobians(part, _BATCH, inverse=False), np.float64)
                    if outer and not (slopes * (1 - np.eye(dim))).any():
                        continue
                    if outer:
                        outer, deviation = False, _deviations(part.outputs.reshape(n, dim))
                    product = product @ (slopes if part.layer.inverted else np.linalg.inv(slopes))
            singular = np.linalg.svd(product * _deviations(start) / deviation[:, None], compute_uv=False)
            with np.errstate(divide="ignore"):
                conditions.append(np.broadcast_to(singular[..., 0] / singular[..., -1], n))
    return np.concatenate(conditions)


def _deviations(points: np.ndarray) -> np.ndarray:
    spread = points.std(0)
    return np.where(spread > 0, spread, 1.0)
