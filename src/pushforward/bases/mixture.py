"""Mixtures of distributions."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.contexts import common_context_shape, context_for
from pushforward.bases.parameters import broadcast_positive
from pushforward.core.distribution import AbstractDistribution, checked_context
from pushforward.core.ensemble import centred_together, context_centred_together
from pushforward.core.flow import Given
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device
from pushforward.numerics.programs import flatten, unflatten


class Mixture(AbstractDistribution):
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
        self.components = tuple(components)
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

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        log_probs = self._map(lambda part, key: part.log_prob_one(x, context_for(part, context), key), key)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_probs)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        choice_key, draw_key = jax.random.split(key)
        samples = self._map(
            lambda part, key: part.sample_and_log_prob_one(key, context_for(part, context))[0], draw_key
        )
        x = samples[jax.random.categorical(choice_key, self.logits)]
        return x, self.log_prob_one(x, context, None)

    def given(self, context: Any) -> Given:
        """The unconditional distribution of this mixture given one context, of shape `context_shape`."""
        return Given(self, checked_context(self, context))

    def centred(self) -> tuple["Mixture", np.ndarray | None]:
        components, centre = centred_together(self.components)
        return (self, None) if centre is None else (self._with(components), centre)

    def context_centred(self) -> tuple["Mixture", np.ndarray | None]:
        components, centre = context_centred_together(self.components)
        return (self, None) if centre is None else (self._with(components), centre)

    def _with(self, components: Sequence[Any]) -> "Mixture":
        return eqx.tree_at(lambda mixture: mixture.components, self, tuple(components))

    def _map(self, function: Callable[[Any, Any], Array], key: PRNGKeyArray | None) -> Array:
        """The results of `function(component, key)` for all components, stacked."""
        keys = None if key is None else jax.random.split(key, len(self.components))
        arrays, statics = zip(*map(flatten, self.components), strict=True)
        shapes = [tuple((leaf.shape, leaf.dtype) for leaf in leaves) for leaves in arrays]
        kinds = set(zip(statics, shapes, strict=True))
        if len(kinds) > 1:
            results = [function(c, None if keys is None else keys[k]) for k, c in enumerate(self.components)]
            return jnp.stack(results)
        stack = [jnp.stack(leaves) for leaves in zip(*arrays, strict=True)]
        indices = jnp.arange(len(self.components))  # vmap needs an array even if the components have none

        def apply_one(leaves: list[Array], key: PRNGKeyArray | None, _: Array) -> Array:
            return function(unflatten(leaves, statics[0]), key)

        return jax.vmap(apply_one, (0, None if keys is None else 0, 0))(stack, keys, indices)
