"""Sections for a flow of two columns: its density with contours, and a grid after each of its layers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.core.flow import Flow
from pushforward.core.inverse import Inverse
from pushforward.core.layers import inverted_layers
from pushforward.core.repeat import Repeat
from pushforward.errors import DataError, NumericError
from pushforward.numerics.arrays import is_inexact
from pushforward.numerics.batches import run_batched
from pushforward.numerics.programs import compiled_module
from pushforward.reporting.html import figure_html, message_html
from pushforward.reporting.plots import density, warp_layers
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.marginals import span
from pushforward.reporting.report.sections import Section

_RESOLUTION, _BASE_DRAWS, _MAX_PANELS = 160, 2000, 16


def is_plane(flow: Any) -> bool:
    """Whether the flow has two columns and no context, as these pictures need."""
    return isinstance(flow, Flow) and flow.shape == (2,) and flow.context_shape is None


def density_section(flow: Flow, data: np.ndarray, samples: np.ndarray, columns: Sequence[str]) -> Section:
    """The density as a heat map with its contours, and the rows as dots; a message if it cannot be evaluated.

    Args:
        flow: of two columns, unconditional.
        data: (n, 2) rows.
        samples: (m, 2) samples.
        columns: two names.
    """
    bounds = [side for j in range(2) for side in span(data[:, j], samples[:, j])]
    try:
        figure = density(
            lambda points: log_prob_float64(flow, points), bounds, resolution=_RESOLUTION, data=data, contours=True,
            veiled=True, columns=columns,
        )  # fmt: skip
    except (DataError, NumericError) as error:
        return Section("Density", message_html(f"The density cannot be drawn: {error}"))
    caption = (
        "The model's density. Lines enclose the smallest regions of probability 25, 50, 75 and 95 %; dots are rows of "
        "the data."
    )
    picture = inline_svg(figure, "density", "The model's density, with contours and rows of data")
    return Section("Density", figure_html(picture, caption, "square"))


def layers_section(flow: Flow) -> Section:
    """A grid that covers the middle 99 % of the base, after each layer from base to data.

    Args:
        flow: of two columns, unconditional.
    """
    layers = drawn_layers(_as_numpy(flow.bijection))
    base = sample_float64(flow.base, _BASE_DRAWS, 0)
    extent = np.quantile(base, [0.005, 0.995], axis=0).T.ravel().tolist()
    titles = ["base", *(f"{index}: {layer_name(layer)}" for index, layer in enumerate(layers, 1))]
    count = len(titles)
    shown = np.unique(np.linspace(0, count - 1, min(count, _MAX_PANELS)).round().astype(int)).tolist()
    try:
        figure = warp_layers([_batched(layer) for layer in layers], extent, titles=titles, shown=shown)
    except (DataError, NumericError) as error:
        return Section("Layer by layer", message_html(f"The grid cannot be followed to the data: {error}"))
    caption = "A grid in the base space, and its image after each layer, up to the data space."
    if len(shown) < count:
        caption += f" Of {count - 1} layers {len(shown) - 1} are shown."
    picture = inline_svg(figure, "layers", "A square grid after each layer of the flow")
    return Section("Layer by layer", figure_html(picture, caption, "wide"))


def drawn_layers(bijection: AbstractBijection) -> tuple[AbstractBijection, ...]:
    """The layers from base to data; chains and repeats, also inverted ones, are flattened.

    Other than in `flat_layers`, a layer of a `Repeat` is one layer even if it is a chain: the recipes call it a layer.
    """
    if isinstance(bijection, Chain):
        return tuple(layer for part in bijection.bijections for layer in drawn_layers(part))
    if isinstance(bijection, Repeat):
        return tuple(bijection)
    if isinstance(bijection, Inverse) and isinstance(bijection.bijection, Chain | Repeat):
        return inverted_layers(drawn_layers(bijection.bijection))
    return (bijection,)


def layer_name(bijection: AbstractBijection) -> str:
    """The name of the class; for a chain that of its largest part, for an inverse that of the inner bijection."""
    if isinstance(bijection, Inverse):
        return layer_name(bijection.bijection)
    if isinstance(bijection, Chain):
        return layer_name(max(bijection.bijections, key=_size))
    return type(bijection).__name__


def _size(bijection: AbstractBijection) -> int:
    return sum(np.size(leaf) for leaf in jax.tree.leaves(bijection) if hasattr(leaf, "shape"))


def _as_numpy(bijection: AbstractBijection) -> AbstractBijection:
    """The same layers as NumPy float64 arrays, since slicing JAX arrays compiles a program for each shape."""

    def to_numpy(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return np.asarray(leaf, np.float64) if is_inexact(leaf) else np.asarray(leaf)

    return jax.tree.map(to_numpy, bijection)


def _batched(layer: AbstractBijection) -> Callable[[np.ndarray], np.ndarray]:
    """The layer as a function of batches in double precision; layers of equal structure share a program."""
    # An element of a NumPy array is a scalar, not an array.
    arrays = jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, np.generic) else leaf, layer)

    def forward(points: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            outputs = run_batched(_forward_rows, compiled_module(arrays), [points], len(points), 2)
        if outputs is None:
            raise ValueError("flow: a report cannot be written inside another program of jax: call it outside jit.")
        return np.asarray(outputs[0])

    return forward


def _forward_rows(bijection: AbstractBijection, points: Array) -> tuple[Array, ...]:
    return (jax.vmap(bijection.forward)(points),)
