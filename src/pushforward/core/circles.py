"""Circular coordinates: which coordinates are angles, and how angles enter a network."""

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
from pushforward.core.scalar import AbstractScalarBijection, scalar_parts


def is_circular(transformer: AbstractBijection) -> bool:
    """Whether a scalar bijection, or every part of a chain of such, maps the circle [-pi, pi) to itself.

    Example:
        >>> from pushforward.bijections import Affine, CircularSpline
        >>> from pushforward.core.circles import is_circular
        >>> is_circular(CircularSpline()), is_circular(Affine())
        (True, False)
    """
    return all(isinstance(part, AbstractScalarBijection) and part.is_circular for part in scalar_parts(transformer))


def circular_coordinates(bijection: AbstractBijection) -> np.ndarray:
    """Mask (bool, of the event shape) of the coordinates that some layer treats as angles.

    The mask is the union over the layers. Permutations between layers are not followed.
    """
    mask = np.zeros(bijection.shape, bool)
    nodes = jax.tree.leaves(bijection, is_leaf=_takes_angles)
    if not any(map(_takes_angles, nodes)):
        return mask
    if isinstance(bijection, Chain):
        for part in bijection.bijections:
            mask |= circular_coordinates(part)
    elif isinstance(bijection, Repeat):
        for layer in bijection:
            mask |= circular_coordinates(layer)
    elif isinstance(bijection, Inverse):
        mask |= circular_coordinates(bijection.bijection)
    elif isinstance(bijection, Conditional):
        mask |= circular_coordinates(bijection.layer)
    else:
        method = getattr(bijection, "circular_coordinates", None)
        mask |= False if method is None else method()
    return mask


def _takes_angles(node: Any) -> bool:
    return (isinstance(node, AbstractScalarBijection) and node.is_circular) or any(getattr(node, "angles", ()))


def wrap_angle(angle: Array) -> Array:
    """The angle moved into [-pi, pi] by whole turns; its derivative is 1 everywhere.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.core.circles import wrap_angle
        >>> print(wrap_angle(jnp.array([1.0, 1.0 + 2 * jnp.pi])).round(5))
        [1. 1.]
    """
    wrapped = angle - 2.0 * np.pi * jnp.floor((angle + np.pi) / (2.0 * np.pi))
    # rounding may exceed the edge by an ulp; the clip must not change the derivative
    return wrapped + jax.lax.stop_gradient(jnp.clip(wrapped, -np.pi, np.pi) - wrapped)


def check_angles_seen(transformer: AbstractBijection, network: object) -> None:
    """Raise an error for a circular transformer whose autoregressive network receives angles as plain numbers."""
    if is_circular(transformer) and not getattr(network, "is_periodic", False):
        raise ValueError(
            "network: expected a network that receives angles as cosine and sine, since "
            f"{type(transformer).__name__} maps the circle. Wrap it: "
            f"PeriodicInputs({type(network).__name__}(..., n_features=2))."
        )


def with_angles(values: Array, periodic: Sequence[bool]) -> Array:
    """Network inputs: first the values on the line, then the cosines and then the sines of the angles.

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
