"""Second derivatives in both directions, by forward and reverse over reverse mode, against finite differences.

Each direction has one loss of the values and log-determinants at a few points, and its gradient g in weights, points
and contexts as one vector. Along a direction d, forward over reverse is a tangent of g and reverse over reverse its
cotangent: both are H d, and so is a difference of g in float64. A part of g that is hidden from differentiation
(`stop_gradient`, a custom rule that forgets a term) is missing from both, but not from the difference.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from zoo import POSITIVE, UNIT

import pushforward as pf
from battery.case import AtWeights, Case

N_POINTS = 4
STEP = 1e-5
CENTRAL, RIGHT = np.array([1, -1, 2, -2]) * STEP, np.array([0, 1, 2, 4]) * STEP
LEFT = -RIGHT
# Of the largest entry of H d: a difference has about nine digits where g has fourteen; a lost term has none.
RELATIVE = 1e-6
BLOCKS = ("weights", "points", "context")
NO_FORWARD_MODE = "can't apply forward-mode differentiation (jvp) to a custom_vjp function"


def differences(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative at 0 from values at four offsets, by Richardson's rule, and an estimate of its error."""
    if offsets is CENTRAL:
        fine, coarse = (values[0] - values[1]) / (2 * STEP), (values[2] - values[3]) / (4 * STEP)
    else:
        fine = (-3 * values[0] + 4 * values[1] - values[2]) / (2 * offsets[1])
        coarse = (-3 * values[0] + 4 * values[2] - values[3]) / (2 * offsets[2])
    return (4 * fine - coarse) / 3, np.abs(fine - coarse)


