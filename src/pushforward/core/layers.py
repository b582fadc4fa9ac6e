"""The layers of a bijection one by one, from base to data, and the bijection with other layers.

`Chain`, `Repeat` and the inverse of either are sequences of layers; every other bijection is one layer. An edit leaves
all layers but those it names as they are: a `Repeat` stays one where the new layer has the structure of its layers, and
is split where it has not.
"""

import bisect
import itertools
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat
from pushforward.core.stacked import kind_of
from pushforward.numerics.arrays import is_inexact

Layers = tuple[AbstractBijection, ...]


def flat_layers(bijection: AbstractBijection) -> Layers:
    """The layers from base to data, those of a `Repeat` unstacked, those of an inverse reversed and inverted."""
    if isinstance(bijection, Chain | Repeat):
        parts = bijection.bijections if isinstance(bijection, Chain) else bijection
        return tuple(layer for part in parts for layer in flat_layers(part))
    if isinstance(bijection, Inverse) and isinstance(bijection.bijection, Chain | Repeat | Inverse):
        return inverted_layers(flat_layers(bijection.bijection))
    return (bijection,)


def count_layers(bijection: AbstractBijection) -> int:
    """The number of `flat_layers`."""
    if isinstance(bijection, Chain):
        return sum(map(count_layers, bijection.bijections))
    if isinstance(bijection, Repeat):
        return bijection.n_layers * count_layers(bijection.layers)
    return count_layers(bijection.bijection) if isinstance(bijection, Inverse) else 1


def stack_equal(
    layers: Chain | Sequence[AbstractBijection], *, unroll: int = 1, recompute: bool = False
) -> AbstractBijection:
    """The chain of some layers in which consecutive layers of equal structure are a `Repeat`: it compiles faster.

    It is the inverse of `Repeat.unstack`. Layers with NumPy arrays, such as `Standardise`, are not stacked: those keep
    their float64.

    Args:
        layers: a `Chain`, or a sequence of bijections from base to data.
        unroll, recompute: of each `Repeat`; it unrolls all its layers if they are fewer.

    Returns:
        A `Repeat` where all layers are equal in structure, else a `Chain`.

    Example:
        >>> from pushforward.bijections import Affine, Elementwise, Permutation, stack_equal
        >>> stacked = stack_equal([Elementwise(Affine(), (2,)), Permutation([1, 0]), Permutation([0, 1])])
        >>> [type(layer).__name__ for layer in stacked.bijections]
        ['Elementwise', 'Repeat']
    """
    parts: list[AbstractBijection] = []
    for run in _runs(layers.bijections if isinstance(layers, Chain) else layers):
        is_double = any(isinstance(leaf, np.ndarray) and is_inexact(leaf) for leaf in jax.tree.leaves(run[0]))
        is_stacked = len(run) > 1 and not is_double
        parts += [Repeat(run, unroll=min(unroll, len(run)), recompute=recompute)] if is_stacked else run
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Repeat) else Chain(parts)


def with_layers(bijection: AbstractBijection, start: int, stop: int, new: Layers) -> AbstractBijection | None:
    """The bijection with `new` in place of its flat layers from `start` to `stop`; None if no layer is left.

    Args:
        bijection: the bijection.
        start, stop: indices of one layer, or twice the same one to insert before that layer.
        new: the new layers.
    """
    pieces = _edited(bijection, start, stop, new)
    return Chain(pieces) if len(pieces) > 1 else next(iter(pieces), None)


def _edited(bijection: AbstractBijection, start: int, stop: int, new: Layers) -> Layers:
    """What takes the place of the bijection: itself with other layers, or its parts and the new layers."""
    if isinstance(bijection, Chain):
        return _edited_chain(bijection, start, stop, new)
    if isinstance(bijection, Repeat):
        return _edited_repeat(bijection, start, stop, new)
    if isinstance(bijection, Inverse):
        count = count_layers(bijection)
        return inverted_layers(_edited(bijection.bijection, count - stop, count - start, inverted_layers(new)))
    if stop > start:
        return new
    return (*new, bijection) if start == 0 else (bijection, *new)


def _edited_chain(chain: Chain, start: int, stop: int, new: Layers) -> Layers:
    parts = chain.bijections
    ends = list(itertools.accumulate(map(count_layers, parts)))
    index = after = bisect.bisect_right(ends, start)  # the parts before `index` end at `start` or before
    first = ends[index - 1] if index else 0
    if start < stop or first < start:
        new, after = _edited(parts[index], start - first, stop - first, new), index + 1
    before = max(index - 1, 0)
    joined = _joined([*parts[before:index], *new, *parts[after : after + 1]])
    parts = (*parts[:before], *joined, *parts[after + 1 :])
    return (Chain(parts),) if parts else ()


def _edited_repeat(repeat: Repeat, start: int, stop: int, new: Layers) -> Layers:
    layers, kind = list(repeat), kind_of(repeat[0])
    index, offset = divmod(start, count_layers(repeat.layers))
    after = index
    if start < stop or offset:
        new, after = _edited(layers[index], offset, offset + stop - start, new), index + 1
    layers[index:after] = new
    parts: list[AbstractBijection] = []
    for run in _runs(layers):
        parts += [_repeated(run, (repeat,))] if kind_of(run[0]) == kind else run
    return tuple(parts)


def _joined(parts: list[AbstractBijection]) -> list[AbstractBijection]:
    """The parts, in which every `Repeat` takes in neighbours that have the structure of its layers."""
    joined = parts[:1]
    for part in parts[1:]:
        pair = joined[-1], part
        repeats = tuple(side for side in pair if isinstance(side, Repeat))
        layers = [layer for side in pair for layer in (side if isinstance(side, Repeat) else (side,))]
        is_alike = kind_of(layers[0]) == kind_of(layers[-1]) and len({side.recompute for side in repeats}) == 1
        joined[-1:] = [_repeated(layers, repeats)] if is_alike else pair
    return joined


def _repeated(layers: list[AbstractBijection], like: tuple[Repeat, ...]) -> Repeat:
    """A `Repeat` with the options of others, which it replaces: it unrolls all its layers where they did."""
    several = [repeat for repeat in like if repeat.n_layers > 1]
    is_unrolled = bool(several) and all(repeat.unroll == repeat.n_layers for repeat in several)
    unroll = len(layers) if is_unrolled else min([len(layers), *(repeat.unroll for repeat in like)])
    return Repeat(layers, unroll=unroll, recompute=like[0].recompute)


def _runs(layers: Iterable[AbstractBijection]) -> list[list[AbstractBijection]]:
    """Consecutive layers of equal structure, together."""
    return [list(run) for _, run in itertools.groupby(layers, kind_of)]


def inverted_layers(layers: Layers) -> Layers:
    """The layers of the inverse map."""
    return tuple(layer.bijection if isinstance(layer, Inverse) else Inverse(layer) for layer in reversed(layers))
