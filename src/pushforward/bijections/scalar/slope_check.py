"""Scalar bijections whose slope can vanish, which a conditioner could reach in training, are refused."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.core.fields import emitted_leaves
from pushforward.core.scalar import scalar_parts


def check_never_singular(transformer: Any) -> None:
    """Raise unless a scalar bijection increases with a finite log-slope at all values of its leaves.

    A transformer such as theta * z with unconstrained theta is a bijection almost everywhere, but singular at
    theta = 0, which training can reach. A class declares by `never_singular` that it is none of these, as all of the
    library do. A transformer with a class that declares nothing is tried at leaves with normal deviations of 0, 1, 10
    and 100, of both signs.

    Raises:
        ValueError: if the slope can vanish; the message names a fix.
    """
    declared = {type(part): getattr(part, "never_singular", None) for part in scalar_parts(transformer)}
    if all(declared.values()):
        return
    if False in declared.values() or not _increases_at_all_leaves(transformer):
        names = " or ".join(kind.__name__ for kind, is_safe in declared.items() if not is_safe)
        raise ValueError(
            f"transformer: {names} is not strictly increasing with a finite log-slope at all values of its leaves: a "
            "conditioner could make the layer singular. Let its leaves be unconstrained and make the scale positive by "
            "construction, such as exp of a bounded number or softplus plus a floor."
        )


def _increases_at_all_leaves(bijection: Any) -> bool:
    starts, static = eqx.partition(bijection, emitted_leaves(bijection))
    leaves, structure = jax.tree.flatten(starts)
    random, points = np.random.default_rng(0), jnp.linspace(-2.0, 2.0, 9)
    with jax.ensure_compile_time_eval():
        for deviation in (0.0, 1.0, -1.0, 10.0, -10.0, 100.0, -100.0):
            shifted = [leaf + jnp.asarray(deviation * random.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
            candidate = eqx.combine(jax.tree.unflatten(structure, shifted), static)
            values, log_slopes = jax.vmap(candidate.forward_and_log_det)(points)
            is_finite = jnp.isfinite(values)  # points whose value overflows are not judged
            has_slopes = jnp.isfinite(log_slopes) | ~is_finite
            is_increasing = (jnp.diff(values) >= 0) | ~(is_finite[1:] & is_finite[:-1])
            if not (has_slopes.all() and is_increasing.all()):
                return False
    return True
