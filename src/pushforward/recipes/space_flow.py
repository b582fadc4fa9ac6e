"""The flow on a product of circles, lines, half-lines and intervals."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.bases import Normal, Product, Uniform
from pushforward.bijections import (
    Chain,
    CircularSpline,
    ColumnMaps,
    ConditionalSplit,
    Coupling,
    Elementwise,
    Inverse,
    MaskedAutoregressive,
    Repeat,
    Split,
    Standardise,
    n_parameters,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP, MaskedMLP, PeriodicInputs
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_choice, check_sizes
from pushforward.recipes.vector_flow import conditional, nsf_spline

Coordinate = str | tuple[float, float]


def space_flow(
    space: Sequence[Coordinate],
    *,
    key: PRNGKeyArray | int,
    kind: str = "coupling",
    context_dim: int | None = None,
    n_layers: int = 6,
    width: int = 64,
    depth: int = 2,
    n_bins: int = 8,
    bound: float = 4.0,
    activation: Activation = "relu",
    base: AbstractDistribution | None = None,
) -> Flow:
    """Spline flow on a product of circles, lines, half-lines and intervals; two circles are a torus.

        x = outer(T_n o ... o T_1(z)),   T_l: x^A = spline(z^A; theta_l(z^B, context)), x^B = z^B

    Angles are transformed by circular splines and enter every network as cosine and sine, so the density is continuous
    across the cut at +-pi. All other coordinates are transformed by splines on the line; then `exp` maps onto
    half-lines, a logistic map onto intervals. A layer transforms a part of the angles given all other coordinates, then
    a part of the others. `fit` standardises them and leaves angles alone.

    The log-density of an angle is that of one turn, and the same at x and at x + 2 pi.

    Args:
        space: for each coordinate "circle" (an angle in [-pi, pi)), "line", "positive" (x > 0), or an interval
            (low, high).
        key: a JAX key or an int, for the initial weights.
        kind: "coupling", or "autoregressive": density in one pass, sampling in D sequential steps.
        context_dim: length of the context, or None.
        n_layers: number of layers, each of one coupling (or autoregressive map) of the angles and one of the others.
        width, depth, activation: of the conditioners.
        n_bins: bins of each spline.
        bound: half-width of the box of splines on the line, in standardised units.
        base: distribution of shape (D,); uniform on circles, else standard normal by default.

    Returns:
        A flow of shape (D,).

    Cost: one or two passes of a conditioner a layer, and O(n_bins) per transformed coordinate.

    Raises:
        ValueError: if an argument is out of range, or `space` names something else.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, sections 2.1.1 and 2.3. Deviation: half-lines and intervals
    are mapped to the line.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.space_flow(["circle", "positive", (0, 10)], key=0)
        >>> print(flow.sample(5, key=1).shape)
        (5, 3)
    """
    ends = _intervals(space)
    circular = np.array([isinstance(coordinate, str) and coordinate == "circle" for coordinate in space])
    check_sizes(context_dim, dim=len(space), n_layers=n_layers, width=width, depth=depth)
    check_choice("kind", kind, ("coupling", "autoregressive"))
    parts = [
        (transformer, np.flatnonzero(circular == is_circular(transformer)))
        for transformer in (Inverse(CircularSpline(n_bins)), nsf_spline(n_bins, bound))
    ]
    sizes: dict[str, Any] = {"width": width, "depth": depth, "activation": activation}
    build = _coupling if kind == "coupling" else _autoregressive
    layers = []
    for index in range(n_layers):
        keys = jax.random.split(jax.random.fold_in(as_key(key), index))
        layer = [
            build(transformer, columns, circular, index, context_dim, key=part_key, **sizes)
            for (transformer, columns), part_key in zip(parts, keys, strict=True)
            if len(columns)
        ]
        layers.append(layer[0] if len(layer) == 1 else Chain(layer))
    return Flow(base or _base(circular), Chain([Repeat(layers), *_outer_layers(circular, ends)]))


def _intervals(space: Sequence[Coordinate]) -> dict[int, tuple[float, float]]:
    """The ends of half-lines and intervals by coordinate."""
    if isinstance(space, str) or len(space) == 0:
        raise ValueError(f"space: expected a sequence with one entry for each coordinate, got {space!r}.")
    ends = {}
    for index, coordinate in enumerate(space):
        if _is_interval(coordinate):
            ends[index] = (float(coordinate[0]), float(coordinate[1]))
        elif isinstance(coordinate, str) and coordinate == "positive":
            ends[index] = (0.0, math.inf)
        elif not isinstance(coordinate, str) or coordinate not in ("circle", "line"):
            raise ValueError(
                "space: expected 'circle', 'line', 'positive' or an interval (low, high) for each coordinate, got "
                f"{coordinate!r} for coordinate {index}."
            )
        if index in ends and not ends[index][0] < ends[index][1]:
            raise ValueError(f"space: expected low < high, got {coordinate!r} for coordinate {index}.")
    return ends


def _is_interval(coordinate: Any) -> bool:
    numbers = (
        isinstance(coordinate, tuple | list | np.ndarray)
        and np.ndim(coordinate) == 1
        and all(isinstance(end, int | float | np.number) for end in coordinate)
    )
    return numbers and len(coordinate) == 2 and bool(np.isfinite(coordinate).all())


def _outer_layers(circular: np.ndarray, ends: dict[int, tuple[float, float]]) -> list[AbstractBijection]:
    """Standardisation of what is no angle, and the maps onto half-lines and intervals."""
    dim, others = len(circular), np.flatnonzero(~circular)
    if not ends:  # outermost, where training and scores use it in float64; it is the identity on angles
        return [Standardise((dim,))] if len(others) else []
    kinds = ["real" if i not in ends else "positive" if math.isinf(ends[i][1]) else "bounded" for i in range(dim)]
    lower, upper = np.zeros(dim), np.ones(dim)
    for index, (low, high) in ends.items():
        lower[index], upper[index] = low, high if math.isfinite(high) else low + 1
    inner: AbstractBijection = Standardise((len(others),))
    return [Split(inner, others, (dim,)), ColumnMaps(kinds, lower=lower, upper=upper)]


def _base(circular: np.ndarray) -> AbstractDistribution:
    parts = [
        Uniform((size,), -math.pi, math.pi) if is_angle else Normal((size,))
        for is_angle, size in ((is_angle, len(list(run))) for is_angle, run in itertools.groupby(circular.tolist()))
    ]
    return parts[0] if len(parts) == 1 else Product(parts)


def _coupling(
    transformer: AbstractBijection,
    columns: np.ndarray,
    circular: np.ndarray,
    index: int,
    context_dim: int | None,
    *,
    key: PRNGKeyArray,
    **sizes: Any,
) -> AbstractBijection:
    """A coupling of half of the columns (rounded up), given all other coordinates.

    Odd layers transform the complement of the even ones; with an odd number of columns both have one in common.
    """
    if len(circular) == 1:
        return conditional(Elementwise(transformer, (1,)), context_dim, key, functools.partial(MLP, **sizes))
    order, size = np.random.default_rng(index // 2).permutation(columns), (len(columns) + 1) // 2
    mask = np.isin(np.arange(len(circular)), order[:size] if index % 2 == 0 else order[-size:])
    n_inputs = int((~mask).sum() + circular[~mask].sum())  # an angle enters as cosine and sine
    network = MLP(n_inputs, (n_parameters(transformer), size), context_size=context_dim or 0, key=key, **sizes)
    return Coupling(
        transformer, mask, network, context_shape=None if context_dim is None else (context_dim,), circular=circular
    )


def _autoregressive(
    transformer: AbstractBijection,
    columns: np.ndarray,
    circular: np.ndarray,
    index: int,
    context_dim: int | None,
    **options: Any,
) -> AbstractBijection:
    """An autoregressive map of the columns, given all coordinates of the other kind; odd layers reverse the order."""
    if len(columns) == 1:
        return _coupling(transformer, columns, circular, index, context_dim, **options)
    mask = np.isin(np.arange(len(circular)), columns)
    n_context = int((~mask).sum() + circular[~mask].sum()) + (context_dim or 0)
    ranks = np.arange(len(columns))[:: -1 if index % 2 else 1]
    is_angle = is_circular(transformer)
    network: Any = MaskedMLP(
        ranks, (n_parameters(transformer), len(columns)), context_size=n_context, n_features=2 if is_angle else 1,
        **options,
    )  # fmt: skip
    network = PeriodicInputs(network) if is_angle else network
    layer = MaskedAutoregressive(transformer, network, context_shape=(n_context,) if n_context else None)
    if mask.all():
        return layer
    context_shape = None if context_dim is None else (context_dim,)
    return ConditionalSplit(layer, mask, context_shape=context_shape, circular=circular)
