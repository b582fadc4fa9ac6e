"""The outermost layers of a recipe: `Standardise`, and `Whiten` if requested."""

import math

from pushforward.bases import Normal, Uniform
from pushforward.bijections import Chain, Standardise, Whiten
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow


def outer_layers(dim: int, whiten: bool | None) -> list[AbstractBijection]:
    """`Standardise`, after a `Whiten` with `whiten=True`; `fit` fills both.

    With `whiten=None` `fit` may add a `Whiten`, with False it does not: see `pushforward.train.start`.
    """
    return [*([Whiten(dim)] if whiten else []), Standardise((dim,), joint_start=whiten is not False)]


def outer_flow(
    dim: int,
    layers: list[AbstractBijection],
    transformer: AbstractBijection,
    whiten: bool | None,
    base: AbstractDistribution | None,
) -> Flow:
    """The flow of these layers and the outer layers, over a standard normal by default.

    Circular transformers have no outer layers, because angles have a fixed unit, and a uniform base by default.
    """
    if not is_circular(transformer):
        return Flow(base or Normal((dim,)), Chain([*layers, *outer_layers(dim, whiten)]))
    if whiten:
        raise ValueError("whiten: expected False for angles, which have no covariance to whiten by; got True.")
    return Flow(base or Uniform((dim,), -math.pi, math.pi), Chain(layers))
