"""A flow's bijection taken apart: its layers in order, each with its place in words, and rows passed through them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.conditional import Conditional
from pushforward.core.flow import Flow
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat
from pushforward.diagnostics.batches import embedded, repeated
from pushforward.numerics.arrays import is_array, on_device
from pushforward.numerics.programs import compiled, flatten, float_type, unflatten

_CHUNK = 1024
_MAX_NUMBERS = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of a flow, as it is passed from base to data.

    Attributes:
        bijection: the layer.
        path: where it is, such as "bijection.bijections[0] layer 3 of 6 (Coupling)".
        turned: whether the flow uses it the other way round.
    """

    bijection: AbstractBijection
    path: str
    turned: bool = False


@dataclass(frozen=True)
class Passed:
    """What went into a layer and what came out: rows (n, *shape) and log-determinants (n,)."""

    layer: Layer
    given: np.ndarray
    images: np.ndarray
    log_dets: np.ndarray
    contexts: np.ndarray | None


def layers_of(flow: Flow) -> list[Layer]:
    """The layers from base to data, through `Chain`, `Repeat` and `Inverse`; a layer within a view counts as the view.

    Example:
        >>> import pushforward as pf
        >>> from pushforward.diagnostics.layers import layers_of
        >>> for layer in layers_of(pf.nice(dim=2, n_layers=2, width=8, key=0)):
        ...     print(layer.path)
        bijection.bijections[0] (Elementwise)
        bijection.bijections[1] layer 1 of 2 (Coupling)
        bijection.bijections[1] layer 2 of 2 (Coupling)
        bijection.bijections[2] (Standardise)
    """
    return list(_taken_apart(flow.bijection, "bijection", False))


def _taken_apart(bijection: Any, path: str, turned: bool) -> Iterator[Layer]:
    if isinstance(bijection, Chain):
        parts = list(enumerate(bijection.bijections))
        for index, part in reversed(parts) if turned else parts:
            yield from _taken_apart(part, f"{path}.bijections[{index}]", turned)
    elif isinstance(bijection, Repeat):
        order = range(bijection.n_layers)
        for index in reversed(order) if turned else order:
            yield from _taken_apart(_layer(bijection, index), f"{path} layer {index + 1} of {len(order)}", turned)
    elif isinstance(bijection, Inverse):
        yield from _taken_apart(bijection.bijection, f"{path}.bijection", not turned)
    else:
        yield Layer(bijection, f"{path} ({type(bijection).__name__})", turned)


def _layer(bijection: Repeat, index: int) -> Any:
    """Taken out on the host: eager JAX would compile a program for every shape of weights."""
    arrays, static = eqx.partition(bijection.layers, is_array)
    return eqx.combine(jax.tree.map(lambda leaf: on_device(np.asarray(leaf)[index]), arrays), static)


def passes(flow: Flow, rows: np.ndarray, contexts: np.ndarray | None, *, inverse: bool) -> Iterator[Passed]:
    """Rows (n, *shape) through one layer after the other, each compiled once for all layers of its kind.

    Args:
        flow: the flow.
        rows: data (`inverse`) or latents.
        contexts: any number of them, repeated to n, or None.
        inverse: from data to base.
    """
    found = embedded(flow, contexts) if flow.bijection.context_shape is not None else None
    found = repeated(found, len(rows))
    dtype = float_type(flatten(flow)[0])
    with np.errstate(over="ignore"):
        rows = np.asarray(rows, dtype)
    layers = layers_of(flow)
    for layer in reversed(layers) if inverse else layers:
        given = None if layer.bijection.context_shape is None else found
        images, log_dets = run_layer(layer, rows, given, inverse=inverse)
        yield Passed(layer, rows, images, log_dets, given)
        rows = images.astype(dtype, copy=False)


def run_layer(
    layer: Layer, rows: np.ndarray, contexts: np.ndarray | None, *, inverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Images and log-determinants of rows under one layer, in chunks of one size."""
    arrays, static = flatten(layer.bijection)
    size = min(_CHUNK, max(1, _MAX_NUMBERS // max(rows[0].size, 1)), 1 << (len(rows) - 1).bit_length())
    images, log_dets = np.empty(rows.shape, rows.dtype), np.empty(len(rows), rows.dtype)
    for start in range(0, len(rows), size):
        here = slice(start, min(start + size, len(rows)))
        chunk, given = (None if part is None else _padded(part[here], size) for part in (rows, contexts))
        out = _batch(static, inverse != layer.turned, arrays, chunk, given)
        images[here], log_dets[here] = (np.asarray(part)[: here.stop - start] for part in out)
    return images, log_dets


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.broadcast_to(rows[-1:], (size - len(rows), *rows.shape[1:]))])


@compiled(2, keep=16)
def _batch(static: Any, inverse: bool, arrays: list[Any], rows: Array, contexts: Any) -> Any:
    bijection = unflatten(arrays, static)
    verb = bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det
    return jax.vmap(verb, (0, None if contexts is None else 0))(rows, contexts)


@compiled(2, keep=16)
def _jacobians(static: Any, batch: int, arrays: list[Any], rows: Array, contexts: Any) -> Array:
    bijection = unflatten(arrays, static)

    def one(inputs: tuple[Array, Any]) -> Array:
        row, context = inputs

        def flat(vector: Array) -> Array:
            return bijection.inverse_and_log_det(vector.reshape(bijection.shape), context)[0].reshape(-1)

        return jax.jacrev(flat)(row.reshape(-1))

    return jax.lax.map(one, (rows, contexts), batch_size=batch)


def jacobians(passed: Passed, batch: int, *, inverse: bool = True) -> np.ndarray:
    """Jacobians (n, D, D) of the layer's own inverse, where the rows are on its own data side.

    Args:
        passed: by `passes`, with the same `inverse`.
        batch: rows at once.
        inverse: whether the rows went from data to base.
    """
    arrays, static = flatten(passed.layer.bijection)
    rows = passed.given if inverse != passed.layer.turned else passed.images
    return np.asarray(_jacobians(static, batch, arrays, rows, passed.contexts))


def own_slopes(passed: Passed, batch: int) -> np.ndarray:
    """The derivative of each coordinate with respect to itself (n, D), of the layer's inverse at the rows it was given.

    Of a layer with a scalar transformer these are the transformer's slopes, and 1 for coordinates that are kept.
    """
    return np.diagonal(jacobians(passed, batch), axis1=1, axis2=2)


def transformer_of(bijection: Any) -> Any:
    """The scalar bijection that a layer applies to its coordinates, None where it has no such; `Inverse` is looked
    through, `Conditional` is looked into."""
    layer = bijection.layer if isinstance(bijection, Conditional) else bijection
    law = getattr(layer, "transformer", None)
    while isinstance(law, Inverse):
        law = law.bijection
    return law


def moved_coordinates(bijection: Any) -> np.ndarray:
    """Which of the flattened coordinates a layer transforms (D,): all, but for a coupling of vectors."""
    moved = np.ones(int(np.prod(bijection.shape)), bool)
    if hasattr(bijection, "order") and hasattr(bijection, "n_transformed"):
        moved[np.asarray(bijection.order)[bijection.n_transformed :]] = False
    return moved
