"""Terms of the power series of log|det(I + J)|, and the estimate of its gradient, with derivatives of that estimate."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import AbstractLipschitzNetwork
from pushforward.numerics.tangents import forward_only, replace_where, select_where, with_tangents

_NO_SECOND_GRADIENT = (
    "RussianRoulette: reverse mode over another gradient would keep every term of a series of random length. Use "
    "scoring=Exact() (pushforward.bijections.exactly(flow)), PowerSeries, or forward mode over reverse (jax.hessian, "
    "jax.jvp of jax.grad)."
)


def power_series(
    network: AbstractLipschitzNetwork, z: Array, context: Array | None, probes: Array, n_terms: Any, chance: Any
) -> tuple[Array, Array]:
    """g(z), and the mean over probes (P, D) of the first terms, each divided by its chance; `n_terms` is a number or an
    array.
    """
    leaves, structure = jax.tree.flatten((network, z.reshape(-1), context))
    is_static = isinstance(n_terms, int)
    constants = [probes] if is_static else [probes, n_terms]
    count = len(leaves)

    def flat(network: AbstractLipschitzNetwork, z: Array, context: Array | None) -> Array:
        return network(z.reshape(network.shape), context).reshape(-1)

    # Term k is c_k / k ((J^T)^(k-1) v)^T (J v), and J v is needed for the gradient anyway: one product less.
    def sums(given: list[Array], probes: Array, n_terms: Any = n_terms) -> tuple[Array, Array]:
        """What J v is multiplied with for the value, and what for the gradient."""
        network, z, context = jax.tree.unflatten(structure, given)
        _, pull = jax.vjp(lambda z: flat(network, z, context), z)

        def signed(k: Array) -> Array:
            return (jnp.where(k % 2 == 1, 1, -1) / chance(k)).astype(probes.dtype)

        def term(k: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            powers, of_value, of_slope = state
            k, powers = k + 1, jax.vmap(lambda u: pull(u)[0])(powers)
            return powers, of_value + signed(k) / k.astype(probes.dtype) * powers, of_slope + signed(k) * powers

        first = jnp.where(n_terms > 0, signed(jnp.ones((), jnp.int32)), 0) * probes
        return jax.lax.fori_loop(1, n_terms, term, (probes, first, first))[1:]

    def pushed(given: list[Array], probes: Array) -> tuple[Array, Array]:
        network, z, context = jax.tree.unflatten(structure, given)
        value, push = jax.linearize(lambda z: flat(network, z, context), z)
        return value, jax.vmap(push)(probes)

    def run(*leaves: Array) -> list[Array]:
        given, constants = list(leaves[:count]), leaves[count:]
        of_value, of_slope = sums(given, *constants)
        value, images = pushed(given, constants[0])
        return [value, jnp.sum(of_value * images) / len(probes), of_slope]

    def tangent(leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]) -> list[Array]:
        # Computed again on the way back: what a layer keeps would be stacked over all layers, which costs more than it.
        @jax.checkpoint
        def once_more(at: list[Array]) -> tuple[Array, Array]:
            return pushed(replace_where(moves[:count], leaves[:count], at), leaves[count])

        _, (value_dot, images_dot) = jax.jvp(once_more, (select_where(moves[:count], leaves[:count]),), (dots,))
        (of_slope,) = with_tangents(lambda *given: [given[-1]], of_slope_tangent, *leaves, outs[2])
        return [value_dot, jnp.sum(of_slope * images_dot) / len(probes)]

    def of_slope_tangent(
        leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]
    ) -> list[Array]:
        *leaves, _ = leaves
        moves = moves[:count]
        if not any(moves):
            return []

        def at(given: list[Array]) -> Array:
            return sums(replace_where(moves, leaves[:count], given), *leaves[count:])[1]

        _, dot = jax.jvp(at, (select_where(moves, leaves[:count]),), (dots[: sum(moves)],))
        return [dot if is_static else forward_only(dot, _NO_SECOND_GRADIENT)]

    value, total, _ = with_tangents(run, tangent, *map(jnp.asarray, leaves), *constants)
    return value.reshape(z.shape), total
