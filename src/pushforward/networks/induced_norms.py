"""Induced matrix norms: the Lipschitz constant of a linear map from one vector norm to another.

    |W|_{p->q} = max |x W|_q / |x|_p        for W (in, out), which maps a row x to x W

    p -> q   value                                        kind
    1 -> 1   greatest sum of |w| over a row               exact
    1 -> 2   greatest 2-norm of a row                     exact
    1 -> inf greatest |w|                                 exact
    2 -> 2   greatest singular value                      exact by SVD, a lower bound by power iteration
    2 -> inf greatest 2-norm of a column                  exact
    inf->inf greatest sum of |w| over a column            exact
    inf-> 2  sqrt(sum of |W W^T|)                         upper bound (computing it exactly is NP-hard)
    2 -> 1   sqrt(sum of |W^T W|)                         upper bound, by duality
    inf-> 1  sum of |w|                                   upper bound

Reference: Chen, Behrmann, Duvenaud & Jacobsen 2019, section 3.3 and appendix D (mixed norms); Tropp 2004, section 4.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SPECTRAL = (2.0, 2.0)
NORMS = (1.0, 2.0, float("inf"))


def closed_norm(weight: Array, norms: tuple[float, float]) -> Float[Array, ""]:
    """The norm in closed form or an upper bound of it, differentiable, for every pair but 2 -> 2."""
    magnitude, (first, last) = jnp.abs(weight), norms
    if first == 1.0:
        return jnp.max(vector_norm(weight, last, axis=1))
    if last == float("inf"):
        return jnp.max(vector_norm(weight, 2.0 if first == 2.0 else 1.0, axis=0))
    if last == 1.0 and first == float("inf"):
        return jnp.sum(magnitude)
    gram = weight.T @ weight if first == 2.0 else weight @ weight.T
    return jnp.sqrt(jnp.sum(jnp.abs(gram)))


def certified_norm(weight: Array, norms: tuple[float, float]) -> Float[Array, ""]:
    """An upper bound of the norm that includes rounding errors."""
    value = jnp.linalg.norm(weight, 2) if norms == SPECTRAL else closed_norm(weight, norms)
    return value * (1 + rounding_bound(weight, max(weight.shape)))


def rounding_bound(weight: Array, length: int) -> float:
    """Relative error bound of sums of `length` products and of decompositions of such matrices."""
    return length * float(jnp.finfo(weight.dtype).eps)


def vector_norm(x: Array, norm: float, axis: int | None = None) -> Float[Array, "..."]:
    """The 1-, 2- or inf-norm, of the array or along an axis; large numbers do not overflow.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(pf.networks.vector_norm(jnp.array([3e30, 4e30]), 2.0))
        5e+30
    """
    magnitude = jnp.abs(x)
    if norm == float("inf"):
        return jnp.max(magnitude, axis)
    if norm == 1.0:
        return jnp.sum(magnitude, axis)
    largest = jax.lax.stop_gradient(jnp.max(magnitude, axis, keepdims=True))
    scale = jnp.where(largest > 0, largest, 1)
    total = jnp.sum((magnitude / scale) ** 2, axis)
    root = jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)
    return root * scale.reshape(total.shape)


def power_steps(weight: Array, right: Array, n_steps: int) -> tuple[Float[Array, "a"], Float[Array, "b"]]:
    """Leading left and right singular vectors (in,), (out,) after `n_steps` power iterations from `right`."""

    def step(_: Any, right: Array) -> Array:
        return normalise(normalise(weight @ right) @ weight)

    right = jax.lax.fori_loop(0, n_steps, step, right) if n_steps > 1 else step(0, right)
    return normalise(weight @ right), right


def normalise(x: Array) -> Float[Array, "..."]:
    """x scaled to length one; zero stays zero."""
    length = vector_norm(x, 2.0)
    return x / jnp.where(length > 0, length, 1)
