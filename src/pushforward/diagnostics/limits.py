"""How often data reach the limits of layers: the boxes of splines and the bounds of scales."""

import math
from typing import Any

import numpy as np

from pushforward.core.flow import Flow
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.layers import (
    LayerEvaluation,
    diagonal_slopes,
    evaluate_layers,
    transformed_coordinates,
    transformer_of,
)
from pushforward.diagnostics.row import Row, bounded_row

BOX, SCALE = "outside the splines' boxes", "saturated scales"
_SHARE_OUTSIDE = 0.01  # `fit` brings 99.9 % of each column into the box
_STANDARD_ERRORS = 5.0  # with few rows one outlier is no share
# s = b tanh(u / b) lets less than a tenth of the gradient through, 1 - tanh^2, once |s| exceeds 0.95 b.
_NEAR = 0.95
_SATURATED = 0.1
_MAX_POINTS = 256
_MAX_DIM = 1024
_MAX_NUMBERS = 1 << 20


def limit_rows(
    flow: Flow, rows: np.ndarray, contexts: np.ndarray | None, what: str, columns: Columns
) -> tuple[list[Row], np.ndarray]:
    """One row for the boxes and one for the scales, where the flow has such layers; and the latents of the rows.

    Args:
        flow: the flow.
        rows: (n, *shape).
        contexts: one, or one for each row, or None.
        what: what the rows are, such as "samples".
        columns: their names.
    """
    boxes, scales, n = [], [], len(rows)
    latents = np.asarray(rows)
    for evaluation in evaluate_layers(flow, rows, contexts, inverse=True):
        transformer = transformer_of(evaluation.layer.bijection)
        bound = getattr(transformer, "bound", None)  # of a chain each part has other inputs
        if bound is not None:
            boxes.append(_share_outside(evaluation, bound))
        if _log_scale_bound(transformer) is not None and math.prod(flow.shape) <= _MAX_DIM:
            scales.append(_share_saturated(evaluation, _log_scale_bound(transformer)))
        latents = evaluation.outputs
    results = []
    if boxes:
        results.append(_box_row(*max(boxes, key=lambda part: part[0]), n, what, np.reshape(rows, (n, -1)), columns))
    if scales:
        results.append(_scale_row(*max(scales, key=lambda part: part[0]), what, np.reshape(rows, (n, -1)), columns))
    return results, latents


def _log_scale_bound(transformer: Any) -> float | None:
    """The bound on the logarithm of the slope, of a transformer whose slope is a bounded scale and nothing else."""
    has_scale = hasattr(transformer, "log_scale") or hasattr(transformer, "log_slope")
    return transformer.log_bound if has_scale and hasattr(transformer, "log_bound") else None


def _share_outside(evaluation: LayerEvaluation, bound: float) -> tuple[float, str, np.ndarray]:
    points = evaluation.outputs if evaluation.layer.inverted else evaluation.inputs
    values = points.reshape(len(points), -1)
    share = (np.abs(values) > bound).mean(0) * transformed_coordinates(evaluation.layer.bijection)
    worst = int(share.argmax())
    return float(share[worst]), f"beyond +-{bound:g} in coordinate {worst} of {evaluation.layer.path}", values[:, worst]


def _box_row(
    share: float, where: str, values: np.ndarray, n: int, what: str, rows: np.ndarray, columns: Columns
) -> Row:
    bound = _SHARE_OUTSIDE + _STANDARD_ERRORS * math.sqrt(_SHARE_OUTSIDE * (1 - _SHARE_OUTSIDE) / n)
    message = f"{share:.1%} of {n} {what} at the worst, {where}; there the layer is linear and learns nothing."
    related, column = columns.most_related(values, rows) if share > bound else ("", 0)
    return bounded_row(
        BOX, share, bound, f"Of {n} {what}, in the worst coordinate.", message, "data lie outside the splines' boxes",
        "Build the flow with a larger bound= and fit it again, or give heavy-tailed columns a heavy-tailed map (a "
        "HeavyTails layer outside, or heavy in the schema of the table).",
        finding=f"{share:.1%} of the {what} lie so far out in {related} that the model has learned nothing there: "
        "their scores are guesses.",
        advice=f"If these values are right, declare the column heavy: {columns.declaration(column, 'heavy')}.",
    )  # fmt: skip


def _share_saturated(evaluation: LayerEvaluation, bound: Any) -> tuple[float, str, np.ndarray]:
    most = max(4, min(_MAX_POINTS, _MAX_NUMBERS // evaluation.inputs[0].size ** 2))
    few = LayerEvaluation(
        evaluation.layer, evaluation.inputs[:most], evaluation.outputs[:most], evaluation.log_dets[:most],
        None if evaluation.contexts is None else evaluation.contexts[:most],
    )  # fmt: skip
    batch = max(1, min(64, _MAX_NUMBERS // evaluation.inputs[0].size ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_slopes = np.abs(np.log(np.abs(diagonal_slopes(few, batch))))
    share = (log_slopes > _NEAR * bound).mean(0)
    worst = int(share.argmax())
    values = evaluation.inputs.reshape(len(evaluation.inputs), -1)[:, worst]
    where = f"in coordinate {worst} of {evaluation.layer.path} (log-scales within +-{bound:g})"
    return float(share[worst]), where, values


def _scale_row(share: float, where: str, values: np.ndarray, what: str, rows: np.ndarray, columns: Columns) -> Row:
    related = columns.most_related(values, rows)[0] if share > _SATURATED else ""
    message = f"At {share:.0%} of the {what} tested, at the worst, a scale is within 5 % of its bound, {where}."
    return bounded_row(
        SCALE, share, _SATURATED, f"Of some {what}, in the worst coordinate.", message,
        "a scale is saturated at its bound",
        "Fit with a Standardise layer outside, as every recipe has it, with more layers or with splines (nsf); raise "
        "log_bound only if so large a scale is intended.",
        finding=f"At {share:.0%} of the {what} the model reaches the limit of its flexibility, in {related}: it cannot "
        "fit them better.",
    )  # fmt: skip
