"""The compiled program of a row, from weights and points to all figures of both directions.

The figures are values, log-determinants, Jacobians and gradients, once mapped over the batch (as in training) and once
in a loop over single samples. Start weights, random weights and briefly trained ones share the program. Weights are
finalised first, as after `fit`, so that stored bounds match the weights.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from battery.points import N
from pushforward.core.state import finalise
from pushforward.numerics.arrays import is_array


@dataclass
class Figures:
    """Results of one direction at N points; D is the event size.

    Attributes:
        out, log_det: mapped over the batch, (N, *shape) and (N,).
        loop_out, loop_log_det: the same in a loop over samples.
        jacobian: (N, D, D); log_det_gradient: (N, D).
        context_jacobian: (N, D + 1, context), the log-determinant last, or None.
        influence: tree of the trained leaves, the greatest |d sum over points of an output / d leaf| over outputs.
        gradient: of one loss with respect to (trained leaves, points).
        loop_gradient: the same from a loop in a thorough test, else None.
    """

    out: Any
    log_det: Any
    loop_out: Any
    loop_log_det: Any
    jacobian: Any
    log_det_gradient: Any
    context_jacobian: Any
    influence: Any
    gradient: Any
    loop_gradient: Any


def _figures(combine: Any, trained: Any, points: Any, context: Any, inverse: bool, thorough: bool) -> dict[str, Any]:
    shape = points.shape[1:]
    size = int(np.prod(shape))

    def call(trained: Any, point: Any, context: Any) -> Any:
        bijection = combine(trained)
        return (bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det)(point, context)

    def weigh(out: Any, log_det: Any) -> Any:
        """Cotangents of a loss: for the inverse those of the mean negative log-likelihood under a normal base."""
        if inverse:
            return jnp.clip(out, -1e3, 1e3) / N, jnp.full_like(log_det, -1.0 / N)
        fixed = jnp.cos(jnp.arange(size, dtype=out.dtype)).reshape(shape) / N
        return jnp.broadcast_to(fixed, out.shape), jnp.full_like(log_det, 1.0 / N)

    mapped = jax.vmap(call, (None, 0, None if context is None else 0))
    (out, log_det), pull = jax.vjp(mapped, trained, points, context)
    # One backward pass for all samples, which are independent: the same cotangent for every sample gives one row of
    # each sample's Jacobian. The last cotangent is that of the loss.
    unit = jnp.broadcast_to(jnp.eye(size + 1, dtype=points.dtype)[:, None], (size + 1, N, size + 1))
    weights = weigh(out, log_det)
    cotangents = (
        jnp.concatenate([unit[..., :size].reshape(-1, N, *shape), weights[0][None]]),
        jnp.concatenate([unit[..., size], weights[1][None]]),
    )
    by_leaf, by_point, by_context = jax.vmap(pull)(cotangents)
    rows = jnp.moveaxis(by_point[:-1].reshape(size + 1, N, size), 0, 1)
    figures = {
        "out": out,
        "log_det": log_det,
        "jacobian": rows[:, :size],
        "log_det_gradient": rows[:, size],
        "context_jacobian": None if context is None else jnp.moveaxis(by_context[:-1], 0, 1),
        "influence": jax.tree.map(lambda g: jnp.abs(g[:-1]).max(0), by_leaf),
        "gradient": (jax.tree.map(lambda g: g[-1], by_leaf), by_point[-1]),
        "loop_gradient": None,
    }

    def one(inputs: Any) -> Any:
        point, context = inputs
        if not thorough:
            return call(trained, point, context)
        (out, log_det), pull = jax.vjp(call, trained, point, context)
        return out, log_det, pull(weigh(out, log_det))[:2]

    figures["loop_out"], figures["loop_log_det"], *gradient = jax.lax.map(one, (points, context))
    if thorough:
        by_leaf, by_point = gradient[0]
        figures["loop_gradient"] = (jax.tree.map(lambda g: g.sum(0), by_leaf), by_point)
    return figures


def reduced_products(program: str) -> list[str]:
    """The products and convolutions of a lowered program that an accelerator may compute in reduced precision."""
    lines = [line.strip() for line in program.splitlines()]
    products = [line for line in lines if "stablehlo.dot_general" in line or "stablehlo.convolution" in line]
    return [line for line in products if "HIGHEST" not in line]


def compile_figures(bijection: Any, thorough: bool) -> tuple[Any, Any, list[str]]:
    """The row's program (trained, z, x, context) -> figures of both directions, the trained leaves, and a list that
    holds `reduced_products` once the program has run.
    """
    flags = pf.trainable(bijection)
    trained, rest = eqx.partition(bijection, flags)
    static = eqx.filter(rest, is_array, inverse=True)
    reduced: list[str] = []

    @jax.jit
    def program(trained: Any, arrays: Any, z: Any, x: Any, context: Any) -> Any:
        def combine(trained: Any) -> Any:
            return eqx.combine(trained, arrays, static)

        return tuple(
            _figures(combine, trained, points, context, inverse, thorough)
            for points, inverse in ((z, False), (x, True))
        )

    compiled: list[Any] = []

    def run(*inputs: Any) -> Any:
        if not compiled:
            lowered = program.lower(*inputs)
            reduced.extend(reduced_products(lowered.as_text()))
            compiled.append(lowered.compile())
        return compiled[0](*inputs)

    def figures(trained: Any, z: Any, x: Any, context: Any) -> tuple[Figures, Figures]:
        dtype = jnp.result_type(float)
        z, x = (jnp.asarray(v, dtype) for v in (z, x))
        context = None if context is None else jnp.asarray(context, dtype)
        parts = eqx.partition(finalise(eqx.combine(trained, rest)), flags)
        sides = jax.device_get(run(parts[0], eqx.filter(parts[1], is_array), z, x, context))
        return Figures(**sides[0]), Figures(**sides[1])

    return figures, trained, reduced
