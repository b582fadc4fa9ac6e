"""Mixtures of distributions."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.contexts import common_context_shape
from pushforward.bases.parameters import broadcast_positive
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.mixture import AbstractMixture, checked_parts
from pushforward.core.stacked import kind_of, map_stacked, stack
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device


class Mixture(AbstractMixture):
    """Mixture of distributions with trained weights: log p(x) = log sum_k w_k p_k(x), w = softmax(logits).

    The components keep their trained parameters: a `MultivariateNormal` its moments, a `Normal` none; flows serve as
    well. Components of equal structure are evaluated under one vmap, unlike ones in sequence. Components with equal
    initial values would stay equal: initialise them differently (flows of different keys, or shifted bases). `fit`
    trains components and weights together by the likelihood of the mixture; flows that are fitted separately and only
    averaged are an `Ensemble`.

    Args:
        components: at least one distribution, all of one shape (and one context shape, unconditional ones aside).
        weights: initial values of the K weights, positive, normalised to sum to one; None for equal weights.

    Leaves (unconstrained): `logits` (K,), and those of the components.

    Cost: K evaluations to score. Sampling draws from all K, selects one, and scores it under all K. The selection has
    no gradient with respect to the logits.

    Raises:
        ShapeError: if there is no component, or their shapes differ.
        ValueError: if a weight is not positive.

    Reference: Bishop 2006, section 2.3.9.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> base = pf.bases.Mixture([pf.bases.MultivariateNormal(1, loc=m) for m in (-2.0, 2.0)])
        >>> print(f"{base.log_prob(jnp.zeros(1)):.4f}")
        -2.9189
    """

    components: tuple[AbstractDistribution, ...]
    logits: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, components: Sequence[AbstractDistribution], weights: ArrayLike | None = None) -> None:
        self.components = checked_parts("components", components)
        self.shape = self.components[0].shape if self.components else ()
        self.context_shape = common_context_shape(self.components)
        initial = broadcast_positive("weights", 1.0 if weights is None else weights, (len(self.components),))
        self.logits = on_device(np.log(initial / initial.sum()))

    def __check_init__(self) -> None:
        shapes = [component.shape for component in self.components]
        if len(set(shapes)) != 1:
            raise ShapeError(f"components: expected at least one, all of one shape, got shapes {shapes}.")
        if self.logits.shape != (len(shapes),):
            raise ShapeError(f"logits: expected shape ({len(shapes)},), got {self.logits.shape}.")

    @property
    def parts(self) -> tuple[AbstractDistribution, ...]:
        return self.components

    def with_parts(self, parts: Sequence[Any]) -> "Mixture":
        return eqx.tree_at(lambda mixture: mixture.components, self, tuple(parts))

    def map_parts(self, function: Callable[[Any, Any], Array], key: PRNGKeyArray | None) -> Array:
        n = len(self.components)
        if len(set(map(kind_of, self.components))) > 1:
            keys = [None] * n if key is None else jax.random.split(key, n)
            return jnp.stack([function(part, keys[k]) for k, part in enumerate(self.components)])
        return map_stacked(stack(self.components, "components", ""), n, function, key)

    def draw_index(self, key: PRNGKeyArray) -> Array:
        return jax.random.categorical(key, self.logits)

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        log_probs = self.log_probs_one(x, context, key)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_probs)
