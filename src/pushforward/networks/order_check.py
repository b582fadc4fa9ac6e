"""The test of an autoregressive network of the caller: it perturbs inputs under random weights."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.core.fields import trainable
from pushforward.core.network_call import call_network
from pushforward.errors import ShapeError
from pushforward.networks.autoregressive import Ranks
from pushforward.numerics.arrays import is_inexact
from pushforward.numerics.programs import flatten, is_traced, unflatten

# Deviations of the random weights: saturated or inactive units hide a dependence in one draw, not in all.
_SCALES = (1.0, 1.0, 0.3, 3.0)
_MAX_PERTURBED = 128
_ROUNDINGS = 100.0  # a difference of as many rounding errors of the largest output is a dependence


def check_order(
    network: Callable[..., Array], ranks: np.ndarray, context_shape: tuple[int, ...] | None, n_parameters: int
) -> None:
    """Raise a ValueError if the parameters of some coordinate depend on one of the same or of higher rank.

    Trained leaves are replaced by random numbers, since start weights of zero hide every dependence. Above 128
    coordinates, 128 of them are perturbed, evenly spaced. Outputs that are not finite are not compared. Nothing is
    tested under a trace (a constructor inside `vmap` or `jit`).

    Args:
        network: called as network(x, context), x (D,), returns (P, D).
        ranks: (D,).
        context_shape: or None.
        n_parameters: P.
    """
    if is_traced(*jax.tree.leaves(network)):
        return
    generator, dim = np.random.default_rng(0), len(ranks)
    columns = np.unique(np.linspace(0, dim - 1, min(dim, _MAX_PERTURBED)).astype(int))
    dtype = jnp.result_type(float)
    for scale in _SCALES:
        arrays, static = flatten(_randomised(network, generator, scale))
        x = np.tile(generator.normal(size=dim), (1 + len(columns), 1))
        x[np.arange(len(columns)) + 1, columns] += 1 + generator.exponential(size=len(columns))
        context = None if context_shape is None else generator.normal(size=context_shape).astype(dtype)
        out = _outputs(arrays, x.astype(dtype), context, static, (n_parameters, dim))
        if is_traced(out):
            return
        depends = _differs(np.asarray(out))
        wrong = np.argwhere(depends & (ranks[columns][:, None] >= ranks[None]))
        if len(wrong):
            row, output = min(map(tuple, wrong.tolist()), key=lambda pair: pair[::-1])
            column = int(columns[row])
            raise ValueError(
                f"network: expected the parameters of each coordinate to depend on coordinates of lower rank only, but "
                f"output {output} (rank {ranks[output]}) depends on input {column} (rank {ranks[column]}). Mask it, or "
                "pass its ranks= to the layer. A mask is a constant only as an array of bool or int: one of floats is "
                "trained like any weight."
            )


def checked_ranks(network: Any, ranks: Ranks | None) -> np.ndarray:
    """The ranks of the coordinates, numbered from 0 without gaps: those given, or else those of the network."""
    own = getattr(network, "ranks", None)
    if ranks is None:
        ranks = own
    if ranks is None:
        raise ValueError(
            f"ranks: expected the rank of each coordinate, or their number for the natural order, because "
            f"{type(network).__name__} has no `ranks`; got None."
        )
    if isinstance(ranks, jax.core.Tracer):
        return np.arange(ranks.shape[0])
    given = np.arange(ranks) if isinstance(ranks, int | np.integer) else np.asarray(ranks)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        raise ShapeError(f"ranks: expected (D,) integers, or a number of coordinates, got {ranks!r}.")
    if own is not None and not isinstance(own, jax.core.Tracer) and not np.array_equal(np.asarray(own), given):
        raise ValueError(
            f"ranks: expected those of {type(network).__name__}, {np.asarray(own).tolist()}, got {given.tolist()}. "
            "Leave them out."
        )
    return np.unique(given, return_inverse=True)[1].reshape(-1)


def _randomised(network: Any, generator: np.random.Generator, scale: float) -> Any:
    """The network with random numbers of about `scale` / sqrt(fan-in) for its trained leaves."""

    def draw(leaf: Any) -> Any:
        fan = np.sqrt(np.prod(leaf.shape[-2:])) if leaf.ndim > 1 else 1.0
        return generator.normal(scale=scale / np.sqrt(fan), size=leaf.shape).astype(leaf.dtype)

    trained, rest = eqx.partition(network, trainable(network))
    return eqx.combine(jax.tree.map(lambda leaf: draw(leaf) if is_inexact(leaf) else leaf, trained), rest)


def _differs(out: np.ndarray) -> np.ndarray:
    """Which outputs (n, D) differ between the first input and each of the n others, for out (1 + n, P, D)."""
    finite = np.isfinite(out)
    values = np.where(finite, out, 0)
    threshold = (
        _ROUNDINGS * float(jnp.finfo(out.dtype).eps) * max(np.abs(values).max(), float(jnp.finfo(out.dtype).tiny))
    )
    is_other = (np.abs(values[1:] - values[:1]) > threshold) & finite[1:] & finite[:1]
    return (is_other | (finite[1:] != finite[:1])).any(1)


def _run(arrays: list[Any], x: Array, context: Array | None, static: Any, out_shape: tuple[int, int]) -> Array:
    network = unflatten(arrays, static)
    return jax.vmap(lambda x: call_network(network, x, context, out_shape))(x)


_outputs = jax.jit(_run, static_argnums=(3, 4))
