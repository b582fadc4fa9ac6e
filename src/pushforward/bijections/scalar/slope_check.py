"""A probe that refuses a transformer whose slope can vanish: a conditioner could steer the layer there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import emitted_leaves


def check_never_singular(transformer: AbstractBijection) -> None:
    """Refuse a scalar bijection that is not strictly increasing with a finite log-slope at every parameter tried.

    A law such as theta * z, with theta free, is a bijection almost everywhere, but theta crosses zero and there the
    layer is singular. The parameters tried are normal with deviations 0, 1, 10 and 100 and both signs of each. The
    library's own transformers are positive by construction, proven by its tests, and are not probed.

    Raises:
        ValueError: with the remedy.
    """
    if all(type(part).__module__.startswith("pushforward.") for part in _parts(transformer)):
        return
    starts, rest = eqx.partition(transformer, emitted_leaves(transformer))
    leaves, structure = jax.tree.flatten(starts)
    random = np.random.default_rng(0)
    points = jnp.linspace(-2.0, 2.0, 9)
    with jax.ensure_compile_time_eval():
        for deviation in (0.0, 1.0, -1.0, 10.0, -10.0, 100.0, -100.0):
            moved = [leaf + jnp.asarray(deviation * random.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
            tried = eqx.combine(jax.tree.unflatten(structure, moved), rest)
            values, log_slopes = jax.vmap(tried.forward_and_log_det)(points)
            # where the value itself has overflowed, nothing can be said
            within = jnp.isfinite(values)
            finite = bool((jnp.isfinite(log_slopes) | ~within).all())
            rising = bool(((jnp.diff(values) >= 0) | ~(within[1:] & within[:-1])).all())
            if not (finite and rising):
                raise ValueError(
                    f"transformer: {type(transformer).__name__} is not strictly increasing with a finite log-slope at "
                    f"every parameter (tried deviations of {abs(deviation):g} from its start values): a conditioner "
                    "could make the layer singular. Let its leaves be unconstrained and make the scale positive by "
                    "construction, such as exp of a bounded number or softplus plus a floor."
                )


def _parts(bijection: AbstractBijection) -> list[AbstractBijection]:
    """The bijection and all that it is made of, to any depth."""

    def is_inner(node: object) -> bool:
        return isinstance(node, AbstractBijection) and node is not bijection

    inner = [node for node in jax.tree.leaves(bijection, is_leaf=is_inner) if is_inner(node)]
    return [bijection, *(part for node in inner for part in _parts(node))]
