"""Start weights, drawn on the host if the key is concrete, so that building a flow compiles nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.numerics.arrays import on_device


def normal(key: PRNGKeyArray, shape: tuple[int, ...], scale: float) -> Float[Array, "..."]:
    """Independent normal variates of standard deviation `scale`, in JAX's default float type.

    A concrete key seeds NumPy's generator, because eager JAX would compile one program for every shape. Under a trace
    (an ensemble built by `vmap` over keys) JAX's generator is used, which gives other numbers.
    """
    dtype = jnp.result_type(float)
    if isinstance(key, jax.core.Tracer):
        return scale * jax.random.normal(key, shape, dtype)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return on_device(generator.normal(scale=scale, size=shape), dtype)
