"""The layers of a flow in order, each with its path, and the evaluation of one layer after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.conditional import Conditional
from pushforward.core.flow import Flow
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat
from pushforward.diagnostics.batches import embed, repeat_to
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten

_CHUNK = 1024
_MAX_NUMBERS = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of a flow.

    Attributes:
        bijection: the layer.
        path: where it is, such as "bijection.bijections[0] layer 3 of 6 (Coupling)".
        inverted: whether the flow uses its inverse from base to data.
    """

    bijection: AbstractBijection
    path: str
    inverted: bool = False


@dataclass(frozen=True)
class LayerEvaluation:
    """Inputs (n, *shape) and outputs (n, *shape) of a layer, with log-determinants (n,)."""

    layer: Layer
    inputs: np.ndarray
    outputs: np.ndarray
    log_dets: np.ndarray
    contexts: np.ndarray | None


def layer_paths(flow: Flow) -> list[Layer]:
    """The layers from base to data. `Chain`, `Repeat` and `Inverse` are split up, views such as `Reshape` are not.

    Example:
        >>> import pushforward as pf
        >>> from pushforward.diagnostics.layers import layer_paths
        >>> for layer in layer_paths(pf.nice(dim=2, n_layers=2, width=8, key=0)):
        ...     print(layer.path)
        bijection.bijections[0] (Elementwise)
        bijection.bijections[1] layer 1 of 2 (Coupling)
        bijection.bijections[1] layer 2 of 2 (Coupling)
        bijection.bijections[2] (Standardise)
    """
    return list(_split(flow.bijection, "bijection", False))


def _split(bijection: Any, path: str, inverted: bool) -> Iterator[Layer]:
    if isinstance(bijection, Chain):
        parts = list(enumerate(bijection.bijections))
        for index, part in reversed(parts) if inverted else parts:
            yield from _split(part, f"{path}.bijections[{index}]", inverted)
    elif isinstance(bijection, Repeat):
        order = range(bijection.n_layers)
        for index in reversed(order) if inverted else order:
            yield from _split(bijection[index], f"{path} layer {index + 1} of {len(order)}", inverted)
    elif isinstance(bijection, Inverse):
        yield from _split(bijection.bijection, f"{path}.bijection", not inverted)
    else:
        yield Layer(bijection, f"{path} ({type(bijection).__name__})", inverted)


def evaluate_layers(
    flow: Flow, inputs: np.ndarray, contexts: np.ndarray | None, *, inverse: bool
) -> Iterator[LayerEvaluation]:
    """Evaluates one layer after the other. Layers of one kind share one compiled program.

    Args:
        flow: the flow.
        inputs: data (`inverse`) or latents (n, *shape).
        contexts: any number of them, repeated to n, or None.
        inverse: from data to base.
    """
    embedded = embed(flow, contexts) if flow.bijection.context_shape is not None else None
    embedded = repeat_to(embedded, len(inputs))
    dtype = float_type(flatten(flow)[0])
    with np.errstate(over="ignore"):
        inputs = np.asarray(inputs, dtype)
    layers = layer_paths(flow)
    for layer in reversed(layers) if inverse else layers:
        layer_contexts = None if layer.bijection.context_shape is None else embedded
        outputs, log_dets = _evaluate_layer(layer, inputs, layer_contexts, inverse=inverse)
        yield LayerEvaluation(layer, inputs, outputs, log_dets, layer_contexts)
        inputs = outputs.astype(dtype, copy=False)


def _evaluate_layer(
    layer: Layer, inputs: np.ndarray, contexts: np.ndarray | None, *, inverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and log-determinants of one layer, in chunks of one size."""
    arrays, static = flatten(layer.bijection)
    size = min(_CHUNK, max(1, _MAX_NUMBERS // max(inputs[0].size, 1)), 1 << (len(inputs) - 1).bit_length())
    outputs, log_dets = np.empty(inputs.shape, inputs.dtype), np.empty(len(inputs), inputs.dtype)
    for start in range(0, len(inputs), size):
        here = slice(start, min(start + size, len(inputs)))
        chunk, chunk_contexts = (None if part is None else _padded(part[here], size) for part in (inputs, contexts))
        out = _batch(static, inverse != layer.inverted, arrays, chunk, chunk_contexts)
        outputs[here], log_dets[here] = (np.asarray(part)[: here.stop - start] for part in out)
    return outputs, log_dets


def _padded(batch: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([batch, np.broadcast_to(batch[-1:], (size - len(batch), *batch.shape[1:]))])


@compiled(2, keep=16, shapes_of=lambda static, _: static.event_shapes)
def _batch(static: Any, inverse: bool, arrays: list[Any], inputs: Array, contexts: Any) -> Any:
    bijection = unflatten(arrays, static)
    method = bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det
    return jax.vmap(method, (0, None if contexts is None else 0))(inputs, contexts)


@compiled(2, keep=16, shapes_of=lambda static, _: static.event_shapes)
def _jacobians(static: Any, batch: int, arrays: list[Any], points: Array, contexts: Any) -> Array:
    bijection = unflatten(arrays, static)

    def one(inputs: tuple[Array, Any]) -> Array:
        point, context = inputs

        def flat(vector: Array) -> Array:
            return bijection.inverse_and_log_det(vector.reshape(bijection.shape), context)[0].reshape(-1)

        return jax.jacrev(flat)(point.reshape(-1))

    return jax.lax.map(one, (points, contexts), batch_size=batch)


def jacobians(evaluation: LayerEvaluation, batch: int, *, inverse: bool = True) -> np.ndarray:
    """Jacobians (n, D, D) of the layer's own inverse, at the points on its own data side.

    Args:
        evaluation: by `evaluate_layers`, with the same `inverse`.
        batch: points at once.
        inverse: whether the layers were evaluated from data to base.
    """
    arrays, static = flatten(evaluation.layer.bijection)
    points = evaluation.inputs if inverse != evaluation.layer.inverted else evaluation.outputs
    return np.asarray(_jacobians(static, batch, arrays, points, evaluation.contexts))


def diagonal_slopes(evaluation: LayerEvaluation, batch: int) -> np.ndarray:
    """The derivative of each coordinate of the layer's inverse with respect to itself (n, D).

    For a layer with a scalar transformer: the transformer's slopes, and 1 for coordinates that it passes through.
    """
    return np.diagonal(jacobians(evaluation, batch), axis1=1, axis2=2)


def transformer_of(bijection: Any) -> Any:
    """The scalar bijection that a layer applies to its coordinates, without `Conditional` and `Inverse`, or None."""
    layer = bijection.layer if isinstance(bijection, Conditional) else bijection
    transformer = getattr(layer, "transformer", None)
    while isinstance(transformer, Inverse):
        transformer = transformer.bijection
    return transformer


def transformed_coordinates(bijection: Any) -> np.ndarray:
    """Which of the flattened coordinates a layer transforms (D,): all, except in a coupling of vectors."""
    mask = np.ones(int(np.prod(bijection.shape)), bool)
    if hasattr(bijection, "order") and hasattr(bijection, "n_transformed"):
        mask[np.asarray(bijection.order)[bijection.n_transformed :]] = False
    return mask
