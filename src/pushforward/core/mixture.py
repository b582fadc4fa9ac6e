"""What mixtures have in common, with trained weights or equal ones: draws, and one centre of all parts."""

import abc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution, checked_context
from pushforward.core.flow import Flow, Given, context_for
from pushforward.core.standardise import Standardise


def checked_parts(name: str, parts: Any) -> tuple[Any, ...]:
    """The distributions of a list; an error if it is no list, or an item is no distribution."""
    if isinstance(parts, AbstractDistribution) or not isinstance(parts, Iterable):
        raise TypeError(f"{name}: expected a list of distributions, got {type(parts).__name__}.")
    parts = tuple(parts)
    for index, part in enumerate(parts):
        if not isinstance(part, AbstractDistribution):
            raise TypeError(
                f"{name}: expected distributions, such as flows, got {type(part).__name__} at index {index}."
            )
    return parts


class AbstractMixture(AbstractDistribution):
    """A distribution whose density is a weighted mean of the densities of its parts, and how to draw from it."""

    @property
    @abc.abstractmethod
    def parts(self) -> Sequence[Any]:
        """The distributions that are mixed."""

    @abc.abstractmethod
    def with_parts(self, parts: Sequence[Any]) -> "AbstractMixture":
        """The mixture of other distributions, with the same weights."""

    @abc.abstractmethod
    def map_parts(self, function: Callable[[Any, Any], Array], key: PRNGKeyArray | None) -> Array:
        """The results of `function(part, key)` for all parts, stacked."""

    @abc.abstractmethod
    def draw_index(self, key: PRNGKeyArray) -> Array:
        """The number of a part, drawn by the weights."""

    def given(self, context: Any) -> Given:
        """The unconditional distribution of this mixture given one context, of shape `context_shape`."""
        return Given(self, checked_context(self, context))

    def log_probs_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None = None) -> Array:
        """Log-densities (n,) of one sample under the parts."""
        return self.map_parts(lambda part, key: part.log_prob_one(x, context_for(part, context), key), key)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        choice_key, draw_key = jax.random.split(key)
        samples = self.map_parts(
            lambda part, key: part.sample_and_log_prob_one(key, context_for(part, context))[0], draw_key
        )
        x = samples[self.draw_index(choice_key)]
        return x, self.log_prob_one(x, context, None)

    def centred(self) -> tuple["AbstractMixture", np.ndarray | None]:
        parts, centre = _centred_together(self.parts)
        return (self, None) if centre is None else (self.with_parts(parts), centre)

    def context_centred(self) -> tuple["AbstractMixture", np.ndarray | None]:
        parts, centre = _context_centred_together(self.parts)
        return (self, None) if centre is None else (self.with_parts(parts), centre)


def _centred_together(parts: Sequence[Any]) -> tuple[list[Any], np.ndarray | None]:
    """Distributions of x - c for one centre c, zero in coordinates in which any part is near zero; None for zero."""
    pairs = [part.centred() for part in parts]
    if any(centre is None for _, centre in pairs):
        return list(parts), None
    centres = np.stack([centre for _, centre in pairs])
    common = np.where((centres != 0).all(0), centres.mean(0), 0.0)
    if not common.any():
        return list(parts), None
    if (centres == centres[0]).all():
        return [part for part, _ in pairs], centres[0]
    ones = np.ones(common.shape)
    shifts = [Standardise(common.shape).filled(centre - common, ones) for centre in centres]
    return [Flow(part, shift) for (part, _), shift in zip(pairs, shifts, strict=True)], common


def _context_centred_together(parts: Sequence[Any]) -> tuple[list[Any], np.ndarray | None]:
    """Distributions as functions of context - c for the one centre c that all have; None where there is none."""
    pairs = [part.context_centred() for part in parts]
    centres = [centre for _, centre in pairs]
    if any(centre is None or not np.array_equal(centre, centres[0]) for centre in centres):
        return list(parts), None
    return [part for part, _ in pairs], centres[0]
