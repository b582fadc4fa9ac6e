"""Products of independent distributions of vectors."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.bases.contexts import common_context_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import context_for
from pushforward.errors import ShapeError


class Product(AbstractDistribution):
    """Product of independent distributions: log p(x) = sum_k log p_k(x_k), x the concatenation of the blocks x_k.

    Args:
        parts: at least one distribution of vectors; the event is (sum of their lengths,).

    Cost: the sum of those of the parts, to score and to sample.

    Raises:
        ShapeError: if there is no part, one is not of vectors, or their context shapes differ.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> base = pf.bases.Product([pf.bases.Normal((2,)), pf.bases.Uniform((1,), high=2.0)])
        >>> print(base.shape, f"{base.log_prob(jnp.zeros(3)):.4f}")
        (3,) -2.5310
    """

    parts: tuple[AbstractDistribution, ...]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, parts: Sequence[AbstractDistribution]) -> None:
        self.parts = tuple(parts)
        self.shape = (sum(part.shape[0] for part in self.parts if part.shape),)
        self.context_shape = common_context_shape(self.parts)

    def __check_init__(self) -> None:
        shapes = [part.shape for part in self.parts]
        if not shapes or any(len(shape) != 1 for shape in shapes):
            raise ShapeError(
                f"parts: expected at least one distribution, each of vectors (shape (n,)), got shapes {shapes}."
            )

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        keys = [None] * len(self.parts) if key is None else jax.random.split(key, len(self.parts))
        total, start = jnp.zeros((), x.dtype), 0
        for part, part_key in zip(self.parts, keys, strict=True):
            end = start + part.shape[0]
            total = total + part.log_prob_one(x[start:end], context_for(part, context), part_key)
            start = end
        return total

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        keys = jax.random.split(key, len(self.parts))
        draws = [part.sample_and_log_prob_one(keys[k], context_for(part, context)) for k, part in enumerate(self.parts)]
        return jnp.concatenate([x for x, _ in draws]), jnp.sum(jnp.stack([log_prob for _, log_prob in draws]))
