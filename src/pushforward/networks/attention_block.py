"""One block of a transformer, whose keys and values may come from a cache."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.networks.activations import Activation, activation_fn, split_activation
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros


class AttentionBlock(eqx.Module):
    """Attention, then a perceptron, each with a skip: h' = h + M attend(n(h)), h'' = h' + N act(W n(h') + b) + c.

    n is RMS normalisation with a trained scale. M and N start at zero, so a new block is the identity.

    Args:
        width: size of a token's representation, a multiple of `n_heads`.
        n_heads: attention heads.
        activation: of the perceptron, as for `MLP`; a module is trained in each block by itself.
        key: for the start weights.

    Cost: 24 width^2 operations a token, and 4 width for each pair of tokens.

    Raises:
        ValueError: if the heads do not divide the width.

    Reference: Vaswani et al. 2017, section 3; normalisation first, by Zhang & Sennrich 2019, section 4.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from pushforward.networks import AttentionBlock
        >>> block, tokens = AttentionBlock(8, 2, "gelu", key=jax.random.key(0)), jnp.ones((3, 8))
        >>> print(block(tokens, *block.queries_keys_values(tokens), np.tri(3, dtype=bool)).shape)
        (3, 8)
    """

    scales: Float[Array, "..."]
    projections: Float[Array, "..."]  # of queries, keys and values
    merge: Float[Array, "..."]
    widen: Float[Array, "..."]
    widen_bias: Float[Array, "..."]
    narrow: Float[Array, "..."]
    narrow_bias: Float[Array, "..."]
    n_heads: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)  # None for a module, which is `trained_activation`
    trained_activation: eqx.Module | None = None

    def __init__(self, width: int, n_heads: int, activation: Activation, *, key: PRNGKeyArray) -> None:
        first, second = (jax.random.fold_in(key, i) for i in range(2))
        self.scales = zeros((2, width)) + 1
        self.projections = normal(first, (3, width, width), 1 / math.sqrt(width))
        self.merge = zeros((width, width))
        self.widen, self.widen_bias = normal(second, (width, 4 * width), math.sqrt(2 / width)), zeros(4 * width)
        self.narrow, self.narrow_bias = zeros((4 * width, width)), zeros(width)
        self.activation, self.trained_activation = split_activation(activation)
        self.n_heads = n_heads

    def __check_init__(self) -> None:
        activation_fn(self.activation, self.trained_activation)
        width = self.merge.shape[0]
        if width % self.n_heads:
            raise ValueError(f"n_heads: expected a divisor of the width {width}, got {self.n_heads}.")

    def queries_keys_values(self, hidden: Array) -> list[Array]:
        """Queries, keys and values of tokens (T, width), each (T, heads, width / heads)."""
        normed = normalised(hidden, self.scales[0])
        return [(normed @ weight).reshape(hidden.shape[0], self.n_heads, -1) for weight in self.projections]

    def __call__(
        self, hidden: Array, queries: Array, keys: Array, values: Array, visible: np.ndarray | Array
    ) -> Float[Array, "..."]:
        """The block's output for tokens `hidden` (T, width); token q attends to the keys k where visible[q, k]."""
        scores = jnp.einsum("qhd,khd->hqk", queries, keys) / math.sqrt(queries.shape[-1])
        attention = jax.nn.softmax(jnp.where(visible[None], scores, -jnp.inf), axis=-1)
        hidden = hidden + jnp.einsum("hqk,khd->qhd", attention, values).reshape(hidden.shape) @ self.merge
        wide = normalised(hidden, self.scales[1]) @ self.widen + self.widen_bias[None]
        act = activation_fn(self.activation, self.trained_activation)
        return hidden + act(wide) @ self.narrow + self.narrow_bias[None]


def normalised(hidden: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """RMS normalisation over the last axis: divide by the root mean square, then scale.

    The largest entry is divided out first, because squares of large numbers overflow.
    """
    largest = jnp.maximum(jax.lax.stop_gradient(jnp.max(jnp.abs(hidden), -1, keepdims=True)), 1)
    hidden = hidden / largest
    mean_square = jnp.mean(hidden**2, -1, keepdims=True)
    inverse_rms = jax.lax.rsqrt(mean_square + 1e-6 / largest**2)
    return hidden * inverse_rms * scale.reshape((1,) * (hidden.ndim - 1) + scale.shape)
