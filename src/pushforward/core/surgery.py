"""Surgery: a flow with one of its layers replaced, inserted or removed."""

from typing import Any, TypeVar

import equinox as eqx

from pushforward.core.bijection import AbstractBijection
from pushforward.core.dequantised import Dequantised
from pushforward.core.discretised import Discretised
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow, Given
from pushforward.core.layers import count_layers, with_layers
from pushforward.errors import ShapeError

Model = TypeVar("Model", bound=AbstractDistribution | AbstractBijection)


def replace_layer(flow: Model, index: int, layer: AbstractBijection) -> Model:
    """The flow with another layer at an index of `flow.layers`.

    A `Repeat` stays one if the new layer has the structure of its layers; otherwise it is split there, and compile time
    grows with the number of parts.

    Args:
        flow: a `Flow` (also in `Given`, `Dequantised` or `Discretised`), or a bijection.
        index: of the layer, from base to data; negative indices count from the data.
        layer: the new layer, of the flow's shape, unconditional or of the context shape that the other layers have.

    Raises:
        ValueError: if there is no layer of this index.
        ShapeError: if the layer does not fit the flow.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.bijections import Planar
        >>> flow = pf.real_nvp(dim=2, n_layers=4, key=0)
        >>> flow = pf.replace_layer(flow, 1, Planar(2, key=jax.random.key(0)))
        >>> [type(layer).__name__ for layer in flow.layers]
        ['Coupling', 'Planar', 'Coupling', 'Coupling', 'Standardise']
    """
    start = _index(flow, index)
    return _with_layers(flow, start, start + 1, (layer,))


def insert_layer(flow: Model, index: int, layer: AbstractBijection) -> Model:
    """The flow with one more layer, which gets this index of `flow.layers`, as in `list.insert`.

    Recipes end with `Standardise`, between standardised units and those of the data. A layer inserted at index -1 comes
    before it, and `Standardise` stays outermost. A layer inserted at index `len(flow.layers)` is outermost: it acts in
    the units of the data, and `fit` standardises what its inverse makes of the data.

    Args:
        flow: a `Flow` (also in `Given`, `Dequantised` or `Discretised`), or a bijection.
        index: of the new layer, 0 next to the base; a negative index inserts before the layer of that index.
        layer: the new layer, of the flow's shape, unconditional or of the context shape that the other layers have.

    Raises:
        ValueError: if the index is out of range.
        ShapeError: if the layer does not fit the flow.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.bijections import Planar
        >>> flow = pf.real_nvp(dim=2, n_layers=2, key=0)
        >>> flow = pf.insert_layer(flow, -1, Planar(2, key=jax.random.key(0)))
        >>> [type(layer).__name__ for layer in flow.layers]
        ['Coupling', 'Coupling', 'Planar', 'Standardise']
    """
    start = _index(flow, index, is_insertion=True)
    return _with_layers(flow, start, start, (layer,))


def remove_layer(flow: Model, index: int) -> Model:
    """The flow without the layer at an index of `flow.layers`.

    Args:
        flow: a `Flow` (also in `Given`, `Dequantised` or `Discretised`), or a bijection.
        index: of the layer, from base to data; negative indices count from the data.

    Raises:
        ValueError: if there is no layer of this index, or no other one.
        ShapeError: if no part of the flow would depend on its context.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.remove_layer(pf.real_nvp(dim=2, n_layers=3, key=0), 0)
        >>> [type(layer).__name__ for layer in flow.layers]
        ['Coupling', 'Coupling', 'Standardise']
    """
    start = _index(flow, index)
    return _with_layers(flow, start, start + 1, ())


def _with_layers(model: Any, start: int, stop: int, new: tuple[AbstractBijection, ...]) -> Any:
    if isinstance(model, Given):
        return eqx.tree_at(lambda m: m.distribution, model, _with_layers(model.distribution, start, stop, new))
    if isinstance(model, Dequantised | Discretised):
        return eqx.tree_at(lambda m: m.flow, model, _with_layers(model.flow, start, stop, new))
    parts = (model.base, model.bijection) if isinstance(model, Flow) else (model,)
    contexts = {part.context_shape for part in parts} - {None}
    for layer in new:
        _check_layer(layer, model.shape, contexts if isinstance(model, Flow) else None)
    bijection = with_layers(parts[-1], start, stop, new)
    if bijection is None:
        raise ValueError("index: expected a flow of more layers, got one of a single layer, which cannot be removed.")
    if not isinstance(model, Flow):
        return bijection
    if contexts != {part.context_shape for part in (model.base, bijection)} - {None}:
        raise ShapeError(
            f"layer: without the one at index {start} no part of the flow depends on its context. Build an "
            "unconditional flow of the other layers: pushforward.Flow(base, bijection)."
        )
    return eqx.tree_at(lambda f: f.bijection, model, bijection)


def _check_layer(layer: AbstractBijection, shape: tuple[int, ...], contexts: set[Any] | None) -> None:
    if not isinstance(layer, AbstractBijection):
        raise TypeError(f"layer: expected a bijection, got {type(layer).__name__}.")
    name = type(layer).__name__
    if layer.shape != shape:
        fix = f"wrap it: Elementwise({name}(...), {shape})" if layer.shape == () else "wrap it in Reshape or Split"
        raise ShapeError(f"layer: expected shape {shape}, got {name} of shape {layer.shape}: {fix}.")
    if contexts is None or layer.context_shape is None or layer.context_shape in contexts:
        return
    if contexts:
        raise ShapeError(
            f"layer: expected a context of shape {min(contexts)}, as the other layers have, or none, got {name} with "
            f"a context of shape {layer.context_shape}."
        )
    raise ShapeError(
        f"layer: expected an unconditional layer, as the flow is, got {name} with a context of shape "
        f"{layer.context_shape}. Build a conditional flow: pushforward.Flow(flow.base, Chain([*flow.layers, layer]))."
    )


def _index(model: Any, index: int, *, is_insertion: bool = False) -> int:
    """The index counted from the base, after a check."""
    while isinstance(model, Given | Dequantised | Discretised):
        model = model.distribution if isinstance(model, Given) else model.flow
    if not isinstance(model, Flow | AbstractBijection):
        raise TypeError(f"flow: expected a Flow or a bijection, got {type(model).__name__}, which has no layers.")
    count = count_layers(model.bijection if isinstance(model, Flow) else model)
    last = count if is_insertion else count - 1
    if isinstance(index, bool) or not hasattr(index, "__index__") or not -count <= index <= last:
        raise ValueError(f"index: expected a whole number from {-count} to {last}, got {index!r}.")
    return int(index) + (count if index < 0 else 0)
