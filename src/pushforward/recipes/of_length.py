"""A flow of sequences for another length: its layers share their weights between positions."""

from typing import Any, TypeVar

import equinox as eqx
import numpy as np

from pushforward.bases import Logistic, Normal
from pushforward.bijections import (
    Chain,
    Elementwise,
    Inverse,
    LinearPrediction,
    MaskedAutoregressive,
    Repeat,
    Standardise,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.dequantised import Dequantised
from pushforward.core.flow import Flow
from pushforward.networks import CausalConvolution

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)


def of_length(flow: AnyFlow, dim: int) -> AnyFlow:
    """The same conditionals p(x_i | x_<i), `of_length(flow, dim)`, over another dim; frames of a context keep
    their length.

    Args:
        flow: a `wavenet` or `parallel_wavenet`, or a `Dequantised` of one, in the natural order.
        dim: number of positions D, more than the largest dilation.

    Returns:
        A flow of shape (dim,) that shares its weights with the first; with frames, as many as cover D positions.

    Cost: nothing is computed; the weights are shared.

    Raises:
        ValueError: if a layer depends on the position, or D is too small or not divisible into frames.

    Reference: van den Oord, Dieleman, Zen et al. 2016, section 2.1 (the same causal filters at every position).

    Example:
        >>> import pushforward as pf
        >>> flow = pf.wavenet(dim=16, width=8, depth=4, key=0)
        >>> print(pf.of_length(flow, 1000).shape)
        (1000,)
    """
    original: Any = flow
    if isinstance(original, Dequantised):
        if original.noise is not None:
            raise ValueError("flow: expected uniform noise, got a noise flow, which has a fixed length.")
        inner: Any = of_length(original.flow, dim)
        return eqx.tree_at(lambda d: d.flow, original, inner)
    if not isinstance(flow, Flow) or len(flow.shape) != 1 or flow.embed is not None:
        raise ValueError(
            f"flow: expected a flow of sequences without an embedding network, got {type(flow).__name__}. See wavenet."
        )
    context_shape = _frames(flow, dim)
    new = Flow(_base(flow.base, dim), _layer(flow.bijection, dim, context_shape), standardise_context=False)
    scaling = flow.context_scaling
    if scaling is not None:
        shape = context_shape or scaling.shape
        scaling = scaling if scaling.shape == shape else _standardise(scaling, shape)
    return eqx.tree_at(lambda f: f.context_scaling, new, scaling, is_leaf=lambda leaf: leaf is None)


def _frames(flow: Flow, dim: int) -> tuple[int, ...] | None:
    """The shape of the context at the new length."""
    shape = flow.context_shape
    if shape is None or len(shape) == 1:
        return shape
    size = -(-flow.shape[0] // shape[0])
    n_frames = -(-dim // size)
    if -(-dim // n_frames) != size:
        raise ValueError(f"dim: expected a whole number of frames of {size} positions, got {dim}.")
    return (n_frames, *shape[1:])


def _layer(layer: AbstractBijection, dim: int, context_shape: tuple[int, ...] | None) -> AbstractBijection:
    if isinstance(layer, Chain):
        return Chain([_layer(part, dim, context_shape) for part in layer.bijections])
    if isinstance(layer, Repeat):
        layers = [_layer(part, dim, context_shape) for part in layer]
        return Repeat(layers, unroll=layer.unroll, recompute=layer.recompute)
    if isinstance(layer, Inverse):
        return Inverse(_layer(layer.bijection, dim, context_shape))
    if isinstance(layer, MaskedAutoregressive) and isinstance(layer.network, CausalConvolution):
        if not np.array_equal(layer.network.order, np.arange(layer.shape[0])):
            raise ValueError("flow: expected positions in the natural order, got another order.")
        layer_context = None if layer.context_shape is None else context_shape
        network = layer.network.of_length(dim, layer_context)
        return MaskedAutoregressive(
            layer.transformer, network, context_shape=layer_context, method=layer.method, tolerance=layer.tolerance
        )
    if isinstance(layer, Elementwise) and n_parameters(layer.transformer) == 0:
        return Elementwise(layer.transformer, (dim,))
    if isinstance(layer, LinearPrediction):
        new = LinearPrediction(dim, len(layer.coefficients))
        return new.filled(np.asarray(layer.coefficients), np.asarray(layer.scale)) if bool(layer.is_filled) else new
    if isinstance(layer, Standardise):
        return _standardise(layer, (dim,))
    raise ValueError(
        f"flow: expected layers that treat all positions alike, as those of wavenet do, got a {type(layer).__name__}."
    )


def _standardise(layer: Standardise, shape: tuple[int, ...]) -> Standardise:
    new = Standardise(shape, shared=True, compress=layer.compress)
    if not bool(layer.is_filled):
        return new
    return new.filled(*(np.broadcast_to(_one("mean and scale", part), shape) for part in (layer.mean, layer.scale)))


def _base(base: Any, dim: int) -> Any:
    if not isinstance(base, Logistic | Normal):
        raise ValueError(f"flow: expected a logistic or normal base, got {type(base).__name__}.")
    return type(base)((dim,), _one("loc", base.loc)[0], _one("scale", base.scale)[0])


def _one(name: str, values: Any) -> np.ndarray:
    """The first of equal entries along the first axis, as an axis of length one."""
    values = np.asarray(values)
    if not (values == values[:1]).all():
        raise ValueError(f"flow: expected one {name} for all positions, got several. Fit the recipe `wavenet` itself.")
    return values[:1]
