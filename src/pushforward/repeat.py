"""Depth by one compiled loop: equal layers stacked along a leading axis and scanned over."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.fields import is_array, is_inexact

_SMALL = 8_192


class Repeat(AbstractBijection):
    """Layers of equal structure, applied one after another by a scan: compile time does not grow with depth.

    `Repeat([a, b, c])` is `Chain([a, b, c])` as a map. The layers must have equal trees, static fields and array
    shapes; what differs between them (weights, permutations, masks) are arrays, stacked along a new leading axis.

    Args:
        layers: at least one bijection.
        unroll: how many layers one turn of the loop holds. 1 compiles fastest; all of them runs fastest where a layer
            is cheap (affine couplings).

    Cost: the sum of the layers, in both directions.

    Raises:
        ShapeError: if the layers differ in more than the numbers of their arrays.

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021, section 2.1 (composition).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Elementwise, Repeat
        >>> layers = Repeat([Elementwise(Affine(shift=1.0), (2,)), Elementwise(Affine(shift=2.0), (2,))])
        >>> print(layers.forward(jnp.zeros(2)))
        [3. 3.]
    """

    layers: AbstractBijection
    n_layers: int = eqx.field(static=True)
    unroll: int = eqx.field(static=True)

    def __init__(self, layers: Sequence[AbstractBijection], *, unroll: int = 1) -> None:
        if not layers:
            raise ShapeError("layers: expected at least one bijection, got an empty list.")
        arrays, statics = zip(*(eqx.partition(layer, is_array) for layer in layers), strict=True)
        kinds = [
            (jax.tree.structure(static), jax.tree.leaves(static), [(a.shape, a.dtype) for a in jax.tree.leaves(array)])
            for array, static in zip(arrays, statics, strict=True)
        ]
        for index, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ShapeError(
                    f"layers: expected equal structure, static fields and array shapes, but layer {index} "
                    f"({type(layers[index]).__name__}) differs from layer 0 ({type(layers[0]).__name__}). Use Chain "
                    "for unlike layers."
                )
        stacked = jax.tree.map(lambda *leaves: _stack(leaves), *arrays)
        self.layers = eqx.combine(stacked, statics[0])
        self.n_layers, self.unroll = len(layers), int(unroll)

    def __check_init__(self) -> None:
        if not 1 <= self.unroll <= self.n_layers:
            raise ValueError(f"unroll: expected a number from 1 to the {self.n_layers} layers, got {self.unroll}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layers.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.layers.context_shape

    def layer(self, index: int) -> AbstractBijection:
        """Layer number `index` (0 is next to the base) as a bijection of its own."""
        arrays, static = eqx.partition(self.layers, is_array)
        return eqx.combine(jax.tree.map(lambda leaf: leaf[index], arrays), static)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._scan(z, context, key, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._scan(x, context, key, inverse=True)

    def _scan(
        self, value: Array, context: Array | None, key: PRNGKeyArray | None, inverse: bool
    ) -> tuple[Array, Array]:
        arrays, static = eqx.partition(self.layers, is_array)
        leaves, structure = jax.tree.flatten(arrays)
        small = [is_inexact(leaf) and leaf[0].size <= _SMALL for leaf in leaves]
        rows = _pack([leaf for leaf, is_small in zip(leaves, small, strict=True) if is_small], self.n_layers)
        large = [leaf for leaf, is_small in zip(leaves, small, strict=True) if not is_small]
        keys = None if key is None else jax.random.split(key, self.n_layers)
        dtype = jnp.result_type(value, *[leaf for leaf in leaves if is_inexact(leaf)])

        def step(carry: tuple[Array, Array], inputs: Any) -> tuple[tuple[Array, Array], None]:
            value, total = carry
            index, large, row, key = inputs
            if row.size:
                # Sliced out of the stack inside an element-wise loop, a bias would keep that loop from vectorising.
                # A branch that is never taken makes XLA write the layer's row out first.
                row = jax.lax.cond(index >= 0, lambda r: r, jnp.zeros_like, row)
            parts, large = iter(_unpack(row, leaves, small)), iter(large)
            merged = [next(parts) if is_small else next(large) for is_small in small]
            layer = eqx.combine(jax.tree.unflatten(structure, merged), static)
            verb = layer.inverse_and_log_det if inverse else layer.forward_and_log_det
            value, log_det = verb(value, context, key=key)
            return (value.astype(dtype), (total + log_det).astype(dtype)), None

        start = (value.astype(dtype), jnp.zeros((), dtype))
        inputs = (jnp.arange(self.n_layers), large, rows, keys)
        end, _ = jax.lax.scan(step, start, inputs, reverse=inverse, unroll=self.unroll)
        return end


def _stack(leaves: tuple[Any, ...]) -> Array:
    """Stacked on the host where the leaves are concrete: eager JAX would compile a program for every shape."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return jnp.stack(leaves)
    return jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves]))


def _pack(leaves: list[Array], n_layers: int) -> Array:
    rows = [leaf.reshape(n_layers, -1) for leaf in leaves]
    return jnp.concatenate(rows, 1) if rows else jnp.zeros((n_layers, 0))


def _unpack(row: Array, leaves: list[Array], small: list[bool]) -> list[Array]:
    parts, position = [], 0
    for leaf, is_small in zip(leaves, small, strict=True):
        if is_small:
            shape = leaf.shape[1:]
            size = int(np.prod(shape))
            parts.append(row[position : position + size].reshape(shape).astype(leaf.dtype))
            position += size
    return parts
