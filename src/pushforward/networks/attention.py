"""Causal attention as an autoregressive conditioner: tokens are blocks of coordinates, keys and values are cached."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.activations import Activation
from pushforward.networks.attention_block import AttentionBlock, normalised
from pushforward.networks.autoregressive import (
    AbstractAutoregressiveNetwork,
    Ranks,
    TransformerFn,
    order_and_parameters,
)
from pushforward.networks.initial_weights import normal
from pushforward.networks.masked_mlp import checked_context
from pushforward.networks.network import check_sizes
from pushforward.numerics.arrays import on_device, zeros
from pushforward.numerics.trailing_batch import trailing_batch


class CausalAttention(AbstractAutoregressiveNetwork):
    """Transformer with causal attention: parameters (P, D), those of a token from the tokens before it.

        h_t = W_in x_(t-1) + position_t + W_c context,  causal blocks,  out_i = V_i norm(h_t) + c_i, i in t

    A token is `token_size` coordinates of consecutive ranks. Coordinates of one token do not depend on each
    other, so the sequential direction takes D / token_size steps. The input of token t is token t - 1 (zero for the
    first) plus a learned position embedding and a projection of the context, so the context reaches every output. The
    output weights start at zero.

    Args:
        ranks: (D,), the rank of each coordinate, a permutation of 0..D-1; or the number D, for the natural order.
        out_shape: (P, D), for P numbers emitted for each coordinate.
        width: size of a token's representation, a multiple of `n_heads`.
        depth: number of blocks, each of attention and a perceptron of 4 width units.
        n_heads: attention heads.
        token_size: coordinates in a token; the last token may be shorter.
        context_size: length of the context, 0 for none.
        activation: of the perceptrons, as for `MLP`.
        n_features: number of input features of each coordinate, stored contiguously (see `PeriodicInputs`).
        key: for the start weights.

    Cost: with T tokens of width W, 24 T W^2 + 4 T^2 W operations a block, in the parallel and in the sequential
    direction (the sequential one reads the whole cache: attention costs twice as much).

    Raises:
        ShapeError: if `ranks` is not a permutation, or `out_shape` not (P, D).
        ValueError: if a size is not positive or the heads do not divide the width.

    Reference: Vaswani et al. 2017, section 3; as conditioner, Patacchiola, Shysheya, Hofmann & Turner 2024 and Zhai et
    al. 2025, section 2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import CausalAttention
        >>> network = CausalAttention(6, (2, 6), width=8, depth=1, n_heads=2, token_size=3, key=jax.random.key(0))
        >>> print(network(jnp.ones(6)).shape, network.n_ranks)
        (2, 6) 2
    """

    is_triangular: ClassVar[bool] = True

    in_weight: Float[Array, "..."]
    positions: Float[Array, "..."]
    context_weights: tuple[Float[Array, "..."], ...]  # one, or none
    blocks: tuple[AttentionBlock, ...]
    out_scale: Float[Array, "..."]
    out_weight: Float[Array, "..."]
    out_bias: Float[Array, "..."]
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    n_ranks: int = eqx.field(static=True)
    token_size: int = eqx.field(static=True)
    context_size: int = eqx.field(static=True)
    n_features: int = eqx.field(static=True, default=1)  # files of versions without it are read as 1

    def __init__(
        self,
        ranks: Ranks,
        out_shape: tuple[int, int],
        *,
        width: int = 64,
        depth: int = 2,
        n_heads: int = 4,
        token_size: int = 1,
        context_size: int = 0,
        activation: Activation = "gelu",
        n_features: int = 1,
        key: PRNGKeyArray,
    ) -> None:
        order, n_parameters = order_and_parameters(ranks, out_shape)
        dim = len(order)
        check_sizes(width=width, depth=depth, n_heads=n_heads, token_size=token_size, n_features=n_features)
        self.token_size = min(token_size, dim)
        self.n_ranks = -(-dim // self.token_size)
        keys = [jax.random.fold_in(key, i) for i in range(3 + depth)]
        n_inputs = self.token_size * n_features
        self.in_weight = normal(keys[0], (n_inputs, width), 1 / math.sqrt(n_inputs))
        self.positions = normal(keys[1], (self.n_ranks, width), 1.0)
        self.context_weights = tuple(
            normal(keys[2], (size, width), 1 / math.sqrt(size)) for size in ([context_size] if context_size else [])
        )
        self.blocks = tuple(AttentionBlock(width, n_heads, activation, key=keys[3 + i]) for i in range(depth))
        self.out_scale = zeros(width) + 1
        self.out_weight, self.out_bias = zeros((n_parameters, dim, width)), zeros((n_parameters, dim))
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.context_size, self.n_features = context_size, n_features

    @property
    def ranks(self) -> Int[Array, "..."]:
        return self.inverse_order // self.token_size

    def parameters(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        inputs = self._tokens(x, self.n_features)
        shifted = jnp.concatenate([jnp.zeros_like(inputs[:1]), inputs[:-1]])
        hidden = shifted @ self.in_weight + self.positions + self._from_context(context)
        causal = np.tri(self.n_ranks, dtype=bool)
        hidden = normalised(_apply_blocks(self.blocks, hidden, causal), self.out_scale)
        # a coordinate's parameters come from the representation of its token
        tokens = np.arange(self.out_weight.shape[1]) // self.token_size
        return jnp.einsum("pdw,dw->pd", self.out_weight, hidden[tokens]) + self.out_bias

    def solve(
        self, transformer_fn: TransformerFn, weights: Any, z: Array, context: Array | None = None
    ) -> tuple[Array, Array]:
        if self.n_features > 1:
            raise ShapeError(
                "solve: expected a network of one feature of each coordinate. Wrap it in "
                "PeriodicInputs, whose layer takes one pass for each rank."
            )
        dim, size = z.shape[0], self.token_size
        from_context = self._from_context(context)
        out = jnp.concatenate([self.out_weight, self.out_bias[..., None]], 2)
        out = jnp.pad(out, ((0, 0), (0, self.n_ranks * size - dim), (0, 0)))
        out = jnp.moveaxis(out.reshape(out.shape[0], self.n_ranks, size, -1), 1, 0)
        mapped = trailing_batch(lambda data, weights: transformer_fn(weights, *data))

        def step(carry: tuple, inputs: tuple) -> tuple[tuple, tuple[Array, Array]]:
            caches, previous = carry
            rank, z, position, out = inputs
            hidden = (previous @ self.in_weight + position + from_context[0])[None]
            visible = (jnp.arange(self.n_ranks) <= rank)[None]
            updated = []
            for block, cache in zip(self.blocks, caches, strict=True):
                queries, keys, values = block.queries_keys_values(hidden)
                cache = [
                    jax.lax.dynamic_update_slice_in_dim(old, new, rank, 0)
                    for old, new in zip(cache, (keys, values), strict=True)
                ]
                updated.append(cache)
                hidden = block(hidden, queries, *cache, visible)
            hidden = normalised(hidden[0], self.out_scale)
            parameters = out[..., :-1] @ hidden + out[..., -1]
            x, log_dets = mapped((parameters, z), weights)
            return (updated, x), (x, log_dets)

        width = self.in_weight.shape[1]
        heads = [(self.n_ranks, block.n_heads, width // block.n_heads) for block in self.blocks]
        caches = [[jnp.zeros(shape, z.dtype)] * 2 for shape in heads]
        start = (caches, jnp.zeros(size, z.dtype))
        inputs = (jnp.arange(self.n_ranks), self._tokens(z), self.positions, out)
        _, (x, log_dets) = jax.lax.scan(step, start, inputs)
        return x.reshape(-1)[:dim], jnp.sum(log_dets.reshape(-1)[:dim])

    def _tokens(self, x: Array, n_features: int = 1) -> Array:
        """Tokens (T, token_size n_features), the last one padded with zeros."""
        size = self.token_size * n_features
        return jnp.pad(x, (0, self.n_ranks * size - x.shape[0])).reshape(self.n_ranks, size)

    def _from_context(self, context: Array | None) -> Array:
        context = checked_context(context, self.context_size)
        if context is None:
            return jnp.zeros((1, self.in_weight.shape[1]), self.in_weight.dtype)
        return (context @ self.context_weights[0])[None]


def _apply_blocks(blocks: tuple[AttentionBlock, ...], hidden: Array, visible: np.ndarray) -> Array:
    """Apply the blocks one after another.

    The backward pass stores the input of each block only and recomputes the rest: a block has two dozen intermediate
    arrays of the size of `hidden`, and fetching them from memory takes longer.
    """

    @jax.checkpoint
    def apply(block: AttentionBlock, hidden: Array) -> Array:
        return block(hidden, *block.queries_keys_values(hidden), visible)

    for block in blocks:
        hidden = apply(block, hidden)
    return hidden
