"""Layers of equal structure, stacked along a leading axis and applied by a scan."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.stacked import stack, unstack
from pushforward.numerics.arrays import is_array, is_inexact, on_device
from pushforward.numerics.recompute import recomputed

_SMALL = 8_192


class Repeat(AbstractBijection):
    """Layers of equal structure, applied in sequence by a scan: compile time does not grow with depth.

    `Repeat([a, b, c])` is the same map as `Chain([a, b, c])`, and a sequence of these layers: `len(repeat)`,
    `repeat[0]` (next to the base), `for layer in repeat`. The layers must have equal trees, static fields and array
    shapes; they differ in their arrays only (weights, permutations, masks), stacked along a new leading axis.

    Args:
        layers: at least one bijection.
        unroll: number of layers in one iteration of the loop. 1 compiles fastest; all layers run fastest if a layer is
            cheap (affine couplings).
        recompute: whether the backward pass stores the last value only, and recomputes the input of each layer from its
            output by the layer's other direction. Memory for activations is then that of one iteration (so `unroll=1`)
            at any depth, for at most one more pass in each direction. Values are bitwise equal. Gradients differ by the
            accumulated error of the inverses: 1e-6 (4 layers) to 1e-4 (64) of their norm in float32 for a
            well-conditioned Glow, 1e-9 and less in float64. Ill-conditioned layers (steep slopes, roots to a tolerance,
            nearly singular matrices) lose more, and a gradient is NaN if their inverse overflows. Forward mode stores
            all activations, as does a gradient inside which weights are batched by vmap (an ensemble in one program).

    Cost: the sum of the layers, in both directions.

    Raises:
        ShapeError: if the layers differ in more than the values of their arrays.

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021, section 2.1 (composition); Gomez, Ren,
        Urtasun & Grosse 2017, section 3 (activations from those of the layer above).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Elementwise, Repeat
        >>> layers = Repeat([Elementwise(Affine(shift=1.0), (2,)), Elementwise(Affine(shift=2.0), (2,))])
        >>> print(layers.forward(jnp.zeros(2)))
        [3. 3.]
        >>> print(len(layers), layers[1].forward(jnp.zeros(2)))
        2 [2. 2.]
    """

    layers: AbstractBijection
    n_layers: int = eqx.field(static=True)
    unroll: int = eqx.field(static=True)
    recompute: bool = eqx.field(static=True, default=False)  # files of older versions lack it and load as False
    stacked_field = "layers"  # see core/stacked.py

    def __init__(self, layers: Sequence[AbstractBijection], *, unroll: int = 1, recompute: bool = False) -> None:
        stacked = stack(layers, "layers", "Use Chain for unlike layers.")
        # A scan slices the arrays on the device, NumPy's too.
        self.layers = jax.tree.map(lambda leaf: on_device(leaf) if isinstance(leaf, np.ndarray) else leaf, stacked)
        self.n_layers, self.unroll, self.recompute = len(layers), int(unroll), bool(recompute)

    def __check_init__(self) -> None:
        if not 1 <= self.unroll <= self.n_layers:
            raise ValueError(f"unroll: expected a number from 1 to the {self.n_layers} layers, got {self.unroll}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layers.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.layers.context_shape

    @property
    def n_unrolled(self) -> int:
        """The number of layers if the loop is unrolled entirely, else 0; see `numerics.programs.CompiledModule`."""
        return self.n_layers if 1 < self.unroll == self.n_layers else 0

    def __len__(self) -> int:
        return self.n_layers

    def __getitem__(self, index: Any) -> Any:
        """The layer of this index, from base to data, as a bijection; of a slice, a tuple of layers."""
        if isinstance(index, slice):
            return tuple(self[i] for i in range(self.n_layers)[index])
        if not -self.n_layers <= index < self.n_layers:
            raise IndexError(f"index: expected one from {-self.n_layers} to {self.n_layers - 1}, got {index}.")
        return unstack(self.layers, range(self.n_layers)[index])

    def __iter__(self) -> Iterator[AbstractBijection]:
        return (unstack(self.layers, index) for index in range(self.n_layers))

    def unstack(self) -> Chain:
        """The same map as a `Chain` of the layers. `stack_equal` is the inverse of this method."""
        return Chain(tuple(self))

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
        in_loop = self.unroll < self.n_layers  # else every slice is static, and XLA fuses it well
        small = [in_loop and is_inexact(leaf) and leaf[0].size <= _SMALL for leaf in leaves]
        rows = _pack([leaf for leaf, is_small in zip(leaves, small, strict=True) if is_small], self.n_layers)
        large = [leaf for leaf, is_small in zip(leaves, small, strict=True) if not is_small]
        keys = None if key is None else jax.random.split(key, self.n_layers)
        dtype = jnp.result_type(value, *[leaf for leaf in leaves if is_inexact(leaf)])
        kinds = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in leaves]

        def leaves_of(inputs: Any) -> list[Array]:
            index, large, row = inputs
            if row.size:
                # A bias that is sliced from the stack inside an element-wise loop prevents its vectorisation. The
                # `cond`, whose other branch never runs, makes XLA materialise the row first.
                row = jax.lax.cond(index >= 0, lambda r: r, jnp.zeros_like, row)
            parts, large = iter(_unpack(row, kinds, small)), iter(large)
            return [next(parts) if is_small else next(large) for is_small in small]

        def layer_of(leaves: list[Array]) -> AbstractBijection:
            return eqx.combine(jax.tree.unflatten(structure, leaves), static)

        def apply(
            bijection: AbstractBijection, inverse: bool, value: Array, context: Array | None, key: Any
        ) -> tuple[Array, Array]:
            method = bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det
            value, log_det = method(value, context, key=key)
            return value.astype(dtype), log_det

        def run(value: Array, context: Array | None, keys: Any, weights: Any) -> tuple[Array, Array]:
            def step(carry: tuple[Array, Array], inputs: Any) -> tuple[tuple[Array, Array], None]:
                (value, total), (weights, key) = carry, inputs
                value, log_det = apply(layer_of(leaves_of(weights)), inverse, value, context, key)
                return (value, (total + log_det).astype(dtype)), None

            start = (value, jnp.zeros((), dtype))
            result, _ = jax.lax.scan(step, start, (weights, keys), reverse=inverse, unroll=self.unroll)
            return result

        def part(
            index: int, inverse: bool, leaves: list[Array], value: Array, context: Array | None, key: Any
        ) -> tuple[Array, Array]:
            bijection, context, key = _parts(layer_of(leaves), context, key)[index]
            return apply(bijection, inverse, value, context, key)

        inputs = value.astype(dtype), context, keys, (jnp.arange(self.n_layers), large, rows)
        if not self.recompute:
            return run(*inputs)
        order = range(len(_parts(self.layers, None, None)))
        pairs = [
            (functools.partial(part, index, inverse), functools.partial(part, index, not inverse))
            for index in (reversed(order) if inverse else order)
        ]
        return recomputed(run, leaves_of, pairs, reverse=inverse, unroll=self.unroll)(*inputs)


def _parts(
    layer: AbstractBijection, context: Array | None, key: PRNGKeyArray | None
) -> list[tuple[AbstractBijection, Array | None, PRNGKeyArray | None]]:
    """The layer, or the flattened parts of a `Chain`, each with its context and its key."""
    if not isinstance(layer, Chain):
        return [(layer, context, key)]
    return [inner for part in layer.parts(context, key) for inner in _parts(*part)]


def _pack(leaves: list[Array], n_layers: int) -> Array:
    rows = [leaf.reshape(n_layers, -1) for leaf in leaves]
    return jnp.concatenate(rows, 1) if rows else jnp.zeros((n_layers, 0))


def _unpack(row: Array, kinds: list[jax.ShapeDtypeStruct], small: list[bool]) -> list[Array]:
    parts, position = [], 0
    for kind, is_small in zip(kinds, small, strict=True):
        if is_small:
            size = int(np.prod(kind.shape))
            parts.append(row[position : position + size].reshape(kind.shape).astype(kind.dtype))
            position += size
    return parts
