"""What all flows of vectors share: the transformer of a name, contexts, the base, and the outer layers."""

import math
from collections.abc import Sequence

from jaxtyping import PRNGKeyArray

from pushforward.bases import Normal, Uniform
from pushforward.bijections import Chain, Conditional, Inverse, RationalQuadraticSpline, Standardise, Whiten
from pushforward.bijections.scalar import transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import layers_of
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import count_parameters
from pushforward.core.flow import Flow
from pushforward.recipes.network_factory import NetworkFactory


def vector_flow(
    layers: Sequence[AbstractBijection],
    whiten: bool | None,
    base: AbstractDistribution | None,
    transformer: AbstractBijection | None = None,
) -> Flow:
    """The flow of these layers, then `Whiten` with `whiten=True`, then `Standardise`; `fit` fills both.

    With `whiten=None` `fit` may add a `Whiten`, with False it does not: see `pushforward.train.start`. The base is a
    standard normal by default. Circular transformers have no outer layers, because angles have a fixed unit, and a
    uniform base by default.
    """
    (dim,) = shape = layers[0].shape
    if transformer is not None and is_circular(transformer):
        if whiten:
            raise ValueError("whiten: expected False for angles, which have no covariance to whiten by; got True.")
        return Flow(base or Uniform(shape, -math.pi, math.pi), Chain(layers))
    outer = [*([Whiten(dim)] if whiten else []), Standardise(shape, joint_start=whiten is not False)]
    return Flow(base or Normal(shape), Chain([*layers, *outer]))


def with_inner_layer(layer: AbstractBijection, flow: Flow) -> Flow:
    """The flow of a recipe with one more layer, next to the base."""
    return Flow(flow.base, Chain([layer, *layers_of(flow.bijection)]))


def conditional(
    layer: AbstractBijection, context_dim: int | None, key: PRNGKeyArray, network: NetworkFactory
) -> AbstractBijection:
    """A layer of few parameters, to which a network of the context, if there is one, is added."""
    if context_dim is None:
        return layer
    conditioner = network(context_dim, (count_parameters(layer),), context_size=0, key=key)
    return Conditional(layer, conditioner, (context_dim,))


def density_transformer(transformer: str | AbstractBijection) -> AbstractBijection:
    """The transformer of a name in layers whose density takes one pass, or the object itself after a check.

    The forward direction of a rational-quadratic spline is the cheaper one: by name it maps data to base.
    """
    return nsf_spline() if transformer == "rational_quadratic" else transformer_named(transformer)


def nsf_spline(n_bins: int = 8, bound: float = 4.0) -> AbstractBijection:
    """The transformer of `nsf`."""
    return Inverse(RationalQuadraticSpline(n_bins, bound=bound))
