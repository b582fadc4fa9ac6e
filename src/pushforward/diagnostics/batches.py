"""Log-densities, samples and latents as they come, NaN included: the public methods would raise where a check counts.

They run in the programs that the public methods compile, chunk by chunk, so memory stays flat.
"""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution, log_prob_batch, sample_batch
from pushforward.core.flow import Flow
from pushforward.numerics.programs import compiled_module, run_batched

_ROWS = 1024
_SMALL = 64


def score(distribution: AbstractDistribution, x: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Log-densities of rows x (n, *shape), at their contexts (any number, repeated to n)."""
    return _run(log_prob_batch, distribution, x, contexts)[0]


def draw(
    distribution: AbstractDistribution, n: int, contexts: np.ndarray | None, key: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """n samples (n, *shape) with their log-densities, at the contexts in turn."""
    samples, scores = _run(sample_batch, distribution, np.arange(n, dtype=np.uint32), contexts, key)
    return samples, scores


def forward(flow: Flow, z: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Images (n, *shape) of latents z (n, *shape), at their contexts."""
    return _run(_forward_rows, flow, z, contexts)[0]


def base_draws(flow: Flow, n: int, contexts: np.ndarray | None, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """n draws of a flow's base (n, *shape) with their log-densities, at the flow's contexts in turn."""
    drawn, scores = _run(_base_rows, flow, np.arange(n, dtype=np.uint32), contexts, key)
    return drawn, scores


def base_scores(flow: Flow, z: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Log-densities (n,) of latents under a flow's base."""
    return _run(_base_score_rows, flow, z, contexts)[0]


def embedded(flow: Flow, contexts: np.ndarray | None) -> np.ndarray | None:
    """Contexts (n, ...) as the flow's bijection and base take them."""
    if contexts is None:
        return None
    return _run(_embedded_rows, flow, np.zeros(len(contexts), np.float32), contexts)[0]


def repeated(rows: np.ndarray | None, n: int) -> np.ndarray | None:
    """The rows again and again, n in all."""
    return None if rows is None else np.resize(rows, (n, *rows.shape[1:]))


def _run(verb: Any, distribution: AbstractDistribution, rows: np.ndarray, contexts: Any, *more: Any) -> Any:
    module, n, dim = compiled_module(distribution), len(rows), math.prod(distribution.shape)
    # Few rows go in repeated, for one size of program in place of several: compilation is most of what a check costs.
    size = max(n, _ROWS) if dim <= _SMALL else n
    inputs = [repeated(rows, size), repeated(repeated(contexts, n), size)]
    with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, and is counted as such
        inputs = [part.astype(module.dtype) if part is not None and part.dtype.kind == "f" else part for part in inputs]
    out = run_batched(verb, module, inputs, size, dim, *more)
    if out is None:
        raise TypeError("check: expected a flow of numbers, got one under a transformation of JAX. Call it outside.")
    return tuple(np.asarray(part)[:n] for part in out)


def _map(function: Any, rows: Array, contexts: Array | None) -> Any:
    return jax.vmap(function, (0, None if contexts is None else 0))(rows, contexts)


def _inner(part: Any, context: Array | None) -> Array | None:
    return None if part.context_shape is None else context


def _forward_rows(flow: Flow, z: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(z: Array, context: Array | None) -> Array:
        return flow.bijection.forward_and_log_det(z, _inner(flow.bijection, flow.embed_context(context)))[0]

    return (_map(one, z, contexts),)


def _base_rows(flow: Flow, key: PRNGKeyArray, indices: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(index: Array, context: Array | None) -> tuple[Array, Array]:
        return flow.base.sample_and_log_prob_one(
            jax.random.fold_in(key, index), _inner(flow.base, flow.embed_context(context))
        )

    return _map(one, indices, contexts)


def _base_score_rows(flow: Flow, z: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(z: Array, context: Array | None) -> Array:
        return flow.base.log_prob_one(z, _inner(flow.base, flow.embed_context(context)), None)

    return (_map(one, z, contexts),)


def _embedded_rows(flow: Flow, rows: Array, contexts: Array | None) -> tuple[Array, ...]:
    found: Any = jax.vmap(flow.embed_context)(contexts)
    return (found,)
