"""Log-densities, samples and latents with their NaN: the public methods raise where a check counts.

The functions run in the programs that the public methods compile, in chunks, so that memory stays flat.
"""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution, log_prob_batch, sample_batch
from pushforward.core.flow import Flow, context_for
from pushforward.numerics.batches import run_batched
from pushforward.numerics.programs import compiled_module

_MIN_BATCH = 1024
_SMALL_DIM = 64


def log_prob(distribution: AbstractDistribution, x: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Log-densities (n,) of x (n, *shape). Contexts are repeated to n."""
    return _run(log_prob_batch, distribution, x, contexts)[0]


def sample(
    distribution: AbstractDistribution, n: int, contexts: np.ndarray | None, key: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """n samples (n, *shape) with their log-densities (n,). Contexts are repeated to n."""
    samples, log_probs = _run(sample_batch, distribution, np.arange(n, dtype=np.uint32), contexts, key)
    return samples, log_probs


def forward(flow: Flow, z: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """x = T(z) (n, *shape) of latents z (n, *shape)."""
    return _run(_forward_batch, flow, z, contexts)[0]


def base_sample(flow: Flow, n: int, contexts: np.ndarray | None, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """n samples of a flow's base (n, *shape) with their log-densities (n,). Contexts are repeated to n."""
    samples, log_probs = _run(_base_sample_batch, flow, np.arange(n, dtype=np.uint32), contexts, key)
    return samples, log_probs


def base_log_prob(flow: Flow, z: np.ndarray, contexts: np.ndarray | None) -> np.ndarray:
    """Log-densities (n,) of latents z (n, *shape) under a flow's base."""
    return _run(_base_log_prob_batch, flow, z, contexts)[0]


def embed(flow: Flow, contexts: np.ndarray | None) -> np.ndarray | None:
    """Contexts (n, ...) after the flow's embedding, as its bijection and base expect them."""
    if contexts is None:
        return None
    return _run(_embed_batch, flow, np.zeros(len(contexts), np.float32), contexts)[0]


def repeat_to(batch: np.ndarray | None, n: int) -> np.ndarray | None:
    """The batch repeated along its first axis until it has n entries."""
    return None if batch is None else np.resize(batch, (n, *batch.shape[1:]))


def _run(function: Any, distribution: AbstractDistribution, batch: np.ndarray, contexts: Any, *more: Any) -> Any:
    module, n, dim = compiled_module(distribution), len(batch), math.prod(distribution.shape)
    # Small batches are repeated to one size, so that one program serves them all: a check spends most on compilation.
    size = max(n, _MIN_BATCH) if dim <= _SMALL_DIM else n
    inputs = [repeat_to(batch, size), repeat_to(repeat_to(contexts, n), size)]
    with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, and is counted as such
        inputs = [part.astype(module.dtype) if part is not None and part.dtype.kind == "f" else part for part in inputs]
    out = run_batched(function, module, inputs, size, dim, *more)
    if out is None:
        raise TypeError("check: expected a flow of numbers, got one under a transformation of JAX. Call it outside.")
    return tuple(np.asarray(part)[:n] for part in out)


def _map(function: Any, batch: Array, contexts: Array | None) -> Any:
    return jax.vmap(function, (0, None if contexts is None else 0))(batch, contexts)


def _forward_batch(flow: Flow, z: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(z: Array, context: Array | None) -> Array:
        return flow.bijection.forward_and_log_det(z, context_for(flow.bijection, flow.embed_context(context)))[0]

    return (_map(one, z, contexts),)


def _base_sample_batch(flow: Flow, key: PRNGKeyArray, indices: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(index: Array, context: Array | None) -> tuple[Array, Array]:
        return flow.base.sample_and_log_prob_one(
            jax.random.fold_in(key, index), context_for(flow.base, flow.embed_context(context))
        )

    return _map(one, indices, contexts)


def _base_log_prob_batch(flow: Flow, z: Array, contexts: Array | None) -> tuple[Array, ...]:
    def one(z: Array, context: Array | None) -> Array:
        return flow.base.log_prob_one(z, context_for(flow.base, flow.embed_context(context)), None)

    return (_map(one, z, contexts),)


def _embed_batch(flow: Flow, _: Array, contexts: Array | None) -> tuple[Array, ...]:
    out: Any = jax.vmap(flow.embed_context)(contexts)
    return (out,)
