"""Log-densities and samples as they come, NaN included: the public methods would raise where a check must count."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.distribution import AbstractDistribution
from pushforward.programs import flatten, float_type, unflatten

_BATCH = 1024


@functools.partial(jax.jit, static_argnums=0)
def _score(static: Any, arrays: list[Any], x: Array, contexts: Any) -> Array:
    distribution = unflatten(arrays, static)
    return jax.lax.map(lambda row: distribution.score_one(row[0], row[1], None), (x, contexts), batch_size=_BATCH)


@functools.partial(jax.jit, static_argnums=0)
def _draw(static: Any, arrays: list[Any], keys: Any, contexts: Any) -> tuple[Array, Array]:
    distribution = unflatten(arrays, static)
    return jax.lax.map(lambda row: distribution.draw_one(*row), (keys, contexts), batch_size=_BATCH)


def score(distribution: AbstractDistribution, x: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Log-densities of rows x (n, *shape), at their contexts (any number, repeated to n)."""
    arrays, static = flatten(distribution)
    n, dtype = len(x), float_type(arrays)
    padded = math.ceil(n / _BATCH) * _BATCH  # whole batches: a rest would be compiled once more
    given = repeated(contexts, padded)
    out = _score(
        static, arrays, jnp.asarray(repeated(x, padded), dtype), None if given is None else given.astype(dtype)
    )
    return np.asarray(out)[:n]


def draw(
    distribution: AbstractDistribution, n: int, contexts: np.ndarray | None, key: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """n samples (n, *shape) with their log-densities, at the contexts in turn."""
    arrays, static = flatten(distribution)
    given = repeated(contexts, n)
    given = None if given is None else given.astype(float_type(arrays))
    samples, scores = _draw(static, arrays, jax.random.split(key, n), given)
    return np.asarray(samples), np.asarray(scores)


def repeated(rows: np.ndarray | None, n: int) -> np.ndarray | None:
    """The rows again and again, n in all."""
    return None if rows is None else np.resize(rows, (n, *rows.shape[1:]))
