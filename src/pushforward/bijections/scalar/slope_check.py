"""A check that rejects transformers whose slope can vanish, which a conditioner could reach in training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import emitted_leaves


def check_never_singular(transformer: AbstractBijection) -> None:
    """Raise unless a scalar bijection is strictly increasing with a finite log-slope at all test parameters.

    A transformer such as theta * z with unconstrained theta is a bijection almost everywhere, but singular at
    theta = 0, which training can reach. The test parameters are normal with standard deviations 0, 1, 10 and 100, and
    both signs of each. The library's transformers are positive by construction, as its tests show, and are not checked.

    Raises:
        ValueError: if the slope can vanish; the message names a fix.
    """
    if all(type(part).__module__.startswith("pushforward.") for part in _parts(transformer)):
        return
    starts, static = eqx.partition(transformer, emitted_leaves(transformer))
    leaves, structure = jax.tree.flatten(starts)
    random = np.random.default_rng(0)
    points = jnp.linspace(-2.0, 2.0, 9)
    with jax.ensure_compile_time_eval():
        for deviation in (0.0, 1.0, -1.0, 10.0, -10.0, 100.0, -100.0):
            shifted = [leaf + jnp.asarray(deviation * random.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
            candidate = eqx.combine(jax.tree.unflatten(structure, shifted), static)
            values, log_slopes = jax.vmap(candidate.forward_and_log_det)(points)
            # points whose value overflows are not judged
            is_finite = jnp.isfinite(values)
            has_slopes = bool((jnp.isfinite(log_slopes) | ~is_finite).all())
            is_increasing = bool(((jnp.diff(values) >= 0) | ~(is_finite[1:] & is_finite[:-1])).all())
            if not (has_slopes and is_increasing):
                raise ValueError(
                    f"transformer: {type(transformer).__name__} is not strictly increasing with a finite log-slope at "
                    f"every parameter (tried deviations of {abs(deviation):g} from its start values): a conditioner "
                    "could make the layer singular. Let its leaves be unconstrained and make the scale positive by "
                    "construction, such as exp of a bounded number or softplus plus a floor."
                )


def _parts(bijection: AbstractBijection) -> list[AbstractBijection]:
    """The bijection and all bijections nested in it."""

    def is_inner(node: object) -> bool:
        return isinstance(node, AbstractBijection) and node is not bijection

    inner = [node for node in jax.tree.leaves(bijection, is_leaf=is_inner) if is_inner(node)]
    return [bijection, *(part for node in inner for part in _parts(node))]
