"""Random keys from what users pass: an int, a new-style key of JAX, or a raw one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.numerics.programs import is_traced

_KEYS: dict[tuple[Any, ...], PRNGKeyArray] = {}
_MAX_KEYS = 256


def as_key(key: PRNGKeyArray | int | np.integer) -> PRNGKeyArray:
    """A JAX key from an int seed, a new-style key or a raw uint32 key."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return _key_of(int(key))
    if isinstance(key, jax.Array):
        return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    raise TypeError(f"key: expected an int or a JAX key (jax.random.key(0)), got {key!r}.")


def _key_of(seed: int) -> PRNGKeyArray:
    """`jax.random.key(seed)`, cached: JAX takes 40 microseconds to build one."""
    name = seed, jax.config.jax_default_prng_impl, jax.enable_x64.value  # ty: ignore[missing-attribute]
    key = _KEYS.get(name)
    if key is None:
        key = jax.random.key(seed)
        if not is_traced(key):
            if len(_KEYS) >= _MAX_KEYS:
                _KEYS.clear()
            _KEYS[name] = key
    return key
