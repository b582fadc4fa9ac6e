"""Locates NaN and infinite values in a flow: the first parameter, and the first layer in each direction."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow, Given
from pushforward.core.flow_argument import check_flow_argument
from pushforward.diagnostics.batches import base_sample, sample
from pushforward.diagnostics.inputs import check_inputs
from pushforward.diagnostics.layers import LayerEvaluation, evaluate_layers
from pushforward.diagnostics.plain_words import OUT_OF_SUPPORT
from pushforward.diagnostics.row import Row
from pushforward.numerics.arrays import is_array, is_inexact

_N_ROWS = 256


@dataclass(frozen=True)
class NonFinite:
    """The first non-finite parameter and layers. Falsy if all are finite.

    Attributes:
        parameter: the first parameter that is not finite, by its path in the tree; "" where all are.
        inverse: the first layer from data to base whose output is not finite where its input is; "" where none is.
        forward: the same from base to data.
    """

    parameter: str = ""
    inverse: str = ""
    forward: str = ""

    def __bool__(self) -> bool:
        return bool(self.parameter or self.inverse or self.forward)

    def __str__(self) -> str:
        parts = []
        if self.parameter:
            parts.append(f"the parameter {self.parameter}")
        if self.inverse and self.inverse == self.forward:
            parts.append(f"in both directions {self.inverse}")
        else:
            directions = (("from data to base", self.inverse), ("from base to data", self.forward))
            parts += [f"{name} {layer}" for name, layer in directions if layer]
        return "; ".join(parts) if parts else "nothing"


def locate_non_finite(
    flow: AbstractDistribution, x: ArrayLike | None = None, context: ArrayLike | None = None, *, key: int = 0
) -> NonFinite:
    """The first parameter that is NaN (or infinite and trained), and the first non-finite layer in each direction.

    A layer counts if its output or log-determinant is not finite at a row where its input is.

    Args:
        flow: a flow; for another distribution only the parameters are tested.
        x: rows (n, *shape) for the inverse, at most 256 are used; None for the flow's samples.
        context: one context, or one for each row.
        key: an int, for the samples.

    Returns:
        A `NonFinite`: `.parameter`, `.inverse`, `.forward`, and a description by `str`.

    Cost: one evaluation of each layer in both directions, each compiled separately.

    Raises:
        ShapeError: if x or the context do not fit.

    Example:
        >>> import equinox as eqx, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.diagnostics import locate_non_finite
        >>> flow = pf.nice(dim=2, n_layers=2, width=8, key=0)
        >>> flow = eqx.tree_at(lambda f: f.bijection.bijections[1].layers.network.out_bias, flow,
        ...                    replace_fn=lambda bias: bias.at[1].set(jnp.nan))
        >>> print(locate_non_finite(flow).parameter)
        bijection.bijections[1].layers.network.out_bias (layer 2 of 2)
    """
    check_flow_argument("flow", flow, "locate_non_finite(flow, x)")
    if isinstance(flow, Given):
        flow, context = flow.distribution, flow.context
    rows, contexts, _ = check_inputs(flow, x, context, jax.random.key(key), finite=False)
    parameter = _parameter(flow)
    if not isinstance(flow, Flow):
        return NonFinite(parameter)
    if rows is None:
        rows = sample(flow, _N_ROWS, contexts, jax.random.key(key))[0]
        rows = np.where(np.isfinite(rows), rows, 0.0)  # so that the inverse has finite inputs
    row_contexts = None if contexts is None else np.resize(contexts, (len(rows), *contexts.shape[1:]))[:_N_ROWS]
    rows = rows[:_N_ROWS]
    latents = base_sample(flow, _N_ROWS, contexts, jax.random.key(key))[0]
    return NonFinite(
        parameter,
        _first_layer(evaluate_layers(flow, rows, row_contexts, inverse=True)),
        _first_layer(evaluate_layers(flow, latents, contexts, inverse=False)) if np.isfinite(latents).any() else "base",
    )


def _parameter(flow: AbstractDistribution) -> str:
    """The path of the first bad leaf. An infinity in a frozen leaf may be intended, such as the end of a range."""
    flags = jax.tree.leaves(trainable(flow))
    leaves = jax.tree_util.tree_leaves_with_path(flow)
    for (path, leaf), is_trained in zip(leaves, flags, strict=True):
        if is_array(leaf) and is_inexact(leaf):
            values = np.asarray(leaf)
            bad = ~np.isfinite(values) if is_trained else np.isnan(values)
            if bad.any():
                return jax.tree_util.keystr(path).lstrip(".") + _layer_index(flow, path, bad)
    return ""


def _layer_index(flow: Any, path: tuple[Any, ...], bad: np.ndarray) -> str:
    """The layer of a `Repeat` with the bad value: its index along the leading axis."""
    node = flow
    for step in path:
        n_layers = getattr(node, "n_layers", None)
        if n_layers is not None and isinstance(step, jax.tree_util.GetAttrKey) and step.name == "layers":
            first = int(np.argwhere(bad)[0][0])
            return f" (layer {first + 1} of {n_layers})"
        node = getattr(node, step.name) if isinstance(step, jax.tree_util.GetAttrKey) else node[step.idx]
    return ""


def _first_layer(evaluations: Iterator[LayerEvaluation]) -> str:
    for part in evaluations:
        good_inputs = np.isfinite(part.inputs).reshape(len(part.inputs), -1).all(1)
        good_outputs = np.isfinite(part.outputs).reshape(len(part.outputs), -1).all(1)
        n_rows = len(part.inputs)
        if n_bad := int((good_inputs & ~good_outputs).sum()):
            return f"{part.layer.path}, at {n_bad} of {n_rows} rows"
        if n_bad := int((good_inputs & ~np.isfinite(part.log_dets)).sum()):
            return f"the log-determinant of {part.layer.path}, at {n_bad} of {n_rows} rows"
    return ""


def finite_row(
    samples: np.ndarray,
    log_probs: np.ndarray,
    data_log_probs: np.ndarray | None,
    note: str,
    numbers: np.ndarray,
    n_moved: int = 0,
) -> Row:
    """The test of the certificate that samples, their log-densities and those of data are finite."""
    bad = ~(np.isfinite(samples.reshape(len(samples), -1)).all(1) & np.isfinite(log_probs))
    message, first = f"{int(bad.sum())} of {len(bad)} samples", ""
    if data_log_probs is not None:
        bad_data = ~np.isfinite(data_log_probs)
        message += f" and {int(bad_data.sum())} of {len(bad_data)} rows of data"
        first = f" (first row {numbers[bad_data.argmax()]})" if bad_data.any() else ""
        if n_moved:
            note = f" Rounding had put {n_moved} rows on the edge of the support.{note}"
        if bad_data.any() and not bad.any() and np.isneginf(data_log_probs[bad_data]).all():
            return Row(
                "finite values", float(bad_data.mean()), 0.0, False, f"{message} not finite{first}: density 0.{note}",
                OUT_OF_SUPPORT,
                "Look at these rows; if they are correct, fit with them, or without bounds of their columns.",
                f"{int(bad_data.sum()):,} of {len(bad_data):,} rows{first} have a value that the model calls impossible"
                ", such as one beyond the limits of a column or a code that it has not seen: their score is minus "
                "infinity.",
                "Look at these rows. If they are right, fit again with them among the rows, or declare wider limits "
                "of the column (--column).",
            )  # fmt: skip
        bad = np.concatenate([bad, bad_data])
    share = float(bad.mean())
    if share == 0:
        return Row("finite values", share, 0.0, True, f"{message} not finite.{note}")
    return Row(
        "finite values", share, 0.0, False, f"{message} not finite{first}.{note}", "values are not finite",
        "Look for NaN weights, a layer that overflows, data outside the support.",
        f"The model gives no number at {message}{first}.",
    )  # fmt: skip


def with_location(row: Row, flow: AbstractDistribution, rows: np.ndarray | None, contexts: np.ndarray | None) -> Row:
    """The row with the parameter or layer where values first become non-finite."""
    location = locate_non_finite(flow, rows, contexts)
    if not location or (row.fault == OUT_OF_SUPPORT and not location.parameter):
        return row
    message = f"{row.message} First non-finite: {location}."
    if location.parameter:
        return dataclasses.replace(
            row, message=message, fault=f"weights are NaN or infinite, first {location.parameter}",
            fix="Go back to an earlier file or fit again with a smaller learning rate; these weights are lost.",
            finding="The model's own numbers are broken (not a number, or infinite).",
            advice="Go back to an earlier file, or fit again with a smaller --learning-rate.",
        )  # fmt: skip
    fix = "Look at that layer: it overflows, or a point lies outside its domain."
    return dataclasses.replace(row, message=message, fix=fix)
