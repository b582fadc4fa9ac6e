"""Terms of the power series of log|det(I + J)|, the estimate of its gradient, and derivatives of that estimate."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import AbstractLipschitzNetwork
from pushforward.numerics.tangents import forward_only, replace_where, select_where, with_tangents

_NO_SECOND_GRADIENT = (
    "RussianRoulette: reverse mode over another gradient would store every term of a series of random length. Use "
    "scoring=Exact() (pushforward.bijections.exactly(flow)), PowerSeries, or forward mode over reverse (jax.hessian, "
    "jax.jvp of jax.grad)."
)


def power_series(
    network: AbstractLipschitzNetwork, z: Array, context: Array | None, probes: Array, n_terms: Any, survival: Any
) -> tuple[Array, Array]:
    """g(z), and the mean over probes (P, D) of the first `n_terms` terms, each divided by its survival probability.

    `n_terms` is an int or an array.
    """
    leaves, structure = jax.tree.flatten((network, z.reshape(-1), context))
    is_static = isinstance(n_terms, int)
    constants = [probes] if is_static else [probes, n_terms]
    count = len(leaves)

    def flat(network: AbstractLipschitzNetwork, z: Array, context: Array | None) -> Array:
        return network(z.reshape(network.shape), context).reshape(-1)

    # Term k is c_k / k ((J^T)^(k-1) v)^T (J v); the gradient needs J v anyway, which saves one product.
    def sums(inputs: list[Array], probes: Array, n_terms: Any = n_terms) -> tuple[Array, Array]:
        """The cofactors of J v: for the value, and for the gradient."""
        network, z, context = jax.tree.unflatten(structure, inputs)
        _, pull = jax.vjp(lambda z: flat(network, z, context), z)

        def signed(k: Array) -> Array:
            return (jnp.where(k % 2 == 1, 1, -1) / survival(k)).astype(probes.dtype)

        def term(k: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            powers, value_sum, gradient_sum = state
            k, powers = k + 1, jax.vmap(lambda u: pull(u)[0])(powers)
            return powers, value_sum + signed(k) / k.astype(probes.dtype) * powers, gradient_sum + signed(k) * powers

        first = jnp.where(n_terms > 0, signed(jnp.ones((), jnp.int32)), 0) * probes
        return jax.lax.fori_loop(1, n_terms, term, (probes, first, first))[1:]

    def products(inputs: list[Array], probes: Array) -> tuple[Array, Array]:
        """g(z), and J v for every probe."""
        network, z, context = jax.tree.unflatten(structure, inputs)
        value, push = jax.linearize(lambda z: flat(network, z, context), z)
        return value, jax.vmap(push)(probes)

    def run(*leaves: Array) -> list[Array]:
        inputs, constants = list(leaves[:count]), leaves[count:]
        value_sum, gradient_sum = sums(inputs, *constants)
        value, pushed = products(inputs, constants[0])
        return [value, jnp.sum(value_sum * pushed) / len(probes), gradient_sum]

    def tangent(leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]) -> list[Array]:
        # Recomputed in the backward pass: storing it for all layers costs more.
        @jax.checkpoint
        def recomputed(at: list[Array]) -> tuple[Array, Array]:
            return products(replace_where(moves[:count], leaves[:count], at), leaves[count])

        _, (value_dot, pushed_dot) = jax.jvp(recomputed, (select_where(moves[:count], leaves[:count]),), (dots,))
        (gradient_sum,) = with_tangents(lambda *leaves: [leaves[-1]], gradient_tangent, *leaves, outs[2])
        return [value_dot, jnp.sum(gradient_sum * pushed_dot) / len(probes)]

    def gradient_tangent(
        leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]
    ) -> list[Array]:
        *leaves, _ = leaves
        moves = moves[:count]
        if not any(moves):
            return []

        def at(inputs: list[Array]) -> Array:
            return sums(replace_where(moves, leaves[:count], inputs), *leaves[count:])[1]

        _, dot = jax.jvp(at, (select_where(moves, leaves[:count]),), (dots[: sum(moves)],))
        return [dot if is_static else forward_only(dot, _NO_SECOND_GRADIENT)]

    value, total, _ = with_tangents(run, tangent, *map(jnp.asarray, leaves), *constants)
    return value.reshape(z.shape), total
