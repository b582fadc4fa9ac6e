"""Limits that are built into layers, and how often data run into them: the boxes of splines, the clamps of scales."""

import math
from typing import Any

import numpy as np

from pushforward.core.flow import Flow
from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.layers import Passed, moved_coordinates, own_slopes, passes, transformer_of

BOX, SCALE = "outside the splines' boxes", "saturated scales"
_OUTSIDE = 0.01  # `fit` brings 99.9 % of each column into the box
_STANDARD_ERRORS = 5.0  # with few rows one outlier is no share
# s = b tanh(u / b) lets less than a tenth of the gradient through, 1 - tanh^2, once |s| exceeds 0.95 b.
_NEAR = 0.95
_SATURATED = 0.1
_MAX_POINTS = 256
_MAX_DIM = 1024
_MAX_NUMBERS = 1 << 20


def limit_rows(flow: Flow, rows: np.ndarray, contexts: np.ndarray | None, what: str) -> tuple[list[Row], np.ndarray]:
    """One row for the boxes and one for the scales, where the flow has such layers; and the latents of the rows.

    Args:
        flow: the flow.
        rows: (n, *shape), from which each layer is reached in turn.
        contexts: one, or one for each row, or None.
        what: the rows are, in words.
    """
    boxes, scales, n = [], [], len(rows)
    latents = np.asarray(rows)
    for passed in passes(flow, rows, contexts, inverse=True):
        law = transformer_of(passed.layer.bijection)
        if _box(law) is not None:
            boxes.append(_outside(passed, _box(law)))
        if _clamp(law) is not None and math.prod(flow.shape) <= _MAX_DIM:
            scales.append(_saturated(passed, _clamp(law)))
        latents = passed.images
    found = []
    if boxes:
        found.append(_box_row(*max(boxes, key=lambda part: part[0]), n, what))
    if scales:
        found.append(_scale_row(*max(scales, key=lambda part: part[0]), what))
    return found, latents


def _box(law: Any) -> float | None:
    """The half-width beyond which a scalar bijection is linear: that of a spline, a polynomial, an integral."""
    bound = getattr(law, "bound", None)
    return bound if isinstance(bound, float) else None


def _clamp(law: Any) -> float | None:
    """The bound on the logarithm of a slope, of laws whose slope is that bounded scale and nothing else."""
    has_scale = hasattr(law, "log_scale") or hasattr(law, "log_slope")
    return law.log_bound if has_scale and hasattr(law, "log_bound") else None


def _outside(passed: Passed, bound: Any) -> tuple[float, str]:
    inside = passed.images if passed.layer.turned else passed.given
    values = np.abs(inside.reshape(len(inside), -1))
    share = (values > bound).mean(0) * moved_coordinates(passed.layer.bijection)
    worst = int(share.argmax())
    return float(share[worst]), f"beyond +-{bound:g} in coordinate {worst} of {passed.layer.path}"


def _box_row(share: float, where: str, n: int, what: str) -> Row:
    bound = _OUTSIDE + _STANDARD_ERRORS * math.sqrt(_OUTSIDE * (1 - _OUTSIDE) / n)
    if share <= bound:
        return Row(BOX, share, bound, True, f"Of {n} {what}, in the worst coordinate.")
    words = f"{share:.1%} of {n} {what} at the worst, {where}; there a layer is a straight line and learns nothing."
    return Row(
        BOX, share, bound, False, words, "data lie outside the splines' boxes",
        "Build the flow with a larger bound= and fit it again, or give heavy-tailed columns a heavy-tailed map (a "
        "HeavyTails layer outside, or heavy in the plan of the table).",
    )  # fmt: skip


def _saturated(passed: Passed, bound: Any) -> tuple[float, str]:
    most = max(4, min(_MAX_POINTS, _MAX_NUMBERS // passed.given[0].size ** 2))
    few = Passed(
        passed.layer, passed.given[:most], passed.images[:most], passed.log_dets[:most],
        None if passed.contexts is None else passed.contexts[:most],
    )  # fmt: skip
    batch = max(1, min(64, _MAX_NUMBERS // passed.given[0].size ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_slopes = np.abs(np.log(np.abs(own_slopes(few, batch))))
    share = (log_slopes > _NEAR * bound).mean(0)
    worst = int(share.argmax())
    return float(share[worst]), f"in coordinate {worst} of {passed.layer.path} (log-scales within +-{bound:g})"


def _scale_row(share: float, where: str, what: str) -> Row:
    if share <= _SATURATED:
        return Row(SCALE, share, _SATURATED, True, f"Of some {what}, in the worst coordinate.")
    words = f"At {share:.0%} of the {what} looked at, at the worst, a scale is within 5 % of its bound, {where}."
    return Row(
        SCALE, share, _SATURATED, False, words, "a scale is saturated at its bound",
        "Fit with a Standardise layer outside, as every recipe has it, with more layers or with splines (nsf); raise "
        "log_bound only where so large a scale is meant.",
    )  # fmt: skip
