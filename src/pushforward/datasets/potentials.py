"""The four 2-D test energies of Rezende & Mohamed, each with a wall, as targets for `fit_target`.

log p(z) = -U(z) - sum_i max(|z_i| - 4, 0)^2 / (2 * 0.1^2). With e(a, s) = exp(-(a / s)^2 / 2), w1 = sin(pi z1 / 2),
w2 = 3 e(z1 - 1, 0.6) and w3 = 3 / (1 + exp(-(z1 - 1) / 0.3)) the energies U are:

- `ring`: ((|z| - 2) / 0.4)^2 / 2 - log(e(z1 - 2, 0.6) + e(z1 + 2, 0.6));
- `wave`: ((z2 - w1) / 0.4)^2 / 2;
- `split_wave`: -log(e(z2 - w1, 0.35) + e(z2 - w1 + w2, 0.35));
- `forked_wave`: -log(e(z2 - w1, 0.4) + e(z2 - w1 + w3, 0.35)).

Without the wall the last three have infinite mass: along z1 they are constant or periodic.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

_WALL, _WALL_WIDTH = 4.0, 0.1


def _e(a: Array, width: float) -> Array:
    return -0.5 * (a / width) ** 2


def _ring(z: Array) -> Array:
    radius = jnp.sqrt(z[0] ** 2 + z[1] ** 2 + 1e-20)  # with a gradient at the origin
    return _e(radius - 2.0, 0.4) + jnp.logaddexp(_e(z[0] - 2.0, 0.6), _e(z[0] + 2.0, 0.6))


def _above_wave(z: Array) -> Array:
    return z[1] - jnp.sin(0.5 * jnp.pi * z[0])


def _wave(z: Array) -> Array:
    return _e(_above_wave(z), 0.4)


def _split_wave(z: Array) -> Array:
    gap = 3.0 * jnp.exp(_e(z[0] - 1.0, 0.6))
    return jnp.logaddexp(_e(_above_wave(z), 0.35), _e(_above_wave(z) + gap, 0.35))


def _forked_wave(z: Array) -> Array:
    gap = 3.0 * jax.nn.sigmoid((z[0] - 1.0) / 0.3)
    return jnp.logaddexp(_e(_above_wave(z), 0.4), _e(_above_wave(z) + gap, 0.35))


_ENERGIES = {"ring": _ring, "wave": _wave, "split_wave": _split_wave, "forked_wave": _forked_wave}
POTENTIAL_NAMES = tuple(_ENERGIES)


def potential(name: str) -> Callable[[Array], Array]:
    """One of the four walled energies as an unnormalised log-density of one 2-D point.

    Args:
        name: "ring", "wave", "split_wave" or "forked_wave" (their U_1 to U_4).

    Returns:
        A function from an array (2,) to a scalar, for `fit_target`, `importance_sample` and `jax.vmap`.

    Raises:
        ValueError: for an unknown name.

    Reference: Rezende & Mohamed 2015, table 1. Deviation: the wall.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(pf.datasets.potential("wave")(jnp.zeros(2)))
        -0.0
    """
    if name not in _ENERGIES:
        raise ValueError(f"name: expected one of {', '.join(POTENTIAL_NAMES)}, got {name!r}.")
    energy = _ENERGIES[name]

    def log_density(z: Array) -> Array:
        excess = jnp.maximum(jnp.abs(z) - _WALL, 0.0)
        return energy(z) - jnp.sum((excess / _WALL_WIDTH) ** 2) / 2

    return log_density