class Curvature:
    """One direction of a bijection at a batch of points: the loss as a function of one vector, and its H d."""

    def __init__(self, bijection: Any, inverse: bool, context: Any) -> None:
        trained, rest = eqx.partition(bijection, pf.trainable(bijection))
        points = jnp.zeros((N_POINTS, *bijection.shape))
        self.parts = trained, points, context
        start, self.unravel = ravel_pytree(self.parts)
        self.forward_mode = True

        def loss(vector: Any) -> Any:
            trained, points, context = self.unravel(vector)
            module = eqx.combine(trained, rest)
            method = module.inverse_and_log_det if inverse else module.forward_and_log_det
            out, log_det = jax.vmap(method, (0, None if context is None else 0))(points, context)
            weights = jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)
            return jnp.sum(weights * out) + jnp.sum((1 + jnp.arange(N_POINTS, dtype=out.dtype)) * log_det)

        gradient = jax.grad(loss)

        def forward(vector: Any, direction: Any) -> Any:
            return jax.jvp(gradient, (vector,), (direction,))[1]

        def program(vector: Any, direction: Any, offsets: Any) -> Any:
            values = jax.lax.map(lambda offset: gradient(vector + offset * direction), offsets)
            reverse = jax.vjp(gradient, vector)[1](direction)[0]
            return values, reverse, forward(vector, direction) if self.forward_mode else reverse

        try:
            jax.eval_shape(forward, start, start)
        except TypeError as error:
            if NO_FORWARD_MODE not in str(error):
                raise
            self.forward_mode = False  # forward mode is not supported, which is no wrong number
        self._program = jax.jit(program)

    def wrong(
        self, trained: Any, points: np.ndarray, context: Any, which: str, offsets: np.ndarray, blocks: tuple[str, ...]
    ) -> list[str]:
        """Errors along one direction of the weights, the points or the contexts, in these blocks of H d."""
        parts = trained, jnp.asarray(points), context
        vector, random = ravel_pytree(parts)[0], np.random.default_rng(0)
        steps = [
            jax.tree.map(lambda a, name=name: (which == name) * np.abs(random.normal(size=a.shape)), part)
            for name, part in zip(BLOCKS, parts, strict=True)
        ]
        direction = ravel_pytree(tuple(steps))[0]
        counts = [
            jax.tree.map(lambda a, name=name: np.full(a.shape, float(name in blocks)), part)
            for name, part in zip(BLOCKS, parts, strict=True)
        ]
        counts = np.asarray(ravel_pytree(tuple(counts))[0]) > 0
        values, reverse, forward = jax.device_get(self._program(vector, direction, jnp.asarray(offsets)))
        right, uncertainty = differences(values, offsets)
        scales, errors = self._scales(right), []
        for what, got in (("reverse over reverse", reverse), ("forward over reverse", forward)):
            error = np.abs(got - right) / scales
            bad = ~(error <= RELATIVE + 3 * uncertainty / scales) & counts
            if bad.any():
                index = int(np.argmax(np.where(bad, np.nan_to_num(error, nan=np.inf), -1)))
                errors.append(
                    f"{what}, along {which}: {got[index]:.8g} at {self._name(index)}, right {right[index]:.8g}"
                )
        uncertain = (uncertainty > 1e-4 * scales) & counts
        if uncertain.any():
            errors.append(f"along {which}: differences do not converge at {self._name(int(np.argmax(uncertain)))}")
        return errors

    def _scales(self, right: np.ndarray) -> np.ndarray:
        """1 + the largest entry of the same leaf."""
        leaves = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1 + jnp.abs(leaf).max(initial=0)), self.unravel(right))
        return np.asarray(ravel_pytree(leaves)[0])

    def _name(self, index: int) -> str:
        """The name of an entry of the vector."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.parts):
            if index < leaf.size:
                return f"{BLOCKS[path[0].idx]}{jax.tree_util.keystr(path[1:])}[{index}]"
            index -= leaf.size
        return "?"


def second_derivatives(case: Case, w: AtWeights) -> list[str]:
    """At ordinary points with random weights; at ties with start weights, where the right-hand piece counts."""
    if not case.is_double:
        return []
    # not finalised, because that puts a contractive weight on its bound, where the map has a kink in the weight
    bijection, wrong = eqx.combine(w.trained, case.bijection), []
    trained = eqx.filter(bijection, pf.trainable(bijection))
    context = None if case.context is None else jnp.asarray(case.context[:N_POINTS])
    for name, side, points in (("forward", case.row.z_side, case.z), ("inverse", case.row.x_side, case.x)):
        curvature = Curvature(bijection, name == "inverse", context)
        for which, part in zip(BLOCKS, (trained, points, context), strict=True):
            if jax.tree.leaves(part):
                errors = curvature.wrong(trained, points[:N_POINTS], context, which, CENTRAL, BLOCKS)
                wrong += [f"{name}: {line}" for line in errors]
        at_ties = ties(case) if side not in (POSITIVE, UNIT) else []
        # a network's kinks are no ties of the map: with start weights they change only the gradient of the weights
        blocks = BLOCKS if case.shape == () else ("points",)
        fresh = eqx.filter(case.bijection, pf.trainable(case.bijection))
        for values in at_ties:
            points = np.broadcast_to(values.reshape(-1, *[1] * len(case.shape)), (N_POINTS, *case.shape))
            errors = curvature.wrong(fresh, points, context, "points", RIGHT, blocks)
            if errors and name == "forward" and case.row.tolerance == "integral":
                # no float maps to the edge of the box: the root may be one unit in the last place to the left
                errors = curvature.wrong(fresh, points, context, "points", LEFT, blocks)
            wrong += [f"{name} at {values}: {line}" for line in errors]
    return wrong


def ties(case: Case) -> list[np.ndarray]:
    """Zero and the knots of a row, `N_POINTS` at a time, for layers that start as the identity: there every part has
    the same input."""
    if not (case.row.is_identity or case.shape == ()):
        return []
    distinct = {round(knot, 3): knot for knot in reversed(case.row.knots)}
    values = [0.0, *distinct.values(), *(-knot for knot in distinct.values())]
    return [np.resize(values[i : i + N_POINTS], N_POINTS) for i in range(0, len(values), N_POINTS)]
