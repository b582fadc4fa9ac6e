"""The layers between a recipe's own and the data: their units, and their correlations where asked."""

from pushforward.bijection import AbstractBijection
from pushforward.bijections import Standardise, Whiten


def outer_layers(dim: int, whiten: bool | None) -> list[AbstractBijection]:
    """`Standardise`, behind a `Whiten` where the recipe is asked for one; `fit` fills both.

    With `whiten=None` it is `fit` that chooses, with False nobody: see `pushforward.train.start`.
    """
    return [*([Whiten(dim)] if whiten else []), Standardise((dim,), joint_start=whiten is not False)]
