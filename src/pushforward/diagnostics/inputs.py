"""The inputs of a check: rows and contexts as checked arrays, and the names of columns."""

import shlex
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.core.named_rows import NamedRows, as_floats, to_array
from pushforward.errors import DataError, ShapeError

_N_CONTEXTS = 64
_SAME, _RELATED = 0.9, 0.3  # rank correlations


def check_inputs(
    flow: AbstractDistribution,
    x: Any,
    context: Any,
    key: PRNGKeyArray,
    *,
    names: tuple[str, str] = ("x", "context"),
    finite: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Rows of data, contexts (one, or one for each row), and a note if the contexts were drawn.

    Args:
        flow: the distribution to check.
        x: rows (..., *shape), or None.
        context: contexts (..., *context_shape), or None: without rows they are drawn.
        key: for these draws.
        names: of the two arguments, for errors.
        finite: whether NaN and infinite values are refused.
    """
    x_name, context_name = names
    rows, contexts, note = _as_rows(x_name, x, finite), _as_rows(context_name, context, finite), ""
    if contexts is None and flow.context_shape is not None and rows is None:
        contexts = np.asarray(jax.random.normal(key, (_N_CONTEXTS, *flow.context_shape)), np.float64)
        if isinstance(flow, Flow) and flow.context_scaling is not None:
            contexts = np.asarray(flow.context_scaling.mean) + np.asarray(flow.context_scaling.scale) * contexts
        note = " Contexts were drawn standard normal."
    for name, array, event in ((x_name, rows, flow.shape), (context_name, contexts, flow.context_shape)):
        if array is not None and event is not None and array.shape[max(array.ndim - len(event), 0) :] != event:
            raise ShapeError(f"{name}: expected shape (..., {', '.join(map(str, event))}), got {array.shape}.")
    if contexts is not None and flow.context_shape is None:
        raise ShapeError(
            f"{context_name}: this flow is unconditional, got a context of shape {contexts.shape}. Leave it out."
        )
    if contexts is None and flow.context_shape is not None:
        raise ShapeError(
            f"{context_name}: data of a conditional flow need their contexts, got none. Pass {context_name}=."
        )
    rows = None if rows is None else rows.reshape(-1, *flow.shape)
    contexts = None if contexts is None or flow.context_shape is None else contexts.reshape(-1, *flow.context_shape)
    if rows is not None and contexts is not None and len(contexts) not in (1, len(rows)):
        raise ShapeError(
            f"{context_name}: expected one, or one for each of the {len(rows)} rows of {x_name}, got {len(contexts)}."
        )
    return rows, contexts, note


def broadcast_contexts(contexts: np.ndarray, n: int) -> np.ndarray:
    """One context for each of n rows, from one context or n."""
    return np.broadcast_to(contexts, (n, *contexts.shape[1:]))


def subsample(rows: np.ndarray, contexts: np.ndarray | None, most: int, random: np.random.Generator) -> Any:
    """At most `most` rows, drawn without replacement, with their contexts (one stays one) and their indices."""
    if len(rows) <= most:
        return rows, contexts, np.arange(len(rows))
    chosen = np.sort(random.choice(len(rows), most, replace=False))
    return rows[chosen], contexts if contexts is None or len(contexts) == 1 else contexts[chosen], chosen


def row_numbers(x: Any, n: int) -> np.ndarray:
    """The caller's numbers of n rows: those of `NamedRows`, else from 0."""
    numbers = getattr(x, "numbers", None) if isinstance(x, NamedRows) else None
    return np.arange(n) if numbers is None else np.asarray(numbers)


class Columns:
    """The names of coordinates: those of a frame, else their numbers."""

    def __init__(self, x: Any, shape: tuple[int, ...]) -> None:
        self.names = [str(name) for name in getattr(x, "columns", ())]
        self.shape = shape

    def __getitem__(self, index: int) -> str:
        if index < len(self.names):
            return f"column {self.names[index]!r}"
        if len(self.shape) == 1:
            return f"column {index}"
        return f"index {tuple(int(i) for i in np.unravel_index(index, self.shape))}"

    def declaration(self, index: int, kind: str) -> str:
        """The option of the command line that declares a column."""
        return f"--column {shlex.quote(self.names[index]) if index < len(self.names) else 'NAME'}={kind}"

    def most_related(self, values: np.ndarray, x: np.ndarray) -> tuple[str, int]:
        """The columns of x (n, D) that numbers of its rows (n,) depend on, for a message, and the first of them.

        By rank correlations: one column if the numbers follow it, else the two that they follow most.
        """
        from scipy.stats import rankdata

        order = rankdata(np.column_stack([values, x]), axis=0)
        centred = order - order.mean(0)
        length = np.linalg.norm(centred, axis=0)
        unit = centred / np.where(length > 0, length, 1.0)
        related = np.abs(unit[:, 0] @ unit[:, 1:])
        first, *others = (int(index) for index in np.argsort(-related, kind="stable"))
        if not others or related[first] > _SAME:
            return self[first], first
        names = [self[index] for index in (first, others[0]) if related[index] > _RELATED]
        mixture = "a direction that mixes columns"
        return f"{mixture}, most of all {' and '.join(names)}" if names else mixture, first


def _as_rows(name: str, value: Any, finite: bool) -> np.ndarray | None:
    if value is None:
        return None
    array = np.asarray(to_array(value))
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise DataError(f"expected real numbers, got {array.size} entries of type {array.dtype}.", name)
    array = as_floats(name, array)
    if finite and (n_bad := int((~np.isfinite(array)).sum())) > 0:
        raise DataError(f"expected finite numbers, got {n_bad} NaN or infinite ones. Remove or fill them first.", name)
    return array
