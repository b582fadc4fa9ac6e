"""Transformers of neural autoregressive flows: networks of positive weights and sigmoids, followed by a logit."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import soft_clamp

_LOG_GAIN_BOUND = 7.0


class Sigmoidal(AbstractByRoot):
    """Deep (dense) sigmoidal flow: z = logit(W_L sigmoid(a_L * (U_L h) + b_L)), h the same of the layer before.

    With `depth` 1 it is DSF, z = logit(sum_k w_k sigmoid(a_k x + b_k)); with more layers DDSF, with K units in each
    hidden layer. Rows of W and U are softmax weights, gains a = exp(7 tanh(log_gain / 7)) are positive. The computation
    uses both log sigmoid and log(1 - sigmoid), so that no tail is rounded away, and propagates log dz/dx through the
    layers. For large |x|, z is linear in x.

    Args:
        n_units: K.
        depth: number of layers of sigmoids, L.

    Leaves (unconstrained), of each layer: `log_gains` (K,), `offsets` (K,), `shares` (K, K), (1, K) in the last, and
    `mixes` (K, K) in all but the first. Offsets start spread over (-1.5, 1.5): equal units would remain equal.

    Cost: inverse (density) O(K) with one layer, else O(L K^2); forward (sampling) that for each step of the root
    solver.

    Raises:
        ValueError: if a size is not positive.

    Reference: Huang, Krueger, Lacoste & Courville 2018, sections 3.1 and 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Sigmoidal
        >>> z, _ = Sigmoidal(4).inverse_and_log_det(jnp.array(0.0))
        >>> print(abs(z) < 1e-6)
        True
    """

    log_gains: tuple[Float[Array, "..."], ...]
    offsets: tuple[Float[Array, "..."], ...]
    shares: tuple[Float[Array, "..."], ...]
    mixes: tuple[Float[Array, "..."], ...]

    def __init__(self, n_units: int = 16, depth: int = 1) -> None:
        if n_units < 1 or depth < 1:
            raise ValueError(f"n_units, depth: expected at least 1 each, got {n_units} and {depth}.")
        spread = jnp.asarray(1.5 * (2 * np.arange(n_units) + 1 - n_units) / n_units, jnp.result_type(float))
        self.log_gains = tuple(zeros(n_units) for _ in range(depth))
        self.offsets = tuple(zeros(n_units) + spread for _ in range(depth))
        self.shares = tuple(zeros((1 if layer == depth - 1 else n_units, n_units)) for layer in range(depth))
        self.mixes = tuple(zeros((n_units, n_units)) for _ in range(depth - 1))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        value, log_slope = x[None], jnp.zeros_like(x)[None]
        for layer, (log_gain, offset, shares) in enumerate(zip(self.log_gains, self.offsets, self.shares, strict=True)):
            if layer > 0:
                value, log_slope = _average(self.mixes[layer - 1], value, log_slope)
            log_gain = soft_clamp(log_gain, _LOG_GAIN_BOUND)
            value, log_slope = _logit_of_mixture(shares, jnp.exp(log_gain) * value + offset, log_slope + log_gain)
        return value[0], log_slope[0]


def _average(logits: Array, value: Array, log_slope: Array) -> tuple[Array, Array]:
    """Weighted means of I values, and the logarithms of their slopes; logits (K, I, ...)."""
    log_weights = jax.nn.log_softmax(logits, axis=1)
    slopes = jax.nn.logsumexp(log_weights + log_slope[None], axis=1)
    return jnp.sum(jnp.exp(log_weights) * value[None], axis=1), slopes


def _logit_of_mixture(logits: Array, pre_activation: Array, log_slope: Array) -> tuple[Array, Array]:
    """logit(w sigmoid(u)) for J rows of weights, logits (J, K, ...), and the logarithms of the slopes.

    d logit(F) / du_k = w_k s_k (1 - s_k) (1 / F + 1 / (1 - F)): a share of F times 1 - s_k plus a share of 1 - F times
    s_k, both positive.
    """
    below, above = -jax.nn.softplus(-pre_activation), -jax.nn.softplus(pre_activation)
    log_weights = jax.nn.log_softmax(logits, axis=1)
    left, right = log_weights + below[None], log_weights + above[None]
    value = jax.nn.logsumexp(left, axis=1) - jax.nn.logsumexp(right, axis=1)
    by_unit = jnp.logaddexp(
        jax.nn.log_softmax(left, axis=1) + above[None], jax.nn.log_softmax(right, axis=1) + below[None]
    )
    return value, jax.nn.logsumexp(by_unit + log_slope[None], axis=1)
