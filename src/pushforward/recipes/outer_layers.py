"""The layers between a recipe's own and the data: their units, and their correlations where asked."""

import math

from pushforward.bases import Normal, Uniform
from pushforward.bijections import Chain, Standardise, Whiten
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow


def outer_layers(dim: int, whiten: bool | None) -> list[AbstractBijection]:
    """`Standardise`, behind a `Whiten` where the recipe is asked for one; `fit` fills both.

    With `whiten=None` it is `fit` that chooses, with False nobody: see `pushforward.train.start`.
    """
    return [*([Whiten(dim)] if whiten else []), Standardise((dim,), joint_start=whiten is not False)]


def outer_flow(
    dim: int,
    layers: list[AbstractBijection],
    law: AbstractBijection,
    whiten: bool | None,
    base: AbstractDistribution | None,
) -> Flow:
    """The flow of these layers, standardised outside, over a standard normal where no base is given.

    On a circle, which has no unit to choose, nothing is outside, and the base is uniform.
    """
    if not is_circular(law):
        return Flow(base or Normal((dim,)), Chain([*layers, *outer_layers(dim, whiten)]))
    if whiten:
        raise ValueError("whiten: expected False for angles, which have no covariance to whiten by; got True.")
    return Flow(base or Uniform((dim,), -math.pi, math.pi), Chain(layers))
