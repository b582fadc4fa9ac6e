"""Every kind of derivative of a function at a few points, from one compiled program, and the same by differences.

The function maps one sample, (trained leaves, point, context), to arrays. Its inputs at all points form one vector v,
in which the leaves occur once; f(v) is the vector of all results, and L = w . f a scalar with fixed weights w. The
references are differences in float64 along a direction d: J d of f, and H d of the gradient of L. A part that is hidden
from differentiation (`stop_gradient`, a rule that forgets a term, an expression that JAX inlines in a loop) is missing
from a derivative, but not from the difference.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

# Kinds of the function mapped over the points: J d; grad L . d; then H d, the last one as its product with a second
# direction.
MAPPED = (
    "forward", "reverse", "forward over reverse", "reverse over reverse", "reverse over forward",
    "forward over forward",
)  # fmt: skip
# Kinds of single samples, both grad L and H d by forward over reverse: derivatives that are mapped (`vmap` of `grad`),
# and derivatives of a loop over the samples, in which JAX inlines `jax.custom_jvp` and `jax.custom_vjp`.
SINGLE = ("mapped afterwards", "of lax.scan")
KINDS = (*MAPPED, *SINGLE)
STEP = 1e-5
CENTRAL, RIGHT = np.array([1, -1, 2, -2]) * STEP, np.array([0, 1, 2, 4]) * STEP
LEFT = -RIGHT

Figures = dict[str, Any]


class Derivatives:
    """The program (v, direction, other) -> figures of each kind, compiled once.

    Args:
        one: (trained, point, context) -> a tuple of arrays, of one sample.
        parts: (trained, points, contexts or None), the points along a leading axis.
        kinds: `KINDS`, or `MAPPED`.
    """

    def __init__(
        self, one: Callable[..., tuple[Any, ...]], parts: tuple[Any, Any, Any], kinds: tuple[str, ...] = KINDS
    ) -> None:
        self.parts, self.one, self.kinds = parts, one, kinds
        _, self.unravel = ravel_pytree(parts)
        self.run = jax.jit(self._figures)

    def _figures(self, vector: Any, direction: Any, other: Any) -> Figures:
        def results(*sample: Any) -> Any:
            return jnp.concatenate([out.reshape(-1) for out in self.one(*sample)])

        trained, points, contexts = self.unravel(vector)
        d_trained, *d_samples = self.unravel(direction)
        axes = (0, None if contexts is None else 0)
        size = jax.eval_shape(results, trained, points[0], jax.tree.map(lambda c: c[0], contexts)).size
        weights = 1 + 0.5 * jnp.cos(jnp.arange(len(points) * size, dtype=vector.dtype)).reshape(-1, size)

        def values(vector: Any) -> Any:
            trained, *samples = self.unravel(vector)
            return jax.vmap(results, (None, *axes))(trained, *samples)

        def total(vector: Any) -> Any:
            return jnp.sum(weights * values(vector))

        def slope(vector: Any) -> Any:
            return jnp.sum(weights * jax.jvp(values, (vector,), (direction,))[1])

        def one_total(trained: Any, point: Any, context: Any, weights: Any) -> Any:
            return jnp.sum(weights * results(trained, point, context))

        def looped(vector: Any) -> Any:
            def step(sum: Any, inputs: Any) -> tuple[Any, None]:
                return sum + one_total(trained, *inputs), None

            trained, *samples = self.unravel(vector)
            return jax.lax.scan(step, jnp.zeros((), vector.dtype), (*samples, weights))[0]

        def one_hessian(point: Any, context: Any, weights: Any, d_point: Any, d_context: Any) -> Any:
            gradient = jax.grad(lambda *sample: one_total(*sample, weights), (0, 1, 2))
            return jax.jvp(gradient, (trained, point, context), (d_trained, d_point, d_context))

        value, forward = jax.jvp(values, (vector,), (direction,))
        gradient, forward_over_reverse = jax.jvp(jax.grad(total), (vector,), (direction,))
        figures = {
            "value": value,
            "gradient": gradient,
            "weights": weights,
            "forward": forward,
            "reverse": gradient @ direction,
            "forward over reverse": forward_over_reverse,
            "reverse over reverse": jax.vjp(jax.grad(total), vector)[1](direction)[0],
            "reverse over forward": jax.grad(slope)(vector),
            "forward over forward": jax.jvp(slope, (vector,), (other,))[1],
        }
        if set(SINGLE) <= set(self.kinds):
            by_sample = jax.vmap(one_hessian, (*axes, 0, *axes))(points, contexts, weights, *d_samples)
            summed = [(jax.tree.map(lambda leaf: leaf.sum(0), leaves), *samples) for leaves, *samples in by_sample]
            figures["mapped afterwards"] = jnp.stack([ravel_pytree(parts)[0] for parts in summed])
            figures["of lax.scan"] = jnp.stack(jax.jvp(jax.grad(looped), (vector,), (direction,)))
        return figures

    def with_differences(
        self, vector: np.ndarray, direction: np.ndarray, other: np.ndarray, offsets: np.ndarray = CENTRAL
    ) -> tuple[Figures, Figures, Figures]:
        """The figure of each kind, the right one by finite differences, and an estimate of the error of the latter."""
        got = jax.device_get(self.run(vector, direction, other))
        at = [jax.device_get(self.run(vector + offset * direction, direction, other)) for offset in offsets]
        slope, slope_error = derivative_from(np.stack([a["value"] for a in at]), offsets)
        hessian, error = derivative_from(np.stack([a["gradient"] for a in at]), offsets)
        weights, right, uncertainty = got["weights"], dict.fromkeys(KINDS, hessian), dict.fromkeys(KINDS, error)
        right |= {"forward": slope, "reverse": np.sum(weights * slope), "forward over forward": other @ hessian}
        uncertainty |= {"forward": slope_error, "reverse": np.sum(weights * slope_error)}
        uncertainty |= {"forward over forward": np.abs(other) @ error}
        for kind in SINGLE:
            right[kind], uncertainty[kind] = np.stack([got["gradient"], hessian]), np.stack([0 * error, error])
        return got, right, uncertainty


def derivative_from(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative at 0 from values at four offsets, by Richardson's rule, and an estimate of its error."""
    if offsets is CENTRAL:
        fine, coarse = (values[0] - values[1]) / (2 * STEP), (values[2] - values[3]) / (4 * STEP)
    else:
        fine = (-3 * values[0] + 4 * values[1] - values[2]) / (2 * offsets[1])
        coarse = (-3 * values[0] + 4 * values[2] - values[3]) / (2 * offsets[2])
    return (4 * fine - coarse) / 3, np.abs(fine - coarse)


def errors(got: Figures, right: Figures) -> dict[str, float]:
    """The largest error of each kind, relative to the largest entry (of J d for `reverse`, of H d for others)."""
    scales = {"reverse": right["forward"], "forward over forward": right["forward over reverse"]}
    return {kind: _relative(got[kind], right[kind], scales.get(kind, right[kind])) for kind in KINDS if kind in got}


def _relative(got: np.ndarray, right: np.ndarray, like: np.ndarray) -> float:
    scale = max(float(np.abs(right).max()), float(np.abs(like).max()))
    return float(np.abs(np.asarray(got, np.float64) - right).max() / scale)
