"""Coordinates on a circle: which these are, and how a network sees an angle."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.conditional import Conditional
from pushforward.core.inverse import Inverse
from pushforward.core.repeat import Repeat


def is_circular(transformer: AbstractBijection) -> bool:
    """Whether a scalar bijection maps the circle [-pi, pi) to itself: its `support` is "circle", as `CircularSpline`'s.

    Example:
        >>> from pushforward.bijections import Affine, CircularSpline
        >>> from pushforward.core.circles import is_circular
        >>> is_circular(CircularSpline()), is_circular(Affine())
        (True, False)
    """
    if isinstance(transformer, Chain):
        return all(map(is_circular, transformer.bijections))
    if isinstance(transformer, Inverse):
        return is_circular(transformer.bijection)
    return getattr(transformer, "support", "line") == "circle"


def circular_coordinates(bijection: AbstractBijection) -> np.ndarray:
    """Which coordinates (bool, of the event shape) some layer of a stack takes as angles.

    Layers are looked at as they stand, side by side: what a permutation between them moves is not followed.
    """
    found = np.zeros(bijection.shape, bool)
    nodes = jax.tree.leaves(bijection, is_leaf=_takes_angles)
    if not any(map(_takes_angles, nodes)):
        return found
    if isinstance(bijection, Chain):
        for part in bijection.bijections:
            found |= circular_coordinates(part)
    elif isinstance(bijection, Repeat):
        for index in range(bijection.n_layers):
            found |= circular_coordinates(bijection.layer(index))
    elif isinstance(bijection, Inverse):
        found |= circular_coordinates(bijection.bijection)
    elif isinstance(bijection, Conditional):
        found |= circular_coordinates(bijection.layer)
    else:
        own = getattr(bijection, "circular_coordinates", None)
        found |= False if own is None else own()
    return found


def _takes_angles(node: Any) -> bool:
    return getattr(node, "support", "line") == "circle" or any(getattr(node, "angles", ()))


def check_angles_seen(transformer: AbstractBijection, network: object) -> None:
    """Refuse an autoregressive network that would see the angles of a circular transformer as numbers."""
    if is_circular(transformer) and not getattr(network, "is_periodic", False):
        raise ValueError(
            f"network: expected one that sees angles by cosine and sine, since {type(transformer).__name__} maps the "
            f"circle: wrap it, PeriodicInputs({type(network).__name__}(..., n_features=2))."
        )


def with_angles(values: Array, periodic: Sequence[bool]) -> Array:
    """Numbers as a network sees them: first those on the line, then the cosines and then the sines of the angles.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.core.circles import with_angles
        >>> print(with_angles(jnp.array([0.0, 5.0]), (True, False)))
        [5. 1. 0.]
    """
    if not any(periodic):
        return values
    angles, numbers = np.flatnonzero(periodic), np.flatnonzero(~np.asarray(periodic, bool))
    return jnp.concatenate([values[numbers], jnp.cos(values[angles]), jnp.sin(values[angles])])
